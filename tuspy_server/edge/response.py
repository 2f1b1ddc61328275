"""A response as bytes: its head, and the framing of its body (RFC 9112 6.3)."""

from __future__ import annotations

import http
import re
from collections.abc import Iterable
from typing import Final

Headers = Iterable[tuple[bytes, bytes]]

_HEADER: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\x80-\xff]*\r\n").fullmatch
UNSAFE: Final = "a response header would break the response"

_STREAM: Final = b"text/event-stream"
_BODYLESS: Final = (204, 304)
_FRAMING: Final = frozenset({b"content-length", b"connection", b"keep-alive", b"transfer-encoding"})
"""Of the application's, its length and `Connection: close` are heeded: the rest is this connection's own matter."""


def _phrase(status: int) -> bytes:
    try:
        return http.HTTPStatus(status).phrase.encode()
    except ValueError:
        return {460: b"Checksum Mismatch"}.get(status, b"")


STATUS_LINES: Final = {status: b"HTTP/1.1 %d %s\r\n" % (status, _phrase(status)) for status in range(100, 600)}


class Response:
    """The answer to one request.

    Attributes:
        keep_alive: whether the connection may stay; what the head says about it is settled by `start`.
        framed: whether the client can tell where the body ends while the connection stays open.
        is_stream: whether it is a stream of events, whose end nobody waits for.
    """

    def __init__(self, method: str, http_version: str, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.framed = True
        self.is_stream = False
        self._method = method
        self._http_version = http_version
        self._has_body = method != "HEAD"
        self._chunked = False
        self._left: int | None = None

    def start(self, status: int, headers: Headers, default_headers: Headers) -> bytes:
        """The head.

        Raises:
            RuntimeError: a header that would break it. ValueError: a `Content-Length` that is no number.
        """
        lines = [STATUS_LINES[status], *header_lines(default_headers)]
        is_stream = False
        for name, value in headers:
            if (lowered := name.lower()) in _FRAMING:
                if lowered == b"content-length":
                    self._left = int(value)
                else:
                    if lowered == b"connection" and b"close" in value.lower():
                        self.keep_alive = False
                    continue
            elif lowered == b"content-type":
                is_stream = value.startswith(_STREAM)
            line = b"%b: %b\r\n" % (name, value)
            if not _HEADER(line):
                raise RuntimeError(UNSAFE)
            lines.append(line)
        # A file of that type has a length, and its download an end that its client waits for.
        self.is_stream = is_stream and self._left is None
        lines += self._framing(status)
        lines.append(b"\r\n")
        return b"".join(lines)

    def _framing(self, status: int) -> list[bytes]:
        self._has_body = self._method != "HEAD" and status not in _BODYLESS
        lines = []
        if self._has_body and self._left is None:
            # HTTP/1.0 knows no chunks: there the end of the connection is the end of the body.
            self._chunked = self.framed = self._http_version == "1.1"
            if self._chunked:
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                self.keep_alive = False
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        elif self._http_version == "1.0":
            lines.append(b"connection: keep-alive\r\n")
        return lines

    def body(self, data: bytes, *, more_body: bool) -> bytes:
        """What is sent for the next piece of the body; nothing where the response has none.

        Raises:
            RuntimeError: the body is not as long as its `Content-Length`.
        """
        if not self._has_body:
            return b""
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0 or (self._left and not more_body):
                raise RuntimeError("the response's body is not as long as its Content-Length")
            return data
        if not self._chunked:
            return data
        chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        return chunk if more_body else chunk + b"0\r\n\r\n"


_INFORMATIONAL: Final = frozenset(range(100, 200)) - {http.HTTPStatus.SWITCHING_PROTOCOLS}


def informational(status: int, headers: Headers) -> bytes:
    """A 1xx response. Raises RuntimeError where it is none, or a header would break it."""
    if status not in _INFORMATIONAL:
        raise RuntimeError(f"{status} is not an informational response")
    return b"".join((STATUS_LINES[status], *header_lines(headers), b"\r\n"))


def refusal(status: int, reason: str, default_headers: Headers, *, has_body: bool, further: Headers = ()) -> bytes:
    """A whole response that ends the connection."""
    text = f"{reason}\n".encode()
    headers = [
        *further,
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"connection", b"close"),
        (b"content-length", b"%d" % len(text)),
    ]
    lines = (STATUS_LINES[status], *header_lines(default_headers), *header_lines(headers), b"\r\n")
    return b"".join(lines) + (text if has_body else b"")


def header_lines(headers: Headers) -> list[bytes]:
    """Raises RuntimeError where one would break the response: who splits it writes the next one."""
    lines = [b"%b: %b\r\n" % header for header in headers]
    if not all(map(_HEADER, lines)):
        raise RuntimeError(UNSAFE)
    return lines

"""One request and its response, as ASGI's `scope`, `receive` and `send`."""

from __future__ import annotations

import asyncio
import http
import re
from collections.abc import Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from tuspy_server.edge.body import RequestBody
from tuspy_server.edge.head import ParsedHead
from tuspy_server.protocol.errors import ClientDisconnected

if TYPE_CHECKING:
    from tuspy_server.edge.connection import EdgeConnection

RECEIVE_BYTES: Final = 64 << 10

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


def _phrase(status: int) -> bytes:
    try:
        return http.HTTPStatus(status).phrase.encode()
    except ValueError:
        return {460: b"Checksum Mismatch"}.get(status, b"")


STATUS_LINES: Final = {status: b"HTTP/1.1 %d %s\r\n" % (status, _phrase(status)) for status in range(100, 600)}


class Exchange:
    """Runs the application for one request; the connection goes on when `complete`."""

    def __init__(self, connection: EdgeConnection, head: ParsedHead, body: RequestBody) -> None:
        self.head = head
        self.body = body
        self.keep_alive = head.keep_alive
        self.started = False
        self.complete = False
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._waiting_for_continue = head.expects_continue
        self._over = asyncio.Event()
        self._chunked = False
        self._left: int | None = None
        self._pending_head: bytes | None = None
        self._body_sent = False

    @property
    def has_body(self) -> bool:
        """Whether a response to this method has a body at all."""
        return self.head.method != "HEAD"

    # --- request -------------------------------------------------------------------------------------------------

    def send_continue(self) -> None:
        """`100 Continue`, once, and only where the client waits for it (RFC 9110 10.1.1)."""
        if self._waiting_for_continue and not self.started:
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._waiting_for_continue = False

    def lose(self) -> None:
        """The client is gone, or its request has been refused: nothing that is sent from here on goes anywhere."""
        self._over.set()
        self.body.lose()

    async def receive(self) -> dict[str, Any]:
        """See ASGI. `http.disconnect` comes after the whole body that was received, or after the response."""
        if self._body_sent:
            await self._over.wait()
            return {"type": "http.disconnect"}
        buffer = bytearray(RECEIVE_BYTES)
        try:
            count = await self.body.readinto(memoryview(buffer))
        except ClientDisconnected:
            return {"type": "http.disconnect"}
        more_body = count > 0 and not self.body.drained
        self._body_sent = not more_body
        return {"type": "http.request", "body": bytes(memoryview(buffer)[:count]), "more_body": more_body}

    # --- response ------------------------------------------------------------------------------------------------

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """See ASGI. `http.response.informational` (ours) sends a 1xx with headers before the response.

        Raises:
            RuntimeError: messages out of order, or a body that is not as long as its `Content-Length`.
        """
        if self._over.is_set():
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.started:
            self.started = True
            self._pending_head = self._start(message["status"], list(message.get("headers", ())))
        elif kind == "http.response.body" and self.started and not self.complete:
            await self._send_body(message.get("body", b""), bool(message.get("more_body", False)))
        elif kind == "http.response.informational" and not self.started:
            lines = [STATUS_LINES[message["status"]], *_header_lines(message.get("headers", ())), b"\r\n"]
            self._connection.write(b"".join(lines))
        else:
            raise RuntimeError(f"the ASGI message {kind!r} is out of order")

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        framed = False
        for name, value in headers:
            lowered = name.lower()
            if lowered == b"content-length":
                self._left, framed = int(value), True
            elif lowered == b"transfer-encoding":
                self._chunked = framed = True
            elif lowered == b"connection" and b"close" in value.lower():
                self.keep_alive = False
        bodyless = not self.has_body or status in (204, 304)
        if bodyless:
            self._left, self._chunked = None, False
        elif not framed:
            # HTTP/1.0 knows no chunks: there the end of the connection is the end of the body.
            if self.head.http_version == "1.1":
                self._chunked = True
                headers.append((b"transfer-encoding", b"chunked"))
            else:
                self.keep_alive = False
        # A body that is not read to its end would be taken for the next request.
        if not self.body.received:
            self.keep_alive = False
        lines = [STATUS_LINES[status], *_header_lines(self._connection.default_headers), *_header_lines(headers)]
        if not self.keep_alive and not any(name.lower() == b"connection" for name, _ in headers):
            lines.append(b"connection: close\r\n")
        elif self.keep_alive and self.head.http_version == "1.0":
            lines.append(b"connection: keep-alive\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    async def _send_body(self, body: bytes, more_body: bool) -> None:
        output, self._pending_head = self._pending_head or b"", None
        if self.has_body and self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more_body):
                raise RuntimeError("the response's body is not as long as its Content-Length")
            output += body
        elif self.has_body and self._chunked:
            if body:
                output += b"%x\r\n%b\r\n" % (len(body), body)
            if not more_body:
                output += b"0\r\n\r\n"
        elif self.has_body and body and not self.head.http_version == "1.1":
            output += body
        if output:
            self._connection.write(output)
        if more_body:
            await self._connection.writable()
            return
        self.complete = True
        self._over.set()
        self._connection.response_completed()


def _header_lines(headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    lines = []
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise RuntimeError("a response header would break the response")
        lines.append(b"%b: %b\r\n" % (name, value))
    return lines

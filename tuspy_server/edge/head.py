"""The head of a request: its bytes to what the connection and the application need to know.

llhttp (by httptools) parses it strictly; what decides where the body ends is judged here as well, because a wrong end
is how one request is smuggled inside another (RFC 9112 6; fault X18).
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from typing import Final

import httptools

_LENGTH: Final = re.compile(rb"[0-9]{1,19}")
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]*)(?::[0-9]*)?[ \t]*")

MOST_FIELDS: Final = 256
"""Lines of headers: ten thousand empty ones fit into their bytes, and take a megabyte in here (fault R02)."""

_VERSIONS: Final = {b" HTTP/1.1": "1.1", b" HTTP/1.0": "1.0"}


class BadHead(Exception):
    """The head is refused; the connection is closed after the answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(slots=True, kw_only=True)  # not frozen: that takes three times as long to make, for every request
class ParsedHead:
    """A request's head.

    Attributes:
        headers: lower-case names with their values, as ASGI wants them.
        body_bytes: bytes of the body; None where it is chunked.
        keep_alive: whether the client wants the connection to stay.
        expects_continue: whether it waits for `100 Continue` before it sends the body.
        upgrade: the protocol it asks to change to, in lower case.
    """

    method: str
    raw_path: bytes
    path: str
    query_string: bytes
    http_version: str
    headers: list[tuple[bytes, bytes]]
    body_bytes: int | None
    keep_alive: bool
    expects_continue: bool
    upgrade: bytes | None


def asks_for_websocket(head: ParsedHead) -> bool:
    """Whether it is a handshake (RFC 6455 4.1). Of anything else the wish to change is ignored (RFC 9110 7.8)."""
    is_plain = head.method == "GET" and head.http_version == "1.1" and head.body_bytes == 0
    return is_plain and head.upgrade == b"websocket"


class _Collector:
    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.keep_alive = False
        self.complete = False
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        # Only now: a message without a body is over at once, and the parser forgets what it was told.
        self.keep_alive = self.parser.should_keep_alive()
        self.complete = True


def parse_head(head: bytes) -> ParsedHead:
    """Parse the bytes up to and including the empty line.

    Raises:
        BadHead: 400, malformed or ambiguous; 431, more than `MOST_FIELDS`; 501, a transfer coding other than chunked;
            505, not HTTP/1.
    """
    collector = _Collector()
    parser = collector.parser
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise BadHead(400, "the request's head is malformed") from error
    if not collector.complete:
        raise BadHead(400, "the request's head is malformed")
    # The parser also knows HTTP/0.9, ICE and RTSP, whose messages end elsewhere.
    line_end = head.index(b"\r\n")
    http_version = _VERSIONS.get(head[line_end - 9 : line_end])
    if http_version is None:
        raise BadHead(505, "this is a server of HTTP/1.1 and HTTP/1.0")
    try:
        url = httptools.parse_url(collector.url)
    except httptools.HttpParserInvalidURLError as error:
        raise BadHead(400, "the request's target is malformed") from error
    raw_path: bytes = url.path or b"/"
    path = raw_path.decode("latin-1")
    if len(collector.headers) > MOST_FIELDS:
        raise BadHead(431, "the request has too many headers")
    fields: dict[bytes, bytes] = {}
    for name, value in collector.headers:
        fields[name] = fields[name] + b"," + value if name in fields else value
    _check_host(fields.get(b"host"), http_version)
    return ParsedHead(
        method=parser.get_method().decode("latin-1"),
        raw_path=raw_path,
        path=urllib.parse.unquote(path) if "%" in path else path,
        query_string=url.query or b"",
        http_version=http_version,
        headers=collector.headers,
        body_bytes=_body_bytes(fields, http_version),
        keep_alive=collector.keep_alive,
        expects_continue=fields.get(b"expect", b"").lower() == b"100-continue" and http_version == "1.1",
        upgrade=_upgrade(fields),
    )


def _check_host(host: bytes | None, http_version: str) -> None:
    """RFC 9112 3.2. The comma is in no host's name, so that two fields are refused as well."""
    if host is None:
        if http_version == "1.1":
            raise BadHead(400, "HTTP/1.1 needs a Host header")
    elif not _HOST.fullmatch(host):
        raise BadHead(400, "Host must be one host")


def _upgrade(fields: dict[bytes, bytes]) -> bytes | None:
    wanted = fields.get(b"upgrade")
    if wanted is None or b"upgrade" not in fields.get(b"connection", b"").lower():
        return None
    return wanted.lower()


def _body_bytes(fields: dict[bytes, bytes], http_version: str) -> int | None:
    """RFC 9112 6.3. Both fields at once, or lengths that differ, are never resolved by a guess."""
    coding, length = fields.get(b"transfer-encoding"), fields.get(b"content-length")
    if coding is not None:
        if length is not None:
            raise BadHead(400, "Content-Length and Transfer-Encoding exclude each other")
        if http_version == "1.0":
            raise BadHead(400, "HTTP/1.0 knows no Transfer-Encoding")
        if coding.strip(b" \t").lower() != b"chunked":
            raise BadHead(501, "the only transfer coding is chunked")
        return None
    if length is None:
        return 0
    length = length.strip(b" \t")
    if not _LENGTH.fullmatch(length) or int(length) >= 2**63:
        raise BadHead(400, "Content-Length must be one number")
    return int(length)

"""HTTP/1.1 over raw sockets: the bytes sent are the ones a case asked for, and each exchange is kept for the report.

A client library would merge duplicate headers, repair broken framing and close connections in its own manner; the cases
need all three in their own hands. Responses are parsed by h11, which is strict, so a response it refuses is reported.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections.abc import Iterable

import h11

from conformance.message import (
    SHOWN_BYTES,
    Closed,
    Exchange,
    Fields,
    Malformed,
    Origin,
    Response,
    Silence,
    chunk,
    last_chunk,
)

SECRETS = {"authorization", "cookie", "x-api-key"}
"""Header fields whose values no report shows."""


class Connection(asyncio.Protocol):
    """One TCP (or TLS) connection; every method does one thing on the wire."""

    def __init__(self, origin: Origin, exchanges: list[Exchange]) -> None:
        self.origin = origin
        self.used_at = 0.0
        self.ended = False
        self._exchanges = exchanges
        self._transport: asyncio.Transport | None = None
        self._incoming = bytearray()
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._parser: h11.Connection | None = None
        self._waiting: list[tuple[str, Exchange]] = []
        self._interim: list[Response] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio calls this)."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep the bytes even if the connection breaks next (asyncio calls this)."""
        self._incoming += data
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake all who wait (asyncio calls this)."""
        if exc is not None and self.transport.get_extra_info("sslcontext") is None:
            self._rescue()
        self.ended = True
        self._news.set()
        self._writable.set()

    def _rescue(self) -> None:
        # A failed write makes asyncio drop the connection although a response may have arrived before; a client that
        # reads while it writes would have seen it.
        sock = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            while data := os.read(sock.fileno(), 65536):
                self._incoming += data

    def pause_writing(self) -> None:
        """Hold senders back (asyncio calls this)."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let senders go on (asyncio calls this)."""
        self._writable.set()

    @property
    def transport(self) -> asyncio.Transport:
        """The transport of an opened connection."""
        assert self._transport is not None
        return self._transport

    @property
    def unread(self) -> bytes:
        """Bytes that arrived and belong to no response yet."""
        return bytes(self._incoming)

    def send_head(self, method: str, target: str, fields: Fields, body: bytes = b"") -> None:
        """Send a request line and header fields exactly as given, and in the same write these bytes of the body."""
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
        shown = [f"{name}: {'...' if name.lower() in SECRETS else value}" for name, value in fields]
        exchange = Exchange("\n".join([lines[0], *shown])[:SHOWN_BYTES])
        if body:
            exchange.events.append(f"with it, in one write: {body[:200]!r}")
        self._exchanges.append(exchange)
        self._waiting.append((method, exchange))
        self.transport.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)

    async def send(self, data: bytes) -> None:
        """Send body bytes as they are; waits while the server reads slowly. Raises Closed if it hung up."""
        self._note(f"{len(data)} bytes of body sent")
        for start in range(0, len(data), 65536):
            if self.ended or self.transport.is_closing():
                raise Closed("the server closed the connection while the body was sent")
            self.transport.write(data[start : start + 65536])
            # The loop must get its turn to read and to learn that the connection broke.
            await asyncio.sleep(0)
            await self._writable.wait()

    async def send_chunk(self, data: bytes) -> None:
        """Send one chunk of the chunked transfer coding (RFC 9112 7.1)."""
        await self.send(chunk(data))

    async def end_chunks(self, trailers: Fields = ()) -> None:
        """Send the last chunk and a trailer section."""
        await self.send(last_chunk(trailers))

    def half_close(self) -> None:
        """Send FIN and go on reading."""
        self._note("FIN sent, reading goes on")
        self.transport.write_eof()

    def close(self) -> None:
        """Send what is buffered, then FIN."""
        self._note("connection closed by FIN")
        self.transport.close()

    def reset(self) -> None:
        """Drop the connection by RST (SO_LINGER with zero seconds)."""
        self._note("connection cut by RST")
        sock = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def abort(self) -> None:
        """Drop the connection; nothing happens where it has ended."""
        # Python 3.11's transport raises AttributeError where it was closed with bytes to send and has sent them since.
        if not self.ended:
            self.transport.abort()

    async def receive(self, seconds: float, *, interim: bool = False) -> Response:
        """Read the next final response of this connection.

        Args:
            seconds: longest wait for the whole response.
            interim: return at a 1xx response too; call again for what follows.

        Raises:
            Closed, Malformed, Silence: there is no complete response.
        """
        method, exchange = self._waiting[0]
        if self._parser is None:
            self._parser = _parser_for(method)
        try:
            async with asyncio.timeout(seconds):
                return await self._read(self._parser, exchange, interim=interim)
        except TimeoutError:
            exchange.response = exchange.response or f"(nothing for {seconds:g} s)"
            raise Silence(f"no complete response within {seconds:g} s") from None
        except h11.RemoteProtocolError as error:
            exchange.response = exchange.response or "(connection closed)"
            if self.ended and not self._incoming:
                raise Closed("the server closed the connection within its response") from None
            raise Malformed(f"not a valid HTTP/1.1 response: {error}") from None

    async def _read(self, parser: h11.Connection, exchange: Exchange, *, interim: bool) -> Response:
        head: h11.Response | None = None
        body = bytearray()
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                await self._feed(parser)
            elif isinstance(event, h11.InformationalResponse):
                self._interim.append(_response(event, exchange))
                if interim:
                    return self._interim[-1]
            elif isinstance(event, h11.Response):
                head = event
                _response(event, exchange)
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return self._complete(parser, head, exchange, bytes(body))
            else:
                exchange.response = "(connection closed)"
                raise Closed("the server closed the connection without a response")

    async def _feed(self, parser: h11.Connection) -> None:
        while not self._incoming and not self.ended:
            self._news.clear()
            await self._news.wait()
        parser.receive_data(bytes(self._incoming))
        self._incoming.clear()

    def _complete(self, parser: h11.Connection, head: h11.Response, exchange: Exchange, body: bytes) -> Response:
        self._incoming[:0] = parser.trailing_data[0]
        self._parser = None
        self._waiting.pop(0)
        interim, self._interim = tuple(self._interim), []
        if head.status_code >= 400 and body:
            exchange.response += "\n\n" + body[:200].decode("utf-8", "replace")
        alive = parser.their_state is h11.DONE and not self.ended
        self.used_at = asyncio.get_running_loop().time()
        return _response(head, exchange, body, interim, keeps_alive=alive, show=False)

    async def wait_closed(self, seconds: float) -> bool:
        """Wait until the server ends the connection; False if it does not in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.ended:
                    self._news.clear()
                    await self._news.wait()
        return self.ended

    def _note(self, text: str) -> None:
        if self._waiting and (len(events := self._waiting[-1][1].events) < 8):
            events.append(text)


def _parser_for(method: str) -> h11.Connection:
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    parser.send(h11.Request(method=method, target="/", headers=[("Host", "conformance")]))
    parser.send(h11.EndOfMessage())
    return parser


def _response(
    event: h11.Response | h11.InformationalResponse,
    exchange: Exchange,
    body: bytes = b"",
    interim: Iterable[Response] = (),
    *,
    keeps_alive: bool = False,
    show: bool = True,
) -> Response:
    if show:
        version, reason = event.http_version.decode(), bytes(event.reason).decode("latin-1")
        lines = [f"HTTP/{version} {event.status_code} {reason}".rstrip()]
        lines += [f"{name.decode()}: {value.decode('latin-1')}" for name, value in event.headers.raw_items()]
        exchange.response += ("\n\n" if exchange.response else "") + "\n".join(lines)[:SHOWN_BYTES]
    fields = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
    return Response(event.status_code, tuple(fields), exchange, body, tuple(interim), keeps_alive)


async def connect(origin: Origin, exchanges: list[Exchange], seconds: float, *, verify: bool = True) -> Connection:
    """Open a connection; its exchanges are appended to the list. Raises Closed if nobody answers."""
    context: ssl.SSLContext | None = None
    if origin.scheme == "https":
        context = ssl.create_default_context()
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            _, connection = await loop.create_connection(
                lambda: Connection(origin, exchanges), origin.host, origin.port, ssl=context
            )
    except (OSError, TimeoutError) as error:
        raise Closed(f"cannot connect to {origin.authority}: {error!r}") from None
    return connection

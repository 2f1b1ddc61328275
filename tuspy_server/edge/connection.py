"""One client's connection: heads, bodies and responses in turn, under deadlines and limits.

A uvicorn HTTP protocol class. It is an `asyncio.BufferedProtocol` for the whole of its life, so that the socket can fill a
body's buffer directly (uvloop takes that path only from a class that is not also an `asyncio.Protocol`); everything else
arrives in one scratch buffer that all connections share, since each handles its bytes before the next one is asked.

    HEAD → (BODY) → RESPONSE → HEAD …, or → LINGER → closed
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, cast

import structlog
from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from tuspy_server.edge.body import RequestBody
from tuspy_server.edge.exchange import STATUS_LINES, Exchange
from tuspy_server.edge.head import BadHead, ParsedHead, parse_head
from tuspy_server.ports import BODY_EXTENSION

log = structlog.get_logger("tuspy_server.edge")

SCRATCH: Final = memoryview(bytearray(256 << 10))

PIPELINE_BYTES: Final = 64 << 10
"""Bytes behind a request that are kept until it is answered; then the socket is no longer read."""

LINGER_SECONDS: Final = 5.0
LINGER_BYTES: Final = 256 << 20
"""What is still taken and thrown away after an early answer, so that the client can read it instead of a reset (N08)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeOptions:
    """Limits of a connection.

    Attributes:
        head_bytes: the request line and all headers.
        head_seconds: from the first byte of a head to its last.
        least_bytes_per_second: of a body, while the client is waited for.
    """

    head_bytes: int = 48 << 10
    head_seconds: float = 15.0
    least_bytes_per_second: float = 128.0


class _State(Enum):
    HEAD = auto()
    BODY = auto()
    RESPONSE = auto()
    LINGER = auto()
    CLOSED = auto()


class EdgeConnection(asyncio.BufferedProtocol):
    """See the module. uvicorn makes one a connection, and calls `shutdown` when it stops."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        options: EdgeOptions | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._options = options or EdgeOptions()
        self._state = _State.HEAD
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._searched = 0
        self._exchange: Exchange | None = None
        self._direct = False
        self._paused = False
        self._closing = False
        self._lingered_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    # --- asyncio -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast(asyncio.Transport, transport)
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn's set names its own classes
        self._client = get_remote_addr(self._transport)
        self._server = get_local_addr(self._transport)
        self._scheme = "https" if is_ssl(self._transport) else "http"
        self._set_timer(self._options.head_seconds)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio."""
        if self._state is _State.BODY and self._exchange is not None:
            target = self._exchange.body.target()
            if target is not None:
                self._direct = True
                return target
        self._direct = False
        return SCRATCH

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio."""
        if self._direct and self._exchange is not None:
            body = self._exchange.body
            body.filled(nbytes)
            if body.received:
                self._body_received()
            return
        if self._state is _State.LINGER:
            self._lingered_bytes += nbytes
            if self._lingered_bytes > LINGER_BYTES:
                self._transport.abort()
        elif self._state is _State.BODY:
            self._feed_body(SCRATCH[:nbytes])
        elif self._state is not _State.CLOSED:
            self._received += SCRATCH[:nbytes]
            if self._state is _State.HEAD:
                self._next_head()
            elif len(self._received) > PIPELINE_BYTES:
                self.pause()

    def eof_received(self) -> bool:
        """A client may close its side after a whole request and still wait for the answer; otherwise it is gone."""
        if self._state is _State.RESPONSE and self._exchange is not None:
            self._exchange.keep_alive = False
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._state = _State.CLOSED
        self._server_state.connections.discard(self)
        self._cancel_timer()
        self._writable.set()
        if self._exchange is not None:
            self._exchange.lose()

    def pause_writing(self) -> None:
        """See asyncio."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See asyncio."""
        self._writable.set()

    def shutdown(self) -> None:
        """uvicorn stops: close now, or after the response under way."""
        self._closing = True
        if self._state is _State.HEAD:
            self._transport.close()
        elif self._exchange is not None:
            self._exchange.keep_alive = False

    # --- what a body and an exchange ask for ---------------------------------------------------------------------

    def pause(self) -> None:
        """See `Flow`."""
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """See `Flow`."""
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def send_continue(self) -> None:
        """See `Flow`."""
        if self._exchange is not None:
            self._exchange.send_continue()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Headers that uvicorn adds to every response: the date."""
        return self._server_state.default_headers

    def write(self, output: bytes) -> None:
        """Hand bytes to the transport."""
        if not self._transport.is_closing():
            self._transport.write(output)

    async def writable(self) -> None:
        """Wait while the client reads slower than is written."""
        await self._writable.wait()

    def response_completed(self) -> None:
        """The response is handed over: go on with the next request, or end the connection so that it arrives."""
        exchange = self._exchange
        if exchange is None or self._state is _State.CLOSED:
            return
        self._server_state.total_requests += 1
        if not exchange.body.received:
            self._linger()
        elif not exchange.keep_alive or self._closing:
            self._transport.close()
        else:
            self._state = _State.HEAD
            self._exchange = None
            self.resume()
            self._set_timer(self._config.timeout_keep_alive)
            if self._received:
                # Not from inside the application's call: the next request is none of its business.
                self._loop.call_soon(self._next_head)

    # --- heads ---------------------------------------------------------------------------------------------------

    def _next_head(self) -> None:
        if self._state is not _State.HEAD:
            return
        received = self._received
        # RFC 9112 2.2: empty lines before a request line are ignored.
        while received[:2] == b"\r\n":
            del received[:2]
        if not received:
            return
        end = received.find(b"\r\n\r\n", max(0, self._searched - 3))
        if end < 0:
            if self._searched == 0:
                self._set_timer(self._options.head_seconds)
            self._searched = len(received)
            if len(received) > self._options.head_bytes:
                self._refuse(431, "the request's headers are too large")
            return
        if end > self._options.head_bytes:
            self._refuse(431, "the request's headers are too large")
            return
        head, rest = bytes(received[: end + 4]), bytes(received[end + 4 :])
        received.clear()
        self._searched = 0
        self._cancel_timer()
        try:
            parsed = parse_head(head)
        except BadHead as error:
            self._refuse(error.status, str(error))
            return
        if parsed.upgrade == b"websocket" and self._config.ws_protocol_class is not None:
            self._upgrade(head + rest)
            return
        self._begin(parsed, rest)

    def _begin(self, parsed: ParsedHead, rest: bytes) -> None:
        body = RequestBody(self, parsed.body_bytes, self._options.least_bytes_per_second)
        exchange = self._exchange = Exchange(self, parsed, body)
        self._state = _State.RESPONSE if body.received else _State.BODY
        if body.received:
            self._received += rest
        elif rest:
            self._feed_body(memoryview(rest))
        if self._state is _State.BODY:
            self.pause()  # until somebody reads
        if self._state is not _State.CLOSED:
            exchange.task = self._loop.create_task(self._run(exchange))
            self._server_state.tasks.add(exchange.task)
            exchange.task.add_done_callback(self._server_state.tasks.discard)

    def _feed_body(self, data: memoryview) -> None:
        if self._exchange is None:
            return
        body = self._exchange.body
        count = body.feed(data)
        if body.decoder is not None and body.decoder.broken:
            # Nothing behind it can be understood; what came before it counts.
            self._refuse(400, "the chunked coding is malformed")
            self._exchange.lose()
        elif body.received:
            self._received += data[count:]
            self._body_received()

    def _body_received(self) -> None:
        self._state = _State.RESPONSE
        self.resume()  # to notice when the client leaves

    def _upgrade(self, received: bytes) -> None:
        """Hand the connection to uvicorn's WebSocket protocol, with all that has been received."""
        self._state = _State.CLOSED
        self._server_state.connections.discard(self)
        protocol_class = cast(Any, self._config.ws_protocol_class)
        protocol = protocol_class(
            config=self._config, server_state=self._server_state, app_state=self._app_state
        )
        protocol.connection_made(self._transport)
        self._transport.set_protocol(protocol)
        protocol.data_received(received)

    # --- the application -----------------------------------------------------------------------------------------

    def _scope(self, exchange: Exchange) -> dict[str, Any]:
        head = exchange.head
        root_path = self._config.root_path
        return {
            "type": "http",
            "asgi": {"version": self._config.asgi_version, "spec_version": "2.3"},
            "http_version": head.http_version,
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "method": head.method,
            "root_path": root_path,
            "path": root_path + head.path,
            "raw_path": root_path.encode("ascii") + head.raw_path,
            "query_string": head.query_string,
            "headers": head.headers,
            "state": self._app_state.copy(),
            "extensions": {BODY_EXTENSION: exchange.body},
        }

    async def _run(self, exchange: Exchange) -> None:
        try:
            app = cast(Any, self._config.loaded_app)
            await app(self._scope(exchange), exchange.receive, exchange.send)
        except Exception:
            log.exception("application.crashed")
        finally:
            if not exchange.complete and self._state in (_State.BODY, _State.RESPONSE):
                if exchange.started:
                    self._transport.close()  # half a response: only the end of the connection can say so
                else:
                    self._refuse(500, "internal error")

    # --- ends ----------------------------------------------------------------------------------------------------

    def _refuse(self, status: int, reason: str) -> None:
        """Answer what no application sees, and end the connection."""
        if self._exchange is not None and self._exchange.started:
            self._transport.close()
            return
        text = f"{reason}\n".encode()
        lines = [STATUS_LINES[status], *(b"%b: %b\r\n" % header for header in self.default_headers)]
        lines.append(b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n")
        lines.append(b"content-length: %d\r\n\r\n%b" % (len(text), text))
        self.write(b"".join(lines))
        self._linger()

    def _linger(self) -> None:
        """Close our side, and let the client finish its sending for a while: a reset would take the answer with it."""
        self._state = _State.LINGER
        self.resume()
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._set_timer(LINGER_SECONDS)
        else:
            self._transport.close()

    def _set_timer(self, delay_seconds: float) -> None:
        self._cancel_timer()
        self._timer = self._loop.call_later(delay_seconds, self._time_is_up)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self) -> None:
        self._timer = None
        if self._state is _State.HEAD and self._received:
            self._refuse(408, "the request's head took too long")
        elif self._state in (_State.HEAD, _State.LINGER):
            self._transport.abort()

"""One client's connection: heads, bodies and responses in turn, under deadlines and limits.

A uvicorn HTTP protocol class. It is an `asyncio.BufferedProtocol` for the whole of its life, so that the socket can
fill a body's buffer directly (uvloop takes that path only from a class that is not also an `asyncio.Protocol`);
everything else arrives in one scratch buffer that all connections share, since each handles its bytes before the next
one is asked.

    HEAD → (BODY) → RESPONSE → HEAD …, until it is ENDED: closed, or given to `Lingering` or a WebSocket's protocol
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import Any, Final, cast

from uvicorn.config import Config
from uvicorn.protocols.utils import is_ssl
from uvicorn.server import ServerState

from tuspy_server.edge.body import RequestBody
from tuspy_server.edge.deadline import Deadline
from tuspy_server.edge.exchange import Exchange
from tuspy_server.edge.gathering import Gathering
from tuspy_server.edge.head import BadHead, ParsedHead, asks_for_websocket, parse_head
from tuspy_server.edge.lingering import Lingering
from tuspy_server.edge.options import EdgeOptions
from tuspy_server.edge.received import Received
from tuspy_server.edge.response import Headers, refusal
from tuspy_server.edge.scope import Scopes
from tuspy_server.edge.unread import Unread

SCRATCH: Final = memoryview(bytearray(256 << 10))
HEAD_SCRATCH: Final = SCRATCH[: 64 << 10]

RETRY_AFTER: Final = ((b"retry-after", b"5"),)

PIPELINE_BYTES: Final = 64 << 10
"""Bytes behind a request that are kept until it is answered; then the socket is no longer read."""


class _State(Enum):
    HEAD = auto()
    BODY = auto()
    RESPONSE = auto()
    ENDED = auto()


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
        # All that is asked of uvicorn's settings is asked here, so that `selftest` misses none.
        self._app: Any = config.loaded_app
        self._keep_alive_seconds = config.timeout_keep_alive
        self._websocket_class: Any = config.ws_protocol_class
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._options = options or EdgeOptions()
        self._state = _State.HEAD
        self._transport: asyncio.Transport
        self._scopes: Scopes
        self._unread: Unread
        self._gathering: Gathering
        self._received = Received(self._options.head_bytes)
        self._exchange: Exchange | None = None
        self._direct = self._paused = self._half_closed = self._stopping = False
        self._deadline = Deadline(self._loop, self._time_is_up)
        self._writable = asyncio.Event()
        self._writable.set()

    # --- asyncio -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast(asyncio.Transport, transport)
        self._scopes = Scopes(self._config, self._app_state, self._transport)
        self._unread = Unread(self._loop, self._transport, self._options.unread_seconds)
        self._gathering = Gathering(self._transport)
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn's set names its own classes
        self._deadline.set(self._options.head_seconds)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio."""
        self._direct = False
        if self._state is not _State.BODY or self._exchange is None:
            return HEAD_SCRATCH
        target = self._exchange.body.target()
        if target is None:
            return HEAD_SCRATCH if self._exchange.body.comes_small else SCRATCH
        self._direct = True
        return target

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio."""
        if self._direct and self._exchange is not None:
            body = self._exchange.body
            body.filled(nbytes)
            if body.received:
                self._body_received()
        elif self._state is _State.BODY:
            self._feed_body(SCRATCH[:nbytes])
        elif self._state is not _State.ENDED:
            self._received.append(SCRATCH[:nbytes])
            self._next_head()
            if len(self._received) > PIPELINE_BYTES and self._must_wait():
                self._pause_reading()

    def eof_received(self) -> bool:
        """A client may close its side behind whole requests and still wait for their answers; otherwise it is gone."""
        streams = self._exchange is not None and self._exchange.response.is_stream
        asks = self._state is _State.HEAD and self._received.unread
        unanswered = asks or (self._state is _State.RESPONSE and not streams)
        # TLS cannot be half-closed: asyncio ends the connection whatever is returned.
        self._half_closed = unanswered and not is_ssl(self._transport)
        return self._half_closed

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._leave()
        self._unread.stop()

    def pause_writing(self) -> None:
        """See asyncio."""
        self._writable.clear()
        self._unread.watch()

    def resume_writing(self) -> None:
        """See asyncio."""
        self._writable.set()
        if not self._transport.is_closing():
            self._unread.clear()
        if self._state is _State.HEAD:
            self._resume_reading()
            self._next_head()

    def shutdown(self) -> None:
        """uvicorn stops: close now, or after the response under way."""
        self._stopping = True
        if self._state is _State.HEAD:
            self._close()
        elif self._exchange is not None:
            self._exchange.response.keep_alive = False

    # --- what a body and an exchange ask for ---------------------------------------------------------------------

    def pause(self) -> None:
        """See `Flow`. Only a body that is still awaited has a say: what a late reader asks for is no longer its own."""
        if self._state is _State.BODY:
            self._pause_reading()

    def resume(self) -> None:
        """See `Flow`."""
        if self._state is _State.BODY:
            self._resume_reading()

    def gather(self, least_bytes: int) -> None:
        """See `Flow`."""
        self._gathering.gather(least_bytes)

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

    @property
    def is_writable(self) -> bool:
        """Whether the client keeps up with what is written."""
        return self._writable.is_set()

    async def writable(self) -> None:
        """Wait while the client reads slower than is written."""
        await self._writable.wait()

    def response_completed(self) -> None:
        """The response is handed over: go on with the next request, or end the connection so that it arrives."""
        exchange = self._exchange
        self._server_state.total_requests += 1
        if exchange is None or self._state is _State.ENDED:
            return
        if not exchange.body.received or not exchange.response.keep_alive or self._stopping:
            self._end()
            return
        self._state = _State.HEAD
        self._exchange = None
        self._deadline.set(self._keep_alive_seconds)
        if self._writable.is_set():
            self._resume_reading()
            if self._received or self._half_closed:
                # Not from inside the application's call: the next request is none of its business.
                self._loop.call_soon(self._next_head)

    def response_abandoned(self) -> None:
        """Half a response: only the end of the connection can say so. None at all: 500; or, where the application was
        cancelled because the server stops, what clients try again: a HEAD only after 423, else they begin anew."""
        if self._state not in (_State.BODY, _State.RESPONSE):
            return
        if self._stopping:
            is_head = self._exchange is not None and self._exchange.head.method == "HEAD"
            self._refuse(423 if is_head else 503, "the server is shutting down", RETRY_AFTER)
        else:
            self._refuse(500, "internal error")

    # --- heads ---------------------------------------------------------------------------------------------------

    def _must_wait(self) -> bool:
        """Whether the next request has to wait: for the answer to this one, or for the client to read the last."""
        return self._state is _State.RESPONSE or (self._state is _State.HEAD and not self._writable.is_set())

    def _next_head(self) -> None:
        if self._state is not _State.HEAD or self._must_wait() or self._transport.is_closing():
            return
        waiting = self._received.begun
        try:
            head = self._received.take_head()
            if head is not None:
                self._begin(head, parse_head(head))
            elif self._received.begun and not waiting:
                self._deadline.set(self._options.head_seconds)
        except BadHead as error:
            self._refuse(error.status, str(error))
        # The client has closed its side: no more comes.
        if self._half_closed and self._state in (_State.HEAD, _State.BODY):
            self._close()

    def _begin(self, raw_head: bytes, head: ParsedHead) -> None:
        if self._websocket_class is not None and asks_for_websocket(head):
            self._upgrade(raw_head + self._received.take_rest())
            return
        self._deadline.clear()
        body = RequestBody(self, head.body_bytes, self._options.least_bytes_per_second)
        exchange = self._exchange = Exchange(self, head, body)
        self._state = _State.RESPONSE if body.received else _State.BODY
        if self._state is _State.BODY and self._received:
            self._feed_body(memoryview(self._received.take_rest()))
        self.pause()  # until somebody reads
        task = self._loop.create_task(exchange.run(self._app, self._scopes.scope(head, body)))
        self._server_state.tasks.add(task)
        task.add_done_callback(self._server_state.tasks.discard)

    def _feed_body(self, data: memoryview) -> None:
        if self._exchange is None:
            return
        body = self._exchange.body
        count = body.feed(data)
        if body.decoder is not None and body.decoder.broken:
            # Nothing behind it can be understood; what came before it counts.
            self._refuse(400, "the chunked coding is malformed")
        elif body.received:
            self._received.append(data[count:])
            self._body_received()

    def _body_received(self) -> None:
        self._state = _State.RESPONSE
        self._resume_reading()  # to notice when the client leaves

    def _upgrade(self, received: bytes) -> None:
        """Hand the connection to uvicorn's WebSocket protocol, with all that has been received."""
        self._leave()
        self._unread.stop()
        protocol = self._websocket_class(
            config=self._config, server_state=self._server_state, app_state=self._app_state
        )
        protocol.connection_made(self._transport)
        self._transport.set_protocol(protocol)
        protocol.data_received(received)

    # --- ends ----------------------------------------------------------------------------------------------------

    def _refuse(self, status: int, reason: str, further: Headers = ()) -> None:
        """Answer what no application sees, or has failed to, and end the connection."""
        exchange = self._exchange
        if exchange is not None and exchange.head_sent:
            if exchange.response.is_stream and not self._writable.is_set():
                self._transport.abort()  # it was given up because its client takes nothing
            self._close()
            return
        has_body = exchange is None or exchange.head.method != "HEAD"
        self.write(refusal(status, reason, self.default_headers, has_body=has_body, further=further))
        self._end()

    def _end(self) -> None:
        """Close the connection so that the answer arrives, whatever the client still sends."""
        whole = self._state is _State.RESPONSE and not self._received
        framed = self._exchange is None or self._exchange.response.framed
        if self._half_closed or (self._stopping and whole) or not (framed or self._transport.can_write_eof()):
            self._close()
        elif not self._transport.is_closing():
            self._leave()
            self._unread.stop()
            self._gathering.gather(1)
            Lingering(self._transport, self._server_state.connections, self._options, stopping=self._stopping)

    def _close(self) -> None:
        """Close the connection; what still waits for the client gets there, if it takes it."""
        if not self._transport.is_closing():
            self._unread.watch()
        self._transport.close()

    def _leave(self) -> None:
        """Nothing that happens to the connection is our business any more."""
        self._state = _State.ENDED
        self._server_state.connections.discard(self)
        self._deadline.stop()
        self._writable.set()
        if self._exchange is not None:
            self._exchange.lose()

    def _pause_reading(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._paused and not self._half_closed and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def _time_is_up(self) -> None:
        if self._received.begun:
            self._refuse(408, "the request's head took too long")
        else:
            self._close()  # what is still on its way to the client gets there

"""uvicorn's WebSocket class, with what it lacks: bounds on what a client makes it keep, and no secrets in its log."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from tuspy_server.edge.options import EdgeOptions
from tuspy_server.edge.response import refusal
from tuspy_server.edge.unread import Unread

MESSAGE_BYTES: Final = 64 << 10
MOST_FRAGMENTS: Final = 256
SLICE_BYTES: Final = 4 << 10
"""What is taken apart at once: an empty message is six bytes on the wire, and two hundred once it waits."""

MOST_WAITING: Final = 1000
"""Messages that wait although nobody will receive them: behind them the client's answer to a close may come."""

STOPPING_SECONDS: Final = 1.0
"""What a client gets to take the last of what it was sent once the server stops."""

# uvicorn logs the URL with its query, and websockets every frame: tokens are in both.
_quiet: Final = logging.getLogger("tuspy_server.edge.websocket")
_quiet.setLevel(logging.WARNING)


class EdgeWebSocket(WebSocketsSansIOProtocol):
    """A client that takes nothing is not read either, and ended after a while: its pings would fill the memory."""

    _unread: Unread

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.logger = _quiet
        self.conn.logger = _quiet
        self.conn.debug = False
        self._unfed = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        super().connection_made(transport)
        self._unread = Unread(self.loop, cast("asyncio.Transport", transport), EdgeOptions().unread_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._unread.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._unfed += data
        self._feed()

    def pause_writing(self) -> None:
        """See asyncio."""
        super().pause_writing()
        self._unread.watch()
        self._hold()

    def resume_writing(self) -> None:
        """See asyncio."""
        super().resume_writing()
        if self.transport.is_closing():
            return
        self._unread.clear()
        if not self.read_paused and not self._unfed:
            self.transport.resume_reading()

    async def receive(self) -> Any:
        """See ASGI."""
        message = await super().receive()
        self._feed()
        if not self.writable.is_set():
            self._hold()
        elif not self._unfed and not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()
        return message

    async def run_asgi(self) -> None:
        """uvicorn leaves the names of headers as they were sent, where ASGI has them in lower case."""
        self.scope["headers"] = [(name.lower(), value) for name, value in self.scope["headers"]]
        await super().run_asgi()

    async def send(self, message: Any) -> None:
        """See ASGI. To uvicorn a handshake that was refused by a status is one that was never answered."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True
        if self.close_sent:
            self._feed()

    def handle_cont(self, event: Frame) -> None:
        """Of fragments without a byte there can be any number in a message."""
        if len(self.frames) >= MOST_FRAGMENTS:
            self.conn.fail(1009, "too many fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def shutdown(self) -> None:
        """uvicorn stops."""
        super().shutdown()
        self.loop.call_later(STOPPING_SECONDS, self.transport.abort)

    def _feed(self) -> None:
        """Take apart as much as the application, or the end of the connection, waits for."""
        while self._unfed and not self.transport.is_closing():
            if self.queue.qsize() >= (MOST_WAITING if self.close_sent else 1):
                self._hold()
                return
            piece = bytes(self._unfed[:SLICE_BYTES])
            del self._unfed[:SLICE_BYTES]
            super().data_received(piece)
            if self.conn.handshake_exc is not None and not self.handshake_initiated:
                # uvicorn would wait for ever for what has been refused already.
                self.transport.write(refusal(400, "bad handshake", self.default_headers, has_body=True))
                self.transport.close()

    def _hold(self) -> None:
        if not self.transport.is_closing():
            self.transport.pause_reading()

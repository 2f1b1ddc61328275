"""The end of a connection whose client may still be sending: closed at once, it would be reset, and the answer lost
before it is read (fault N08)."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tuspy_server.edge.options import EdgeOptions

SINK: Final = memoryview(bytearray(256 << 10))


class Lingering(asyncio.BufferedProtocol):
    """Closes our side, and throws away what the client sends, until it closes its own or has had its time and bytes."""

    def __init__(
        self, transport: asyncio.Transport, connections: set[Any], options: EdgeOptions, *, stopping: bool
    ) -> None:
        """`connections`: uvicorn's, which waits for all of them when it stops; `stopping`: it does so already."""
        self._transport = transport
        self._connections = connections
        self._options = options
        self._stopping = stopping
        self._seconds = options.stopping_linger_seconds if stopping else options.linger_seconds
        self._left_bytes = options.linger_bytes
        self._took_bytes = False
        self._ends_at = asyncio.get_running_loop().time() + options.linger_most_seconds
        self._unsent_bytes = 0
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._time_is_up)
        connections.add(self)
        transport.set_protocol(self)
        try:
            # TLS has no half of a connection to close; there the answer says where it ends.
            if transport.can_write_eof():
                transport.write_eof()
            transport.resume_reading()
        except OSError:  # the client has left meanwhile
            transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio."""
        return SINK

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio."""
        self._left_bytes -= nbytes
        self._took_bytes = True
        if self._left_bytes < 0:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._timer.cancel()
        self._connections.discard(self)

    def shutdown(self) -> None:
        """uvicorn stops, and waits for this connection: the answer is on its way, the rest is courtesy."""
        self._stopping = True
        self._seconds = self._options.stopping_linger_seconds
        self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._time_is_up)

    def _time_is_up(self) -> None:
        loop, unsent_bytes = asyncio.get_running_loop(), self._transport.get_write_buffer_size()
        is_reading = unsent_bytes not in (0, self._unsent_bytes)
        # Many clients send all they have before they look for an answer.
        is_sending = self._took_bytes and not self._stopping and loop.time() < self._ends_at
        if not is_reading and not is_sending:
            self._transport.abort()
            return
        self._unsent_bytes, self._took_bytes = unsent_bytes, False
        self._timer = loop.call_later(self._seconds, self._time_is_up)

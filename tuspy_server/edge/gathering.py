"""How much the kernel gathers of a body before it wakes us: a fast client's bytes come in few large reads."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Final

GATHER_BYTES: Final = 256 << 10


class Gathering:
    """`SO_RCVLOWAT` of one connection. Below it the kernel says nothing, so whoever raises it watches the clock."""

    def __init__(self, transport: asyncio.Transport) -> None:
        """TLS has records of its own, and bytes that wait in them: there nothing is gathered."""
        self._socket: socket.socket | None = None
        if transport.get_extra_info("sslcontext") is None:
            self._socket = transport.get_extra_info("socket")
        self.least_bytes = 1

    def gather(self, least_bytes: int) -> None:
        """Wake us from so many bytes on. An end of the connection wakes in any case."""
        if self._socket is None or least_bytes == self.least_bytes:
            return
        with suppress(OSError):  # a UNIX socket, or one that is closed
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least_bytes)
            self.least_bytes = least_bytes

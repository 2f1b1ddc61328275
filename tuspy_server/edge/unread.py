"""A client that takes nothing of its answer: the connection, and the download behind it, must not wait for ever."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from contextlib import suppress
from typing import Final

from tuspy_server.edge.deadline import Deadline

_INT: Final = struct.Struct("i")


class Unread:
    """Aborts a connection whose client has taken no byte for `seconds`, while bytes wait for it.

    However slowly it reads, it may go on: only what stands still is ended.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, seconds: float) -> None:
        self._transport = transport
        self._seconds = seconds
        self._socket: socket.socket | None = transport.get_extra_info("socket")
        self._unread_bytes = 0
        self._deadline = Deadline(loop, self._look)
        # The kernel ends by itself what stands still in its own buffer, be the client dead or not.
        if self._socket is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            with suppress(OSError):  # a UNIX socket
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, round(seconds * 1000)))

    def watch(self) -> None:
        """From now on something waits for the client."""
        self._unread_bytes = self._count()
        self._deadline.set(self._seconds)

    def clear(self) -> None:
        """Nothing does."""
        self._deadline.clear()

    def stop(self) -> None:
        """The connection is no longer ours."""
        self._deadline.stop()

    def _look(self) -> None:
        unread_bytes = self._count()
        if unread_bytes >= self._unread_bytes:
            self._transport.abort()
            return
        self._unread_bytes = unread_bytes
        self._deadline.set(self._seconds)

    def _count(self) -> int:
        """What waits here, and in the kernel, where it can be told: a slow client empties that long before ours."""
        return self._transport.get_write_buffer_size() + _kernel_bytes(self._socket)


def _kernel_bytes(connection: socket.socket | None) -> int:
    if connection is None or sys.platform != "linux":
        return 0
    with suppress(OSError, ValueError):  # it is closed already
        count: int = _INT.unpack(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, _INT.pack(0)))[0]
        return count
    return 0

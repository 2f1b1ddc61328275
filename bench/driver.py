"""Many connections in one thread: epoll, raw sockets, `os.sendfile`; each connection follows a script.

A script is a generator: it yields a step and is sent the answer. The driver does nothing else, so that what a request
costs the client is a send, a receive and a share of an `epoll_wait`.
"""

from __future__ import annotations

import heapq
import os
import select
import socket
import time
from collections.abc import Generator, Sequence
from typing import Final, NamedTuple

from bench.source import Source
from bench.wire import Answer, Broken, cut_answer

SMALL_BODY_BYTES: Final = 16 << 10
"""A body up to this goes out in one call together with its head."""

TURN_BYTES: Final = 4 << 20
"""Most bytes for one connection before the others get their turn."""

RECEIVE_BYTES: Final = 64 << 10


class Exchange(NamedTuple):
    """Send `head`, then `body_bytes` bytes of the source from `position` on; wait for the answer."""

    head: bytes
    position: int = 0
    body_bytes: int = 0


class Partial(NamedTuple):
    """Send as for an `Exchange`, but a part of a request only: wait for nothing."""

    head: bytes
    position: int
    body_bytes: int


class Pause(NamedTuple):
    """Do nothing until this instant of the monotonic clock."""

    until: float


Step = Exchange | Partial | Pause
Script = Generator[Step, Answer | None, None]


class _Connection:
    """One socket and its script."""

    __slots__ = ("armed", "awaiting", "count", "out", "position", "received", "script", "sock", "to_head")

    def __init__(self, script: Script, sock: socket.socket) -> None:
        self.script = script
        self.sock = sock
        self.out = memoryview(b"")
        self.position = 0
        self.count = 0
        self.awaiting = False
        self.to_head = False
        self.armed = False
        self.received = bytearray()


class Driver:
    """Runs scripts against one server, each on a connection of its own."""

    def __init__(self, port: int, source: Source, scripts: Sequence[Script]) -> None:
        """Connects them all."""
        self.requests = 0
        self.body_bytes = 0
        self.reconnects = 0
        self._port = port
        self._source = source
        self._epoll = select.epoll()
        self._timers: list[tuple[float, int, _Connection]] = []
        self._order = 0
        self._open: dict[int, _Connection] = {}
        self._connections = [_Connection(script, self._connect()) for script in scripts]
        for connection in self._connections:
            self._register(connection)

    def run(self, limit_seconds: float) -> None:
        """Until every script has ended.

        Raises:
            Broken: a connection was lost, a script was not satisfied, or the limit has passed.
        """
        deadline = time.monotonic() + limit_seconds
        try:
            for connection in self._connections:
                self._advance(connection, None)
            while self._open:
                now = time.monotonic()
                if now > deadline:
                    raise Broken(f"not done within {limit_seconds:g} s")
                wake = min(self._timers[0][0] if self._timers else deadline, deadline)
                for descriptor, event in self._epoll.poll(max(0.0, wake - now) + 0.001):
                    ready = self._open.get(descriptor)
                    if ready is not None:
                        self._handle(ready, event)
                self._wake()
        except OSError as error:
            raise Broken(f"connection lost: {error}") from error
        finally:
            for connection in self._open.values():
                connection.sock.close()
            self._epoll.close()

    def _connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        return sock

    def _register(self, connection: _Connection) -> None:
        self._open[connection.sock.fileno()] = connection
        self._epoll.register(connection.sock, select.EPOLLIN)

    def _wake(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            self._advance(heapq.heappop(self._timers)[2], None)

    def _handle(self, connection: _Connection, event: int) -> None:
        if event & ~select.EPOLLOUT:
            self._receive(connection)
        if event & select.EPOLLOUT and connection.armed:
            self._flush(connection)

    # --- scripts -------------------------------------------------------------------------------------------------

    def _advance(self, connection: _Connection, answer: Answer | None) -> None:
        try:
            step = connection.script.send(answer)
        except StopIteration:
            self._drop(connection)
            return
        match step:
            case Exchange(head, position, count):
                self.requests += 1
                connection.awaiting = True
                connection.to_head = head.startswith(b"HEAD ")
                self._send(connection, head, position, count)
            case Partial(head, position, count):
                self._send(connection, head, position, count)
            case Pause(until):
                self._order += 1
                heapq.heappush(self._timers, (until, self._order, connection))

    def _send(self, connection: _Connection, head: bytes, position: int, count: int) -> None:
        self.body_bytes += count
        if 0 < count <= SMALL_BODY_BYTES:
            head, count = b"".join((head, *self._source.runs(position, count))), 0
        connection.out, connection.position, connection.count = memoryview(head), position, count
        self._flush(connection)

    # --- the socket ----------------------------------------------------------------------------------------------

    def _flush(self, connection: _Connection) -> None:
        sent = 0
        try:
            while connection.out:
                more = socket.MSG_MORE if connection.count else 0
                connection.out = connection.out[connection.sock.send(connection.out, more) :]
            while connection.count and sent < TURN_BYTES:
                start, length = self._source.at(connection.position, min(connection.count, TURN_BYTES))
                taken = os.sendfile(connection.sock.fileno(), self._source.descriptor, start, length)
                sent += taken
                connection.position += taken
                connection.count -= taken
        except BlockingIOError:
            pass
        pending = bool(connection.out or connection.count)
        if pending != connection.armed:
            connection.armed = pending
            events = select.EPOLLIN | select.EPOLLOUT if pending else select.EPOLLIN
            self._epoll.modify(connection.sock, events)
        if not pending and not connection.awaiting:
            self._advance(connection, None)

    def _receive(self, connection: _Connection) -> None:
        data = connection.sock.recv(RECEIVE_BYTES)
        if not data:
            if connection.awaiting or connection.armed:
                raise Broken("the server closed a connection that waited for its answer")
            self._reconnect(connection)
            return
        connection.received += data
        answer = cut_answer(connection.received, to_head=connection.to_head)
        if answer is None:
            return
        if not connection.awaiting or connection.out or connection.count:
            raise Broken(f"answer {answer.status} before the request was sent")
        connection.awaiting = False
        if answer.closes:
            self._reconnect(connection)
        self._advance(connection, answer)

    def _reconnect(self, connection: _Connection) -> None:
        self.reconnects += 1
        self._drop(connection)
        connection.sock = self._connect()
        connection.received.clear()
        self._register(connection)

    def _drop(self, connection: _Connection) -> None:
        self._epoll.unregister(connection.sock)
        del self._open[connection.sock.fileno()]
        connection.sock.close()

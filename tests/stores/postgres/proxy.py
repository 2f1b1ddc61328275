"""A TCP proxy before PostgreSQL that reads the server's messages: it counts round trips, cuts, and falls silent."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

EXECUTED = frozenset({"C", "s"})
"""CommandComplete, and PortalSuspended, which is what a client gets that asks for one row. They leave the server with
its ReadyForQuery, when the transaction is committed."""

READY_FOR_QUERY = "Z"


class PostgresProxy:
    """Connections without TLS, on a port of 127.0.0.1.

    Attributes:
        messages: those of the server that went through, by type.
        cut_at: the next message of these types from the server is lost, and its connection, as both sides see it.
        silent: nothing goes through any more in either direction, new connections included.
        silent_at: a message of these types from the server is the last that goes through.
        refuses: new connections are cut at once, as by a server that has too many.
        refused: how many.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = urlsplit(dsn)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self.messages: Counter[str] = Counter()
        self.cut_at: frozenset[str] = frozenset()
        self.silent = False
        self.silent_at: frozenset[str] = frozenset()
        self.refuses = False
        self.refused = 0

    @property
    def dsn(self) -> str:
        """The way through."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return urlunsplit(self._dsn._replace(netloc=f"{self._dsn.username}@127.0.0.1:{port}"))

    @property
    def round_trips(self) -> int:
        return self.messages[READY_FOR_QUERY]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted is closed in the loop's next round

    def tell_of_the_end(self) -> None:
        """What a server says before it closes a connection; but the connections stay open."""
        fields = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
        for writer in self._clients:
            writer.write(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)

    def cut(self) -> None:
        """Every connection, at once."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        pair = {writer}
        self._clients.add(writer)
        try:
            if self.refuses:
                self.refused += 1
                return
            server_reader, server_writer = await asyncio.open_connection(self._dsn.hostname, self._dsn.port)
            pair.add(server_writer)
            self._writers |= pair
            await asyncio.gather(self._up(reader, server_writer), self._down(server_reader, writer, pair))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            for side in pair:
                side.transport.abort()
            self._writers -= pair
            self._clients -= pair

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(1 << 16):
            if not self.silent:
                writer.write(block)
                await writer.drain()
        writer.close()

    async def _down(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pair: set[asyncio.StreamWriter]
    ) -> None:
        # As no TLS is asked for, all that the server sends are messages: type, length, content.
        while True:
            try:
                head = await reader.readexactly(5)
            except asyncio.IncompleteReadError:
                break
            body = await reader.readexactly(int.from_bytes(head[1:], "big") - 4)
            kind = chr(head[0])
            if kind in self.cut_at:
                self.cut_at = frozenset()
                for side in pair:
                    side.transport.abort()
                return
            if not self.silent:
                self.messages[kind] += 1
                writer.write(head + body)
                await writer.drain()
                self.silent = kind in self.silent_at
        if not self.silent:
            writer.close()

"""Readers of a server's streams, as small as can be: an EventSource, a WebSocket, a STOMP client."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.web.wire import Reply, Wire, head
from tuspy_server.web.stomp.frames import Parser, StompFrame, encode

SECONDS = 20.0


@dataclass
class Block:
    """One block of an event stream."""

    id: str | None = None
    event: str | None = None
    data: str | None = None
    retry: str | None = None
    comment: bool = False

    @property
    def cloudevent(self) -> dict[str, Any]:
        assert self.data is not None
        event: dict[str, Any] = json.loads(self.data)
        return event


class Ended(Exception):
    """The server has ended the stream."""


@dataclass
class EventSource:
    """What a browser's does, and keeps its last id when it is closed and opened again."""

    port: int
    query: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    last_id: str | None = None
    receive_bytes: int | None = None
    blocks: list[Block] = field(default_factory=list)
    _wire: Wire | None = None

    async def open(self) -> Reply:
        """The head of the answer; its body, too, where it is no stream."""
        self._wire = wire = await self._connect()
        fields = {"Accept": "text/event-stream", **self.fields}
        if self.last_id is not None:
            fields["Last-Event-ID"] = self.last_id
        await wire.send(head("GET", f"/events{self.query}", fields))
        async with asyncio.timeout(SECONDS):
            raw = (await wire.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = [line.partition(":") for line in raw[1:] if line]
        reply = Reply(int(raw[0].split(" ")[1]), tuple((n.lower(), v.strip()) for n, _, v in pairs), b"")
        if "content-length" in reply:
            body = await wire.reader.readexactly(int(reply["content-length"]))
            reply = Reply(reply.status, reply.fields, body)
            await self.close()
        self._chunk = b""
        return reply

    async def _connect(self) -> Wire:
        if self.receive_bytes is None:
            return await Wire.connect(self.port)
        own = socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_bytes)
        own.setblocking(False)
        await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", self.port))
        return Wire(*await asyncio.open_connection(sock=own, limit=1 << 14))

    async def __aenter__(self) -> Self:
        reply = await self.open()
        assert reply.status == 200, reply.text
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._wire is not None:
            await self._wire.close()
            self._wire = None

    async def _line(self) -> str:
        """One line of the body, out of its chunks."""
        assert self._wire is not None
        reader = self._wire.reader
        while b"\n" not in self._chunk:
            size = await reader.readline()
            if not size or int(size, 16) == 0:
                raise Ended
            self._chunk += await reader.readexactly(int(size, 16))
            await reader.readline()
        line, _, self._chunk = self._chunk.partition(b"\n")
        return line.decode()

    async def block(self) -> Block:
        """The next block, of whatever kind."""
        block = Block()
        async with asyncio.timeout(SECONDS):
            while line := await self._line():
                name, _, value = line.partition(":")
                match name:
                    case "":
                        block.comment = True
                    case "id":
                        block.id = self.last_id = value.strip()
                    case "event":
                        block.event = value.strip()
                    case "data":
                        block.data = value.strip()
                    case "retry":
                        block.retry = value.strip()
                    case _:
                        raise AssertionError(line)
        self.blocks.append(block)
        return block

    async def next(self, *kinds: str) -> Block:
        """The next event of these kinds, or of any."""
        while True:
            block = await self.block()
            if block.event is not None and (not kinds or block.event in kinds):
                return block

    async def until_ended(self) -> None:
        try:
            while True:
                await self.block()
        except Ended:
            return


@asynccontextmanager
async def websocket(
    port: int, query: str = "", *, subprotocols: tuple[str, ...] = ("cloudevents.json",), **named: Any
) -> AsyncIterator[ClientConnection]:
    """An open one; `named` goes to websockets."""
    async with connect(
        f"ws://127.0.0.1:{port}/ws{query}",
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        compression=None,
        proxy=None,
        **named,
    ) as connection:
        yield connection


async def receive(connection: ClientConnection) -> dict[str, Any]:
    """The next CloudEvent."""
    async with asyncio.timeout(SECONDS):
        event: dict[str, Any] = json.loads(await connection.recv())
        return event


async def receive_until(connection: ClientConnection, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """All up to the first that is wanted."""
    events = [await receive(connection)]
    while not wanted(events[-1]):
        events.append(await receive(connection))
    return events


class StompClient:
    """Sends frames as they are given; heartbeats are counted."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.heartbeats = 0
        self._parser = Parser()
        self._frames: list[StompFrame] = []

    async def send(self, command: str, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        await self.connection.send(encode(command, named.items()).decode())

    async def connect(self, heart_beat: str = "0,0", **headers: str) -> StompFrame:
        await self.send("CONNECT", accept_version="1.2", host="x", heart_beat=heart_beat, **headers)
        return await self.frame()

    async def frame(self) -> StompFrame:
        """The next one."""
        async with asyncio.timeout(SECONDS):
            while not self._frames:
                data = await self.connection.recv()
                self.heartbeats += data == "\n"
                self._frames += self._parser.feed(data.encode() if isinstance(data, str) else data)
        return self._frames.pop(0)

    async def message(self, *types: str) -> StompFrame:
        """The next MESSAGE of these types, or of any."""
        while True:
            frame = await self.frame()
            assert frame.command == "MESSAGE", frame
            if not types or frame.headers["type"] in types:
                return frame


@asynccontextmanager
async def stomp(port: int, query: str = "", **named: Any) -> AsyncIterator[StompClient]:
    """One whose WebSocket is open; it has said nothing yet."""
    async with websocket(port, query, subprotocols=("v12.stomp", "v11.stomp"), **named) as connection:
        yield StompClient(connection)


__all__ = [
    "Block",
    "Ended",
    "EventSource",
    "StompClient",
    "receive",
    "receive_until",
    "stomp",
    "websocket",
]

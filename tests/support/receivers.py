"""A receiver of webhooks: a real HTTP server that records what it is sent and answers what a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self


@dataclass(frozen=True)
class Call:
    """One request. Names of headers in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass(frozen=True)
class Reply:
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Answer = Callable[[Call], Awaitable[Reply]]


async def take(call: Call) -> Reply:
    return Reply()


def always(status: int, body: bytes = b"", **headers: str) -> Answer:
    """`retry_after="7"` is the header `retry-after`."""

    async def answer(call: Call) -> Reply:
        return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)

    return answer


async def hang(call: Call) -> Reply:
    await asyncio.Event().wait()
    raise AssertionError


class Receiver:
    """Keeps connections alive as servers do. Down before `start` and after `stop`; its port is its own throughout."""

    def __init__(self, answer: Answer = take) -> None:
        self.answer = answer
        self.calls: list[Call] = []
        self.connections = 0
        self.answered = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [call.id for call in self.calls]

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._serve(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = lines[0].split(" ")[1]
        pairs = (line.split(":", 1) for line in lines[1:] if line)
        headers = {name.lower(): value.strip() for name, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        call = Call(path, headers, body)
        self.calls.append(call)
        answering = asyncio.ensure_future(self.answer(call))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():  # the caller has hung up
                return False
            reply = answering.result()
        finally:
            for waiting in (answering, gone):
                waiting.cancel()
            await asyncio.gather(answering, gone, return_exceptions=True)
        head = f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}\r\n"
        given = (
            {"content-length": str(len(reply.body)), **reply.headers} if reply.status != HTTPStatus.NO_CONTENT else {}
        )
        head += "".join(f"{name}: {value}\r\n" for name, value in given.items())
        writer.write(head.encode("latin-1") + b"\r\n" + reply.body)
        await writer.drain()
        self.answered += 1
        return True

"""Clients that leave: every byte that was received before is delivered first (faults N02, N07)."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.edge.serving import read_body, reset, respond, serving, until
from tests.web.wire import chunked, head
from tuspy_server.ports import BODY_EXTENSION
from tuspy_server.protocol.errors import ClientDisconnected

BODY = random.Random(5).randbytes(50_000)
LEAVE: dict[str, Callable[[socket.socket], None]] = {"reset": reset, "close": socket.socket.close}
KNOWN = head("PATCH", "/", {"Content-Length": "100000"})
CHUNKED = head("PATCH", "/", {"Transfer-Encoding": "chunked"})


@dataclass
class Reader:
    """Reads bodies, by `receive` or straight, once it is told to."""

    direct: bool
    go: asyncio.Event = field(default_factory=asyncio.Event)
    got: list[tuple[bytes, bool]] = field(default_factory=list)
    buffer_bytes: int = 7_000

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.go.wait()
        if self.direct:
            self.got.append(await self._read(scope["extensions"][BODY_EXTENSION]))
        else:
            self.got.append(await read_body(receive))
        await respond(send)

    async def _read(self, source: Any) -> tuple[bytes, bool]:
        buffer, body = bytearray(self.buffer_bytes), bytearray()
        try:
            while count := await source.readinto(memoryview(buffer)):
                body += buffer[:count]
        except ClientDisconnected:
            return bytes(body), False
        return bytes(body), True


@pytest.mark.parametrize("leave", LEAVE)
@pytest.mark.parametrize("reads_first", [True, False])
@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("coding", ["known", "chunked"])
async def test_what_was_sent_before_the_client_left_is_delivered(
    leave: str, *, reads_first: bool, direct: bool, coding: str
) -> None:
    reader = Reader(direct)
    async with serving(reader) as edge:
        if reads_first:
            reader.go.set()
        client = edge.socket()
        client.sendall(KNOWN + BODY if coding == "known" else CHUNKED + chunked(BODY)[:-5])
        await until(lambda: edge.server.server_state.tasks)
        LEAVE[leave](client)
        await asyncio.sleep(0)
        reader.go.set()
        await until(lambda: reader.got)
        assert reader.got == [(BODY, False)]
        await until(lambda: edge.connections == 0)


@pytest.mark.parametrize("direct", [True, False])
async def test_a_reset_at_any_byte_of_a_request_loses_nothing_before_it(*, direct: bool) -> None:
    body = bytes(range(40))
    whole = head("PATCH", "/", {"Content-Length": "40"}) + body
    start = len(whole) - 40
    for position in [0, 1, start // 2, start - 1, start, start + 1, start + 20, start + 39, start + 40]:
        reader = Reader(direct)
        async with serving(reader) as edge:
            client = edge.socket()
            client.sendall(whole[:position])
            if position >= start:
                await until(lambda: edge.server.server_state.tasks)  # awaited here
            reset(client)
            reader.go.set()
            if position >= start:
                await until(lambda: reader.got)  # noqa: B023  # awaited here
                assert reader.got == [(body[: position - start], position == len(whole))]
            await until(lambda: edge.connections == 0)  # awaited here


async def test_a_client_that_closes_its_side_in_the_middle_of_a_chunk_is_not_finished() -> None:
    """N07: no body is whole before its last chunk."""
    reader = Reader(direct=True)
    reader.go.set()
    async with serving(reader) as edge:
        data = CHUNKED + chunked(b"hello")
        for cut in range(1, len(b"0\r\n\r\n") + 1):
            wire = await edge.connect()
            await wire.send(data[:-cut])
            wire.writer.write_eof()
            assert await asyncio.wait_for(wire.reader.read(), 20) == b""
            await wire.close()
        assert reader.got == [(b"hello", False)] * 5


async def test_a_body_sent_byte_by_byte_arrives() -> None:
    reader = Reader(direct=True)
    reader.go.set()
    async with serving(reader) as edge:
        for data in (head("PATCH", "/", {"Content-Length": "300"}) + BODY[:300], CHUNKED + chunked(BODY[:300])):
            client = edge.socket()
            client.setsockopt(6, 1, 1)
            for index in range(len(data)):
                client.send(data[index : index + 1])
                await asyncio.sleep(0)
            await until(lambda: reader.got)
            assert reader.got.pop() == (BODY[:300], True)
            client.close()


@pytest.mark.parametrize("coding", ["known", "chunked"])
async def test_cancelled_reads_lose_no_byte(coding: str) -> None:
    """`ports.BodySource`: what a cancelled call would have given, a later one gives."""
    got = bytearray()
    cancelled = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal cancelled
        source, chance = scope["extensions"][BODY_EXTENSION], random.Random(7)
        while True:
            buffer = bytearray(chance.choice([1, 10, 1000, 50_000]))
            reading = asyncio.ensure_future(source.readinto(memoryview(buffer)))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if not reading.done() and chance.random() < 0.7:
                reading.cancel()
            try:
                count = await reading
            except asyncio.CancelledError:
                cancelled += 1
                continue
            if not count:
                break
            got.extend(buffer[:count])
        await respond(send)

    data = BODY * 20
    async with serving(app) as edge:
        wire = await edge.connect()
        if coding == "known":
            await wire.send(head("PATCH", "/", {"Content-Length": str(len(data))}) + data)
        else:
            await wire.send(CHUNKED + chunked(*[data[i : i + 3000] for i in range(0, len(data), 3000)]))
        assert (await wire.receive()).status == 200
        assert got == data
        assert cancelled > 20
        await wire.close()


async def _waits_for_the_end(receive: Any) -> str:
    await read_body(receive)
    message = await receive()
    return str(message["type"])


async def test_an_application_that_listens_is_told_when_the_client_leaves() -> None:
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        told.append(await _waits_for_the_end(receive))

    async with serving(app) as edge:
        for _ in range(3):
            client = edge.socket()
            client.sendall(head("PATCH", "/", {"Content-Length": "5"}) + b"01234")
            await until(lambda: edge.server.server_state.tasks)
            reset(client)
            await until(lambda: told)
            assert told.pop() == "http.disconnect"
            await until(lambda: edge.connections == 0)


async def test_a_response_to_a_client_that_left_ends_the_application_without_an_error() -> None:
    done: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        done.append(True)

    async with serving(app) as edge:
        client = edge.socket()
        client.sendall(head("GET", "/"))
        await until(lambda: edge.server.server_state.tasks)
        reset(client)
        await until(lambda: done)

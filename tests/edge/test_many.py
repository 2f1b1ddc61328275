"""Many connections at once: each costs little memory, and the others are still served (fault R01, I10)."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import psutil
import pytest

from tests.edge.serving import Edge, echo, read_body, respond, serving, until
from tests.web.wire import head

IDLE_BYTES: Final = 12 << 10
"""Of resident memory for an idle connection, both of its ends: they are in this process."""

RECEIVING_BYTES: Final = 160 << 10
"""For one that receives a body by ASGI: a 64 KiB buffer, the kernel not counted."""

long = [pytest.mark.long]


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident_bytes() -> int:
    gc.collect()
    rss: int = psutil.Process().memory_info().rss
    return rss


def within_files(count: int) -> int:
    """So many connections, or as many as the limit of open files allows: both of their ends are ours."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(count, hard // 2 - 100)


@asynccontextmanager
async def clients(edge: Edge, count: int) -> AsyncIterator[list[socket.socket]]:
    """In portions that fit into the queue of `accept`, wherever its limit is."""
    opened: list[socket.socket] = []
    try:
        while len(opened) < count:
            client = socket.socket()
            opened.append(client)
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", edge.port))
            if len(opened) % 100 == 0 or len(opened) == count:
                await until(lambda: edge.connections >= len(opened))
        yield opened
    finally:
        for client in opened:
            client.close()


@pytest.mark.parametrize("count", [2_000, pytest.param(10_000, marks=long)])
@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n"])
async def test_idle_connections_cost_little_and_disturb_nobody(count: int, begun: bytes) -> None:
    count = within_files(count)
    async with serving(echo) as edge:
        before = resident_bytes()
        async with clients(edge, count) as opened:
            for client in opened:
                client.send(begun)
            wire = await edge.connect()
            for index in range(200):
                assert (await wire.request("PATCH", f"/{index}", body=b"x" * 1000)).status == 200
            assert edge.connections == count + 1
            assert resident_bytes() - before < count * IDLE_BYTES + (8 << 20)
        await until(lambda: edge.connections == 1)


@pytest.mark.parametrize("count", [300, pytest.param(1_000, marks=long)])
async def test_slow_senders_cost_little_and_disturb_nobody(count: int) -> None:
    """1 KiB a second each; here the seconds are shorter."""
    count = within_files(count)
    finished = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal finished
        body, whole = await read_body(receive)
        assert whole
        finished += len(body) == 20_480
        await respond(send)

    async with serving(app) as edge:
        before = resident_bytes()
        async with clients(edge, count) as opened:
            for client in opened:
                client.send(head("PATCH", "/", {"Content-Length": "20480"}))
            wire = await edge.connect()
            most = 0
            for _ in range(20):
                for client in opened:
                    client.send(b"x" * 1024)
                for _ in range(5):
                    assert (await wire.request("PATCH", "/", body=b"y")).status == 200
                most = max(most, resident_bytes() - before)
            await until(lambda: finished == count)
            assert most < count * RECEIVING_BYTES + (8 << 20)
            for client in opened:
                assert client.recv(100).startswith(b"HTTP/1.1 200")


async def test_connections_that_come_and_go_leave_nothing() -> None:
    """R09: whatever becomes of a request, its connection, task and buffers are gone afterwards."""

    async def round_of_requests(edge: Edge) -> None:
        for data in (
            head("GET", "/"),
            head("PATCH", "/", {"Content-Length": "100000"}) + b"x" * 50_000,
            head("PATCH", "/", {"Transfer-Encoding": "chunked"}) + b"5\r\nhello\r\nX",
            b"GET",
            b"\x16\x03",
        ):
            async with clients(edge, 50) as opened:
                for client in opened:
                    client.send(data)
                await asyncio.sleep(0)
            await until(lambda: edge.connections == 0 and not edge.server.server_state.tasks)

    async with serving(echo) as edge:
        await round_of_requests(edge)
        before = resident_bytes()
        for _ in range(4):
            await round_of_requests(edge)
        assert resident_bytes() - before < 4 << 20
        assert asyncio.all_tasks() == {asyncio.current_task()}

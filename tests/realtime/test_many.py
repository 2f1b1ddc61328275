"""A thousand readers of one process, a tenth of which never reads (R06, I10); and what a stop does to them (C10)."""

from __future__ import annotations

import asyncio
import base64
import resource
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import pytest

from tests.support.fixtures import MakeServer
from tests.support.process import MEBIBYTE, ServerProcess
from tests.support.streams import EventSource, stomp, websocket
from tests.web.served import Served

UPLOADS = 24
METADATA = f"filler {base64.b64encode(bytes(range(65, 91)) * 220).decode()}"


@contextmanager
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def read(source: EventSource, count: int) -> int:
    """How many of so many are as they should be."""
    good = 0
    for _ in range(count):
        block = await source.next("upload.finished")
        good += block.data is not None and len(block.data) > len(METADATA)
        source.blocks.clear()
    return good


@pytest.mark.parametrize(
    ("readers", "lazy"), [pytest.param(180, 20, id="few"), pytest.param(900, 100, id="many", marks=pytest.mark.long)]
)
async def test_readers_that_read_nothing_slow_nobody(make_server: MakeServer, readers: int, lazy: int) -> None:
    with many_files():
        server = make_server(api_open=True, durability="process").start()
        served = Served(server.port, None)  # type: ignore[arg-type]  # only what is on the wire is used
        async with AsyncExitStack() as stack:
            sources = []
            for number in range(readers + lazy):
                source = EventSource(
                    server.port, "?type=upload.finished", receive_bytes=4096 if number < lazy else None
                )
                await stack.enter_async_context(source)
                await source.next("live")
                sources.append(source)
            before = server.rss_bytes()
            for _ in range(UPLOADS):
                await served.create(1, b"x", metadata=METADATA)
            good = await asyncio.gather(*(read(source, UPLOADS) for source in sources[lazy:]))
            assert set(good) == {UPLOADS}
            assert server.peak_rss_bytes() - before < 64 * MEBIBYTE, "what is not read is not kept"
            good = await asyncio.gather(*(read(source, UPLOADS) for source in sources[:lazy]))
            assert set(good) == {UPLOADS}, "a late reader has lost nothing"
        assert not [line for line in server.log_events() if line["level"] in ("error", "critical")]


@pytest.mark.parametrize("http", ["own", pytest.param("stock", marks=pytest.mark.long)])
async def test_a_stop_ends_all_streams(make_server: MakeServer, http: str) -> None:
    """C10: SIGTERM with readers of each kind, idle ones and ones that never read; exit code 0."""
    server = make_server(api_open=True, durability="process", http=http, drain_seconds=5).start()
    served = Served(server.port, None)  # type: ignore[arg-type]  # as above
    async with (
        EventSource(server.port, "?after=0") as source,
        EventSource(server.port, receive_bytes=4096) as lazy,
        websocket(server.port, "?after=0", close_timeout=0.1) as unread,
        stomp(server.port) as client,
    ):
        await client.connect()
        await lazy.next("live")
        for _ in range(100):
            await served.create(1, b"x", metadata=METADATA)
        server.begin_to_terminate()
        await source.until_ended()
        await client.connection.wait_closed()
        assert client.connection.close_code == 1012
        assert await asyncio.to_thread(server.wait_exit) == 0
        assert unread.latency >= 0


async def test_a_hosts_own_uvicorn_is_not_held_up(make_server: MakeServer) -> None:
    """It waits for every response before its lifespan ends, and tells none of them."""
    server: ServerProcess = make_server(program=(sys.executable, "-c", HOST), api_open=True, drain_seconds=20).start()
    async with EventSource(server.port) as source:
        await source.next("live")
        server.begin_to_terminate()
        await source.until_ended()
        assert await asyncio.to_thread(server.wait_exit) in (0, -15)


HOST = """
import uvicorn
from tuspy_server import Settings, TusServer
settings = Settings()
uvicorn.run(TusServer(settings).app, host=settings.host, port=settings.port, log_config=None)
"""

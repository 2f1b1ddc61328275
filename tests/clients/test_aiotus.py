"""aiotus 1.1 against the real server.

It joins a `Location` without an origin to the creation URL the wrong way: it needs the absolute one that a client gets
which connects to the server's own address.
"""

from __future__ import annotations

import asyncio
import io

import aiotus

from tests.support.client import make_bytes, request, sha256
from tests.support.process import MEBIBYTE, ServerProcess

CONTENT = make_bytes(10 * MEBIBYTE, seed=11)
CHUNK = MEBIBYTE // 2  # aiohttp warns of larger ones


class SlowFile(io.BytesIO):
    """A file that says how far it was read, so that a test can act in the middle of an upload."""

    def __init__(self, content: bytes, middle: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(content)
        self._middle = middle
        self._loop = loop

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > len(CONTENT) // 2:
            self._loop.call_soon_threadsafe(self._middle.set)
        return super().read(size)


async def download(url: object) -> str:
    answer = await asyncio.to_thread(request, "GET", str(url), tus=False)
    assert answer.status == 200, answer
    return sha256(answer.body)


async def test_upload_with_metadata(server: ServerProcess) -> None:
    """I2, CREA-META."""
    metadata = {"filename": "søkn.txt".encode(), "flag": None}
    url = await aiotus.upload(server.url, io.BytesIO(CONTENT), metadata, chunksize=CHUNK)
    assert url is not None
    assert await aiotus.metadata(url) == metadata
    assert await download(url) == sha256(CONTENT)


async def test_several_uploads_at_once(server: ServerProcess) -> None:
    urls = await asyncio.gather(*(aiotus.upload(server.url, io.BytesIO(CONTENT), chunksize=CHUNK) for _ in range(5)))
    assert len(set(urls)) == 5
    assert {await download(url) for url in urls} == {sha256(CONTENT)}


async def test_a_killed_server_is_ridden_out(server: ServerProcess) -> None:
    """C01 (I1, I2, I12): the client retries by itself and goes on where the server is."""
    middle = asyncio.Event()
    config = aiotus.RetryConfiguration(retry_attempts=100, max_retry_period_seconds=0.2)
    file = SlowFile(CONTENT, middle, asyncio.get_running_loop())
    uploading = asyncio.create_task(aiotus.upload(server.url, file, config=config, chunksize=CHUNK))
    async with asyncio.timeout(30):
        await middle.wait()
    server.kill()
    await asyncio.to_thread(server.start)
    assert await download(await uploading) == sha256(CONTENT)

"""Reading objects back: streamed to a slow consumer, or whole into buffers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import aiohttp

from tuspy_server.stores.s3.calls import Calls
from tuspy_server.stores.s3.errors import ObjectChanged, S3Error, of_trouble
from tuspy_server.stores.s3.fast import FastCalls
from tuspy_server.stores.s3.values import S3Options

_PARTIAL: Final = 206
_OUTDATED: Final = frozenset({412, 416})


class Reader:
    """GetObject in its two forms."""

    def __init__(self, options: S3Options, calls: Calls, fast: FastCalls) -> None:
        self._options = options
        self._calls = calls
        self._fast = fast

    async def stream(self, key: str, start: int, stop: int, etag: str | None) -> AsyncGenerator[bytes]:
        """See `Bucket.get_object`."""
        position = start
        fruitless = 0
        while position < stop:
            async with AsyncExitStack() as stack:
                response = await self._opened(stack, key, (position, stop), etag)
                etag = etag or response.headers.get("ETag", "").strip('"') or None
                while position < stop:
                    try:
                        block = await self._block(response)
                    except S3Error:
                        fruitless += 1
                        if fruitless >= self._options.most_attempts:
                            raise
                        break
                    fruitless = 0
                    position += len(block)
                    yield block

    async def _opened(
        self, stack: AsyncExitStack, key: str, byte_range: tuple[int, int], etag: str | None
    ) -> aiohttp.ClientResponse:
        async def attempt(until: float) -> aiohttp.ClientResponse:
            return await stack.enter_async_context(self._fast.get(key, byte_range, etag, until))

        try:
            response = await self._calls.run("GetObject", attempt)
        except S3Error as error:
            if error.status in _OUTDATED:
                raise ObjectChanged("GetObject", error.code, error.status) from error
            raise
        start, stop = byte_range
        told = response.headers.get("Content-Range", "").partition("/")[0]
        whole = response.status != _PARTIAL and start == 0
        if response.content_length != stop - start or not (whole or told == f"bytes {start}-{stop - 1}"):
            raise ObjectChanged("GetObject", "OtherRange", response.status)
        return response

    async def _block(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            async with asyncio.timeout(self._options.attempt_seconds):
                block = await response.content.readany()
        except Exception as error:
            raise of_trouble("GetObject", error, sent=True) from error
        if not block:
            raise of_trouble("GetObject", EOFError("the body ended early"), sent=True)
        return block

    async def fill(self, key: str, into: Sequence[memoryview]) -> None:
        """See `Bucket.read_object`."""
        await self._calls.run("GetObject", partial(self._filled, key, into))

    async def _filled(self, key: str, into: Sequence[memoryview], until: float) -> None:
        wanted = sum(map(len, into))
        async with self._fast.get(key, None, None, until) as response:
            if response.content_length != wanted:
                raise ObjectChanged("GetObject", "OtherLength", response.status)
            try:
                async with asyncio.timeout_at(until):
                    filled = await _poured(response.content, into)
            except Exception as error:
                raise of_trouble("GetObject", error, sent=True) from error
        if filled != wanted:
            raise of_trouble("GetObject", EOFError("the body ended early"), sent=True)


async def _poured(content: aiohttp.StreamReader, into: Sequence[memoryview]) -> int:
    filled = 0
    for view in into:
        position = 0
        while position < len(view):
            block = await content.read(len(view) - position)
            if not block:
                return filled
            view[position : position + len(block)] = block
            position += len(block)
            filled += len(block)
    await content.read(1)  # the end itself, so that the connection is kept
    return filled

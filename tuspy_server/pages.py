"""One pool of reused pages for all bodies on their way: what bounds the memory of a process (I10)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from tuspy_server.protocol.errors import Overloaded

SMALL_PAGE_BYTES: Final = 64 << 10
"""A body's first page: small, so that a thousand slow clients fit."""

LARGE_PAGE_BYTES: Final = 1 << 20
"""Later pages of a body that fills one: large, so that few calls move much."""


class PagePool:
    """Pages of two sizes under one ceiling.

    A taker waits in line while the ceiling is reached: the client feels it as backpressure. One that has waited
    `wait_seconds` gets Overloaded (503), so that no request hangs on another client's slowness.
    """

    def __init__(self, ceiling_bytes: int, wait_seconds: float = 10.0) -> None:
        self._ceiling_bytes = max(ceiling_bytes, LARGE_PAGE_BYTES)
        self._wait_seconds = wait_seconds
        self._allocated_bytes = 0
        self._free: dict[int, list[memoryview]] = {SMALL_PAGE_BYTES: [], LARGE_PAGE_BYTES: []}
        self._waiting: deque[tuple[int, asyncio.Future[memoryview]]] = deque()

    @property
    def used_bytes(self) -> int:
        """Bytes of pages that are in somebody's hands."""
        return self._allocated_bytes - sum(len(page) for pages in self._free.values() for page in pages)

    async def take(self, page_bytes: int) -> memoryview:
        """A page of exactly `page_bytes`, one of the two sizes. Its content is whatever was there before.

        Raises:
            Overloaded: 503, none came free in time.
        """
        page = self.try_take(page_bytes)
        if page is not None:
            return page
        turn: asyncio.Future[memoryview] = asyncio.get_running_loop().create_future()
        self._waiting.append((page_bytes, turn))
        try:
            async with asyncio.timeout(self._wait_seconds):
                return await turn
        except BaseException as error:
            if turn.cancelled():
                self._serve()  # whoever stands behind may want less
            else:
                self.give_back(turn.result())  # it came in the moment of the cancellation
            if isinstance(error, TimeoutError):
                raise Overloaded from error
            raise

    def try_take(self, page_bytes: int) -> memoryview | None:
        """A page if one is free and nobody waits in line; None otherwise."""
        return None if self._waiting else self._try_take(page_bytes)

    def _try_take(self, page_bytes: int) -> memoryview | None:
        if self._free[page_bytes]:
            return self._free[page_bytes].pop()
        other = LARGE_PAGE_BYTES if page_bytes == SMALL_PAGE_BYTES else SMALL_PAGE_BYTES
        while self._allocated_bytes + page_bytes > self._ceiling_bytes and self._free[other]:
            self._allocated_bytes -= len(self._free[other].pop())
        if self._allocated_bytes + page_bytes > self._ceiling_bytes:
            return None
        self._allocated_bytes += page_bytes
        return memoryview(bytearray(page_bytes))

    def give_back(self, page: memoryview) -> None:
        """Return a page that nothing reads or writes any more."""
        self._free[len(page)].append(page)
        self._serve()

    def _serve(self) -> None:
        """Hand pages to those in line, in their order, as long as there are any."""
        while self._waiting:
            page_bytes, turn = self._waiting[0]
            if not turn.cancelled():
                page = self._try_take(page_bytes)
                if page is None:
                    return
                turn.set_result(page)
            self._waiting.popleft()

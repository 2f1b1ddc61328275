"""What a writer can do without when memory is short."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tuspy_server.stores.s3.fill import Fill
from tuspy_server.stores.s3.line import Line
from tuspy_server.stores.s3.running import Running


class Spare:
    """`pages.Holder` of one writer: the largest fill that is not on its way becomes a piece, one at a time."""

    def __init__(self, line: Line, running: Running, store: Callable[[Fill], Awaitable[None]]) -> None:
        """`store`: writes what a fill has in memory alone as a piece."""
        self._line = line
        self._running = running
        self._store = store
        self._giving_way = False

    @property
    def spare_bytes(self) -> int:
        """See the protocol."""
        fill = self._fill()
        return 0 if fill is None else fill.spare_bytes

    def give_way(self) -> asyncio.Future[None]:
        """See the protocol."""
        fill = self._fill()
        if fill is None:
            raise ValueError("there is nothing to spare")
        self._giving_way = True
        return self._running.start(self._let_go(fill))

    def _fill(self) -> Fill | None:
        if self._giving_way or self._running.failure is not None:
            return None
        idle = (fill for fill in self._line if fill.waits and not fill.lock.locked())
        return max(idle, key=lambda fill: fill.spare_bytes, default=None)

    async def _let_go(self, fill: Fill) -> None:
        try:
            await self._store(fill)
            fill.drop_durable()
        finally:
            self._giving_way = False

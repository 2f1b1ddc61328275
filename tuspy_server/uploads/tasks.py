"""Tasks with an owner: what a cancelled request has begun is still ended, and awaited at the shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Tasks:
    """A set of running tasks that `close` awaits."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Run to the end, whatever becomes of the caller."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever awaits it sees it; where nobody does any more, it has been logged where it arose

    async def close(self, deadline_seconds: float) -> None:
        """Await all; cancel those that pass the deadline."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=deadline_seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=1.0)

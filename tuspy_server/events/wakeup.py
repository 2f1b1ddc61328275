"""Wake-ups inside one process: `ports.Wakeup`."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class LocalWakeup:
    """An event flag that each wait takes down."""

    def __init__(self) -> None:
        self._flag = asyncio.Event()

    def notify(self) -> None:
        """See the port."""
        self._flag.set()

    async def wait(self, most_seconds: float) -> bool:
        """See the port."""
        with suppress(TimeoutError):
            async with asyncio.timeout(most_seconds):
                await self._flag.wait()
        self._flag.clear()
        return True

"""A deadline that is moved with every request."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """Calls `missed` once its time has come. Moving it is only noting a time: one timer looks at it when it fires."""

    def __init__(self, loop: asyncio.AbstractEventLoop, missed: Callable[[], None]) -> None:
        self._loop = loop
        self._missed = missed
        self._at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def set(self, delay_seconds: float) -> None:
        """From now on, in place of any earlier one."""
        self._at = self._loop.time() + delay_seconds
        if self._at < self._timer_at:
            self._arm()

    def clear(self) -> None:
        """There is none for the time being."""
        self._at = math.inf

    def stop(self) -> None:
        """There will be none any more."""
        self._at = math.inf
        self._missed = _nothing  # so that whoever made this one is not kept by it
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._at
        self._timer = self._loop.call_at(self._at, self._look)

    def _look(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._loop.time() >= self._at:
            self._at = math.inf
            self._missed()
        elif self._at < math.inf:
            self._arm()


def _nothing() -> None:
    pass

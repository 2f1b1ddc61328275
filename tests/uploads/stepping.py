"""An event loop that runs until nothing can go on by itself, on a time that moves only when it is told to."""

from __future__ import annotations

import asyncio
import contextvars
import time
import weakref
from collections.abc import Coroutine, Generator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

Result = TypeVar("Result")

owner_of_tasks: contextvars.ContextVar[object] = contextvars.ContextVar("owner_of_tasks", default=None)
"""Whose task the running one is; those that it makes are the same one's."""

START = datetime(2026, 1, 1, tzinfo=UTC)


class SteppedLoop(asyncio.SelectorEventLoop):
    """`settle` is one step of a test: afterwards every task waits at a gate, for body bytes, or for time to pass."""

    def __init__(self) -> None:
        self.virtual_seconds = 0.0
        self.calls_in_threads = 0
        self.owners: weakref.WeakKeyDictionary[asyncio.Task[Any], object] = weakref.WeakKeyDictionary()
        super().__init__()
        self.set_task_factory(self._task)

    def _task(
        self,
        _: asyncio.AbstractEventLoop,
        coroutine: Generator[Any, None, Any] | Coroutine[Any, Any, Any],
        **options: Any,
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=self, **options)
        self.owners[task] = owner_of_tasks.get()
        return task

    def tasks_of(self, owner: object) -> list[asyncio.Task[Any]]:
        """Those that have not ended."""
        return [task for task in asyncio.all_tasks(self) if self.owners.get(task) is owner]

    def time(self) -> float:
        return self.virtual_seconds

    def now(self) -> datetime:
        """`ports.Clock`, so that stores and timers agree."""
        return START + timedelta(seconds=self.virtual_seconds)

    def settle(self) -> None:
        most = time.monotonic() + 20
        while True:
            self.call_soon(self.stop)
            self.run_forever()
            if not self._ready and not self.calls_in_threads:  # type: ignore[attr-defined]
                return
            if self.calls_in_threads:
                time.sleep(0.0001)
            assert time.monotonic() < most, "the loop does not come to rest"

    def advance(self, seconds: float) -> None:
        """Let time pass, each timer at its own moment."""
        target = self.virtual_seconds + seconds
        while (due := self._next_timer()) is not None and due <= target:
            self.virtual_seconds = max(self.virtual_seconds, due)
            self.settle()
        self.virtual_seconds = target
        self.settle()

    def run_in_executor(self, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """A call in a thread counts from here to its end, whether or not anybody awaits it."""
        return self.in_thread(super().run_in_executor(*args))

    def in_thread(self, call: asyncio.Future[Result]) -> asyncio.Future[Result]:
        self.calls_in_threads += 1
        call.add_done_callback(self._thread_ended)
        return call

    def _thread_ended(self, _: asyncio.Future[Any]) -> None:
        self.calls_in_threads -= 1

    def _next_timer(self) -> float | None:
        timers = [timer for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        return min((timer.when() for timer in timers), default=None)

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Work that waits for no time to pass."""
        return self.run_until_complete(work)

    def carry_out(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Work that does."""
        task = self.create_task(work)
        self.settle()
        while not task.done():
            due = self._next_timer()
            assert due is not None, "it waits for what never comes"
            self.advance(max(due - self.virtual_seconds, 0))
        return task.result()

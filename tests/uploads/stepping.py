"""An event loop that runs until nothing can go on by itself, on a time that moves only when it is told to.

What threads and sockets do has no place of its own among the steps of a loop: how fast they are would decide it, and
the same steps would make another history each time. So such a call begins when all else has come to rest, and nothing
else goes on until it has ended.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Generator
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
        self._waiting_for_a_turn: deque[tuple[asyncio.Future[Any], Callable[[], asyncio.Future[Any]]]] = deque()
        self._calls_under_way = 0
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
        self._settle_until(lambda: True)

    def _settle_until(self, condition: Callable[[], bool]) -> None:
        most = time.monotonic() + 20
        while True:
            self.call_soon(self.stop)
            self.run_forever()
            if self._ready:  # type: ignore[attr-defined]
                continue
            if not self._calls_under_way:
                if self._waiting_for_a_turn:
                    self.call_soon(self._begin, *self._waiting_for_a_turn.popleft())
                    continue
                if condition():
                    return
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
        return self.in_turn(lambda: super(SteppedLoop, self).run_in_executor(*args))

    def in_turn(self, call: Callable[[], asyncio.Future[Result]]) -> asyncio.Future[Result]:
        """The outcome of a call of threads or sockets, whether or not anybody awaits it; cancelled before it has begun,
        it does not begin."""
        outcome: asyncio.Future[Result] = self.create_future()
        self._waiting_for_a_turn.append((outcome, call))
        return outcome

    def _begin(self, outcome: asyncio.Future[Any], call: Callable[[], asyncio.Future[Any]]) -> None:
        if outcome.done():
            return

        def end(ended: asyncio.Future[Any]) -> None:
            self._calls_under_way -= 1
            if outcome.done():
                return
            if ended.cancelled():
                outcome.cancel()
            elif (error := ended.exception()) is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(ended.result())

        self._calls_under_way += 1
        call().add_done_callback(end)

    def _next_timer(self) -> float | None:
        timers = [timer for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        return min((timer.when() for timer in timers), default=None)

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Work that waits for no time to pass."""
        task = self.create_task(work)
        self._settle_until(task.done)
        return task.result()

    def carry_out(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Work that does."""
        task = self.create_task(work)
        self.settle()
        while not task.done():
            due = self._next_timer()
            assert due is not None, "it waits for what never comes"
            self.advance(max(due - self.virtual_seconds, 0))
        return task.result()

"""A thread with a SQLite connection of its own, which takes all queued jobs at once and reports them at once.

Handing a result from a thread to the event loop costs more than most statements; so one wake-up of the loop brings the
results of a whole group.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

from tuspy_server.protocol.errors import StoreUnavailable

GROUP_LIMIT: Final = 256
"""Most jobs in one group: bounds how long the first of them waits for its commit."""

Function = Callable[[sqlite3.Connection], Any]


class Job:
    """One function to run, and the future that its caller awaits.

    Attributes:
        synced: whether what it changes must be on the disk when it is reported.
        frees_space: whether it may use the space that is kept for such as it.
        error: what it raised; set by the thread, as `result` is.
    """

    __slots__ = ("error", "frees_space", "function", "future", "result", "synced")

    def __init__(self, function: Function, *, synced: bool = False, frees_space: bool = False) -> None:
        self.function = function
        self.synced = synced
        self.frees_space = frees_space
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        """Run it, and keep what comes of it."""
        self.error = None
        try:
            self.result = self.function(connection)
        except Exception as error:  # whatever it is, it is the caller's
            self.error = error


class Worker:
    """The thread. `run_group` runs jobs on the connection that `connect` makes, and never raises.

    A job that has no result after `deadline_seconds` gets a TimeoutError; one timer looks after all of them.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], sqlite3.Connection],
        run_group: Callable[[sqlite3.Connection, Sequence[Job]], None],
        deadline_seconds: float,
    ) -> None:
        self._name = name
        self._connect = connect
        self._run_group = run_group
        self._deadline_seconds = deadline_seconds
        self._awaited: deque[tuple[float, Job]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._submitted: list[Job] = []
        self._queue: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        """Connect; raises what `connect` raises."""
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, args=(opened,), name=self._name, daemon=True)
        self._thread.start()
        try:
            await asyncio.shield(opened)
        except BaseException:
            self._thread = None
            raise

    async def stop(self) -> None:
        """Finish what is queued and close the connection. May be called twice."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._hand_over()
            self._queue.put(None)
            await asyncio.to_thread(thread.join)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def submit(self, job: Job) -> None:
        """Queue a job. Those of one round of the loop are handed over together: to wake a thread is dear, too.

        Raises:
            StoreUnavailable: the worker does not run.
        """
        if self._thread is None:
            raise StoreUnavailable
        self._submitted.append(job)
        if len(self._submitted) == 1:
            self._loop.call_soon(self._hand_over)
        while self._awaited and self._awaited[0][1].future.done():
            self._awaited.popleft()
        self._awaited.append((self._loop.time() + self._deadline_seconds, job))
        if self._timer is None:
            self._timer = self._loop.call_later(self._deadline_seconds, self._look_at_deadlines)

    def _hand_over(self) -> None:
        if self._submitted:
            jobs, self._submitted = self._submitted, []
            self._queue.put(jobs)

    def _look_at_deadlines(self) -> None:
        now = self._loop.time()
        while self._awaited and (self._awaited[0][0] <= now or self._awaited[0][1].future.done()):
            _, job = self._awaited.popleft()
            if not job.future.done():
                job.future.set_exception(TimeoutError())
        self._timer = self._loop.call_at(self._awaited[0][0], self._look_at_deadlines) if self._awaited else None

    def _work(self, opened: asyncio.Future[None]) -> None:
        try:
            connection = self._connect()
        except BaseException as error:
            self._tell(_fail, opened, error)
            return
        self._tell(_succeed, opened)
        while (jobs := self._take()) is not None:
            for start in range(0, len(jobs), GROUP_LIMIT):
                # A job whose caller has gone before it began is left out; one that has begun is committed.
                wanted = [job for job in jobs[start : start + GROUP_LIMIT] if not job.future.done()]
                if wanted:
                    self._run_group(connection, wanted)
                    self._tell(_report, wanted)
        connection.close()

    def _take(self) -> list[Job] | None:
        """Wait for jobs, and take all that are there; None at the end."""
        jobs = self._queue.get()
        with suppress(Empty):
            while jobs is not None and len(jobs) < GROUP_LIMIT:
                more = self._queue.get_nowait()
                if more is None:
                    self._queue.put(None)
                    break
                jobs += more
        return jobs

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)


def _succeed(opened: asyncio.Future[None]) -> None:
    if not opened.done():
        opened.set_result(None)


def _fail(opened: asyncio.Future[None], error: BaseException) -> None:
    if not opened.done():
        opened.set_exception(error)


def _report(jobs: Sequence[Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is None:
            job.future.set_result(job.result)
        else:
            job.future.set_exception(job.error)

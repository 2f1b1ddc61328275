"""The calls that a writer has under way, and what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from tuspy_server.protocol.errors import BytesMissing, StorageFault, TusError, WriterFenced
from tuspy_server.stores.s3.errors import S3Error, translate

log = structlog.get_logger("tuspy_server.s3")


class Running:
    """Tasks of one writer, all owned here and none forgotten. The first error of any of them is the writer's failure.

    Attributes:
        failure: what every later call raises; None as long as all is well.
        was_cut_off: whether a task was ended before its end, so that what it was doing may have happened or not.
    """

    def __init__(self, upload_id: str, storage_seconds: float, on_end: Callable[[], None]) -> None:
        """`on_end`: called after the end of each task."""
        self.failure: Exception | None = None
        self.was_cut_off = False
        self._upload_id = upload_id
        self._storage_seconds = storage_seconds
        self._on_end = on_end
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiters: list[asyncio.Future[None]] = []

    def __bool__(self) -> bool:
        """Whether anything is under way, or has failed in a way that is not recorded yet."""
        # A task that has ended well is still here until the loop comes round: whoever was woken by another one's end
        # must not take it for a call of unknown outcome, or the finished upload is cleaned up by listing.
        return any(not task.done() or task.cancelled() or task.exception() is not None for task in self._tasks)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin a task."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, S3Error):
            log.warning("s3.upload.failed", upload_id=self._upload_id, operation=error.operation, code=error.code)
            self.fail(translate(error))
        elif isinstance(error, (TusError, BytesMissing)):
            self.fail(error)
        elif error is not None:
            log.error("s3.upload.crashed", upload_id=self._upload_id, exc_info=error)
            self.fail(StorageFault())
        self._on_end()
        self.wake()

    def fail(self, error: Exception) -> None:
        """From here on every call raises the first error that came."""
        self.failure = self.failure or error
        self.wake()

    def raise_failure(self) -> None:
        """Raise it, if there is one."""
        if self.failure is not None:
            raise self.failure

    def fence(self) -> None:
        """From here on every call raises WriterFenced, whatever came before."""
        self.failure = WriterFenced()
        self.wake()

    @property
    def is_fenced(self) -> bool:
        """Whether a later writer has been opened."""
        return isinstance(self.failure, WriterFenced)

    def cancel(self) -> set[asyncio.Task[None]]:
        """Break off what is under way."""
        self.was_cut_off = self.was_cut_off or bool(self)
        for task in self._tasks:
            task.cancel()
        return set(self._tasks)

    async def cancelled(self) -> None:
        """Break off what is under way, and wait for its end."""
        tasks = self.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self._storage_seconds)

    def wake(self) -> None:
        """What `until` waits for may have come."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition.

        Raises:
            StorageFault: 503, it has not come about in time.
        """
        try:
            async with asyncio.timeout(self._storage_seconds):
                while not condition():
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiters.append(waiter)
                    await waiter
        except TimeoutError as error:
            self.fail(StorageFault())
            raise StorageFault from error

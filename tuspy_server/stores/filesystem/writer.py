"""The bytes of one request on their way into a file: pages fill while earlier ones are written by a thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tuspy_server.pages import LARGE_PAGE_BYTES, SMALL_PAGE_BYTES, PagePool
from tuspy_server.ports import Stored
from tuspy_server.protocol.errors import BytesMissing, StorageFault, StorageFull, TusError, WriterFenced
from tuspy_server.stores.filesystem import calls
from tuspy_server.stores.filesystem.threads import StorageThreads

MOST_PAGES: Final = 2
"""One fills while the other is written."""

WRITEBACK_BYTES: Final = 8 << 20
"""After so many bytes the disk is told to begin with them: enough for large writes of its own, with little to wait for
at the end."""

DROP_BYTES: Final = 64 << 20
"""After so many synced bytes of one body the kernel is told that nobody needs them in memory: new memory for its cache
can be dearer than the disk, and a body as long as this drives out what others read. Shorter ones stay, to be read."""


@dataclass(slots=True)
class _Page:
    memory: memoryview
    filled: int = 0
    written: int = 0


class FileWriter:
    """`ports.BlobWriter` on a descriptor that it owns.

    A handover to a thread costs more than a small write. So writes start with the loop's next round, and a body
    that has come whole by then is opened, written and synced in one call.

    One write runs at a time, beside it at most one sync; pages are at most two. The calls run in threads that nothing
    can cancel, so the descriptor and the pages are let go of only when the running calls have ended, whatever became of
    the request.
    """

    def __init__(
        self,
        *,
        path: Path,
        folder: calls.Folder,
        upload_offset: int,
        pool: PagePool,
        executor: StorageThreads,
        durable: bool,
        deadline_seconds: float,
    ) -> None:
        """No I/O: the first call, or `open`, opens the file."""
        self._path = path
        self._first_offset = upload_offset
        self._descriptor: int | None = None
        self._opening = threading.Lock()
        self._written_offset = upload_offset
        self._begun_offset = upload_offset
        self._dropped_offset = upload_offset
        # Until the first sync, the name of a file that has no counted byte may not be durable.
        self._folder = folder if upload_offset == 0 else None
        self._pool = pool
        self._executor = executor
        self._durable = durable
        self._deadline_seconds = deadline_seconds
        self._pages: deque[_Page] = deque()
        self._next_page_bytes = SMALL_PAGE_BYTES
        self._writing = False
        self._write_scheduled = False
        self._running_calls = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._failure: TusError | None = None
        self._closing = False
        self._closed = False
        self.wants_commit: Callable[[], None] | None = None
        self.has_stored: Callable[[], None] | None = None

    async def open(self) -> None:
        """Open at the first offset now, and cut surplus bytes off. A call like every other: a later writer awaits it,
        so that one that hangs cannot cut off what the later one has written.

        Raises:
            BytesMissing: fewer bytes are there.
        """
        call = self._start(lambda _: None)
        call.add_done_callback(lambda _: self._call_ended())
        await self._until(call.done)
        error = call.exception()
        if isinstance(error, FileNotFoundError):
            raise BytesMissing from error
        if isinstance(error, OSError):
            raise calls.translate(error) from error
        if error is not None:
            raise error

    async def buffer(self) -> memoryview:
        """See the port."""
        while True:
            self._raise_failure()
            page = self._pages[-1] if self._pages else None
            if page is not None and page.filled < len(page.memory):
                return page.memory[page.filled :]
            if len(self._pages) == MOST_PAGES:
                await self._until(lambda: len(self._pages) < MOST_PAGES or self._failure is not None)
                continue
            memory = self._pool.try_take(self._next_page_bytes) or await self._pool.take(SMALL_PAGE_BYTES)
            # A client that fills one page is worth a large one.
            self._next_page_bytes = LARGE_PAGE_BYTES
            self._pages.append(_Page(memory))

    def advance(self, count: int) -> None:
        """See the port."""
        self._pages[-1].filled += count
        if not self._writing and not self._write_scheduled:
            self._write_scheduled = True
            asyncio.get_running_loop().call_soon(self._write_on)

    @property
    def unsettled(self) -> bool:
        """See the port. What a file holds past the offset, the next writer cuts off."""
        return False

    def counted(self, upload_offset: int) -> None:
        """See the port."""

    async def is_behind(self) -> bool:
        """See the port: never."""
        return False

    async def finish(self) -> Stored:
        """See the port."""
        return await self.sync(flush=True)

    async def sync(self, *, flush: bool) -> Stored:
        """See the port."""
        return Stored(upload_offset=await self._sync())

    async def _sync(self) -> int:
        """On a full disk it makes durable what the disk took, and returns that."""
        if len(self._pages) == 1 and not self._writing and self._failure is None:
            page = self._pages[0]
            reached = self._written_offset + page.filled - page.written
            await self._write_and_sync(page)
            if self._failure is None:
                return reached  # not the written offset: the next write may have moved it on, unsynced
        target = self._written_offset + sum(page.filled - page.written for page in self._pages)
        await self._until(lambda: self._written_offset >= target or self._failure is not None)
        if not isinstance(self._failure, StorageFull):
            self._raise_failure()
        reached = self._written_offset
        await self._call(lambda descriptor: self._make_durable(descriptor, reached))
        self._folder = None
        return reached

    async def _write_and_sync(self, page: _Page) -> None:
        """All that there is, in one call; what is missing after a failure, `sync` finds for itself."""
        view, position = page.memory[page.written : page.filled], self._written_offset
        self._writing = True

        def write_and_sync(descriptor: int) -> None:
            calls.write_at(descriptor, view, position)
            self._make_durable(descriptor, position + len(view))

        call = self._start(write_and_sync)
        call.add_done_callback(lambda done: self._write_ended(done, page, len(view)))
        await self._until(call.done)
        error = call.exception()
        if error is None:
            self._folder = None
        elif isinstance(error, OSError) and not isinstance(error, calls.ShortWrite):
            raise calls.translate(error) from error

    def _make_durable(self, descriptor: int, reached: int) -> None:
        """In a thread; `reached`: the end of what has been written before this sync."""
        if not self._durable:
            return
        calls.make_durable(descriptor, self._folder)
        if reached - self._dropped_offset >= DROP_BYTES:
            calls.drop_cached(descriptor, self._dropped_offset, reached - self._dropped_offset)
            self._dropped_offset = reached

    async def rollback(self, upload_offset: int) -> None:
        """See the port."""
        if isinstance(self._failure, WriterFenced):
            return  # the newer writer has cut the file to what counts
        self._fail(StorageFault())
        await self._until(lambda: self._running_calls == 0)
        await self._call(lambda descriptor: os.ftruncate(descriptor, upload_offset))
        self._written_offset = upload_offset

    async def fence(self) -> None:
        """End this writer for good: its running calls are awaited, every later one raises WriterFenced."""
        self._failure = WriterFenced()
        self._wake()
        await self._until(lambda: self._running_calls == 0)

    def close(self) -> None:
        """See the port."""
        self._closing = True
        if self._running_calls or self._closed:
            return
        self._closed = True
        if self._descriptor is not None:
            os.close(self._descriptor)
        while self._pages:
            self._pool.give_back(self._pages.popleft().memory)

    # --- calls in threads ----------------------------------------------------------------------------------------

    def _write_on(self) -> None:
        """Start the next write if none runs and there is something to write."""
        self._write_scheduled = False
        if self._writing or self._failure is not None or self._closing or not self._pages:
            return
        page, position = self._pages[0], self._written_offset
        view = page.memory[page.written : page.filled]
        if not view:
            return
        self._writing = True
        call = self._start(self._writing_of(view, position))
        call.add_done_callback(lambda done: self._write_ended(done, page, len(view)))

    def _writing_of(self, view: memoryview, position: int) -> Callable[[int], None]:
        """The write; where enough has come since the last time, the disk begins with it."""
        start, end = self._begun_offset, position + len(view)
        if not self._durable or end - start < WRITEBACK_BYTES:
            return lambda descriptor: calls.write_at(descriptor, view, position)
        self._begun_offset = end

        def write(descriptor: int) -> None:
            calls.write_at(descriptor, view, position)
            calls.start_writeback(descriptor, start, end - start)

        return write

    def _write_ended(self, done: asyncio.Future[None], page: _Page, view_bytes: int) -> None:
        self._writing = False
        error = done.exception()
        if isinstance(error, calls.ShortWrite):
            view_bytes = error.written_bytes
            self._fail(calls.translate(error))
        elif error is not None:
            view_bytes = 0
            # A new file for which there is no space has never been open; any other error may be a sync's.
            if self._descriptor is None and isinstance(error, OSError):
                self._fail(calls.translate(error))
            self._fail(StorageFault())
        self._written_offset += view_bytes
        page.written += view_bytes
        if page.written == len(page.memory):
            self._pages.popleft()
            self._pool.give_back(page.memory)
        self._write_on()
        self._call_ended()

    async def _call(self, function: Callable[[int], None]) -> None:
        """Run a call. Its error poisons the writer: after a failed sync the kernel may have dropped the pages, and a
        second one would report success for bytes that are lost (fault D01)."""
        if self._closing:
            raise WriterFenced
        call = self._start(function)
        call.add_done_callback(lambda _: self._call_ended())
        await self._until(call.done)
        error = call.exception()
        if isinstance(error, OSError):
            self._failure = StorageFault()  # in place of any other: even a full disk's sync must not be tried again
            self._wake()
            raise calls.translate(error) from error
        if error is not None:
            raise error

    def _start(self, function: Callable[[int], None]) -> asyncio.Future[None]:
        self._running_calls += 1
        return self._executor.run(partial(self._run, function))

    def _run(self, function: Callable[[int], None]) -> None:
        """In a thread: open the file where that is still to be done, and call."""
        with self._opening:
            if self._descriptor is None:
                self._descriptor = calls.open_at(self._path, self._first_offset)
        function(self._descriptor)

    def _call_ended(self) -> None:
        self._running_calls -= 1
        self._wake()
        if self._closing:
            self.close()

    def _fail(self, error: TusError) -> None:
        """From here on every call raises the first error that came; whoever waits for a write hears of it."""
        self._failure = self._failure or error
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _until(self, condition: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        late = False

        def be_late() -> None:
            nonlocal late
            late = True
            self._wake()

        # A bare timer: `asyncio.timeout` costs several times as much, and this waits for every call of every body.
        timer = loop.call_later(self._deadline_seconds, be_late)
        try:
            while not condition():
                if late:
                    self._fail(StorageFault())
                    raise StorageFault
                waiter = loop.create_future()
                self._waiters.append(waiter)
                await waiter
        finally:
            timer.cancel()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closing:
            raise WriterFenced

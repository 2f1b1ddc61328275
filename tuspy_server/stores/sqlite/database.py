"""A SQLite file with one writer thread that groups commits, and one reader thread that never waits for it.

A transaction costs one fsync of the write-ahead log. Jobs that arrive while one runs go into the next together, each in
a savepoint of its own, so that a failing job takes no other with it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final, Generic, TypeVar

from tuspy_server.protocol.errors import StorageFull, StoreUnavailable, TryLater

Result = TypeVar("Result")

GROUP_LIMIT: Final = 256
"""Most jobs in one transaction: bounds how long the first of them waits for its commit."""


class _Job(Generic[Result]):
    def __init__(self, function: Callable[[sqlite3.Connection], Result]) -> None:
        self.function = function
        self.future: Future[Result] = Future()
        self.result: Result

    def run(self, connection: sqlite3.Connection) -> None:
        self.result = self.function(connection)


class Database:
    """Runs functions on a connection: `write` in a transaction, `read` on a snapshot."""

    def __init__(self, path: Path, *, durable: bool, deadline_seconds: float) -> None:
        """`durable`: whether each commit is synced to the disk before it is reported."""
        self._path = path
        self._durable = durable
        self._deadline_seconds = deadline_seconds
        self._writer = _Worker("tuspy-sqlite-writer", self._connect, _run_group)
        self._reader = _Worker("tuspy-sqlite-reader", self._connect, _run_each)

    async def open_to_look(self) -> None:
        """Start for `read` alone, beside a process that serves the file; nothing is made or changed."""
        self._reader = _Worker("tuspy-sqlite-reader", self._connect_to_look, _run_each)
        await self._reader.start()

    async def open(self) -> None:
        """Start the threads. Raises `sqlite3.Error` as it is: what hinders the start is for the operator to read."""
        await self._writer.start()
        await self._reader.start()

    async def close(self) -> None:
        """Finish what is queued, then close both connections. May be called twice."""
        await self._reader.stop()
        await self._writer.stop()

    async def write(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run in a transaction; when this returns it is committed. A cancelled caller's job commits all the same, or not
        at all.

        Raises:
            StorageFull: 507. StoreUnavailable: 503, also when the outcome is unknown because the disk hangs.
        """
        return await self._run(self._writer, function)

    async def read(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run on the last committed state, beside a running write.

        Raises:
            StoreUnavailable: 503.
        """
        return await self._run(self._reader, function)

    async def _run(self, worker: _Worker, function: Callable[[sqlite3.Connection], Result]) -> Result:
        job = _Job(function)
        worker.submit(job)
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await asyncio.wrap_future(job.future)
        except TimeoutError as error:
            raise StoreUnavailable from error
        except sqlite3.Error as error:
            raise translate(error) from error

    def _connect(self) -> sqlite3.Connection:
        # isolation_level=None: transactions begin and end where this module says so.
        connection = _row_connection(sqlite3.connect(self._path, isolation_level=None, cached_statements=256))
        connection.execute("PRAGMA journal_mode = WAL")
        # NORMAL would lose the last commits in a power cut (fault D04).
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _connect_to_look(self) -> sqlite3.Connection:
        return _row_connection(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True))


def _row_connection(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA busy_timeout = 5000")
    return connection


def translate(error: sqlite3.Error) -> TryLater:
    """The answer that a driver's error becomes. Programming errors pass as they are, by not being trouble that passes."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageFull()
    if isinstance(error, sqlite3.OperationalError):
        return StoreUnavailable()
    raise error


class _Worker:
    """A thread with its own connection, which takes all queued jobs at once."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], sqlite3.Connection],
        run: Callable[[sqlite3.Connection, list[_Job[object]]], None],
    ) -> None:
        self._name = name
        self._connect = connect
        self._run = run
        self._queue: deque[_Job[object]] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._work, args=(opened,), name=self._name, daemon=True)
        self._thread.start()
        await asyncio.wrap_future(opened)

    async def stop(self) -> None:
        thread = self._thread
        if thread is None:
            return
        with self._wake:
            self._stopping = True
            self._wake.notify()
        await asyncio.to_thread(thread.join)
        self._thread = None

    def submit(self, job: _Job[Result]) -> None:
        with self._wake:
            if self._stopping or self._thread is None:
                raise StoreUnavailable
            self._queue.append(job)  # type: ignore[arg-type]  # a queue of results of all types; each job keeps its own
            self._wake.notify()

    def _work(self, opened: Future[None]) -> None:
        try:
            connection = self._connect()
        except BaseException as error:
            opened.set_exception(error)
            return
        opened.set_result(None)
        while True:
            with self._wake:
                while not self._queue and not self._stopping:
                    self._wake.wait()
                if not self._queue:
                    break
                count = min(len(self._queue), GROUP_LIMIT)
                jobs = [self._queue.popleft() for _ in range(count)]
            jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            if jobs:
                self._run(connection, jobs)
        connection.close()


def _run_each(connection: sqlite3.Connection, jobs: list[_Job[object]]) -> None:
    for job in jobs:
        try:
            job.run(connection)
        except BaseException as error:
            job.future.set_exception(error)
        else:
            job.future.set_result(job.result)


def _run_group(connection: sqlite3.Connection, jobs: list[_Job[object]]) -> None:
    done: list[_Job[object]] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            connection.execute("SAVEPOINT job")
            try:
                job.run(connection)
                done.append(job)
            except Exception as error:
                if not connection.in_transaction:
                    raise  # a full disk or an I/O error has rolled everything back
                connection.execute("ROLLBACK TO job")
                job.future.set_exception(error)
            connection.execute("RELEASE job")
        connection.execute("COMMIT")
    except BaseException as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(error)
        return
    for job in done:
        job.future.set_result(job.result)

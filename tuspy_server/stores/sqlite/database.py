"""A SQLite file with one writer thread that groups commits, and reader threads that never wait for it.

A transaction costs one fsync of the write-ahead log. Jobs that arrive while one runs go into the next together. Where
one of them fails, all are undone and run again, each in a savepoint of its own: it takes no other with it.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import structlog

from tuspy_server.protocol.errors import StorageFull, StoreUnavailable, TryLater
from tuspy_server.stores.sqlite.opening import is_damage, refuse_a_log_alone, unusable
from tuspy_server.stores.sqlite.positional import PositionalConnection
from tuspy_server.stores.sqlite.reserve import Reserve
from tuspy_server.stores.sqlite.worker import Job, Worker

log = structlog.get_logger("tuspy_server.stores")

Result = TypeVar("Result")


class Database:
    """Runs functions on a connection: `write` in a transaction, `read` and `survey` on a snapshot. `path`: its file."""

    def __init__(self, path: Path, *, durable: bool, deadline_seconds: float) -> None:
        """`durable`: whether commits that ask for it are synced to the disk before they are reported."""
        self.path = path
        self._durable = durable
        self._deadline_seconds = deadline_seconds
        self._writer = Worker("tuspy-sqlite-writer", self._connect, self._run_group, deadline_seconds)
        self._reader = Worker("tuspy-sqlite-reader", self._connect, _run_each, deadline_seconds)
        self._surveyor = Worker("tuspy-sqlite-surveyor", self._connect, _run_on_snapshots, deadline_seconds)
        self._reserve = Reserve(path.with_suffix(".reserve"))
        self._syncing: bool | None = None
        self._damage_told = False

    async def open_to_look(self) -> None:
        """Start for `read` and `survey` alone, beside a process that serves the file; nothing is made or changed."""
        self._reader = Worker("tuspy-sqlite-reader", self._connect_to_look, _run_each, self._deadline_seconds)
        self._surveyor = Worker(
            "tuspy-sqlite-surveyor", self._connect_to_look, _run_on_snapshots, self._deadline_seconds
        )
        await self._reader.start()
        await self._surveyor.start()

    async def open(self, first: Callable[[sqlite3.Connection], object] | None = None) -> None:
        """Start the threads, and run `first` in a transaction.

        Raises:
            UnusableDatabase: for the operator to read. StoreUnavailable: 503, the disk hangs.
        """
        refuse_a_log_alone(self.path)
        try:
            await self._writer.start()
            await self._reader.start()
            await self._surveyor.start()
            if first is not None:
                await self._result(self._writer, Job(first, synced=True, frees_space=True))
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error

    async def close(self) -> None:
        """Finish what is queued, then close the connections. May be called twice."""
        await self._surveyor.stop()
        await self._reader.stop()
        await self._writer.stop()

    async def write(
        self, function: Callable[[sqlite3.Connection], Result], *, synced: bool = True, frees_space: bool = False
    ) -> Result:
        """Run in a transaction; when this returns it is committed. A cancelled caller's job commits all the same,
        or not at all. `function` may run twice, the first time rolled back: it must change nothing but the database.

        Args:
            synced: False for changes that a power cut may take back, because the start does them anew or does without.
                They are never lost alone: a later synced commit brings all earlier ones to the disk.
            frees_space: True for what must succeed on a full disk, because it leads to space.

        Raises:
            StorageFull: 507. StoreUnavailable: 503, also when the outcome is unknown because the disk hangs.
        """
        result: Result = await self._run(self._writer, Job(function, synced=synced, frees_space=frees_space))
        return result

    def write_soon(self, function: Callable[[sqlite3.Connection], object]) -> None:
        """As `write`, not synced, behind what is queued; nobody waits for it, and nobody hears of its trouble."""
        with suppress(StoreUnavailable):
            job = Job(function)
            self._writer.submit(job)
            job.future.add_done_callback(_forget)

    async def read(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run on the last committed state, beside a running write.

        Raises:
            StoreUnavailable: 503.
        """
        result: Result = await self._run(self._reader, Job(function))
        return result

    async def survey(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        """As `read`, for what may look at every row: beside the reads, and all its statements see one state.

        Raises:
            StoreUnavailable: 503.
        """
        result: Result = await self._run(self._surveyor, Job(function))
        return result

    async def _run(self, worker: Worker, job: Job) -> Any:
        try:
            return await self._result(worker, job)
        except sqlite3.Error as error:
            if is_damage(error) and not self._damage_told:
                self._damage_told = True
                log.error("database.damaged", path=str(self.path), error=str(error))
            raise translate(error) from error

    async def _result(self, worker: Worker, job: Job) -> Any:
        worker.submit(job)
        try:
            return await job.future
        except TimeoutError as error:
            raise StoreUnavailable from error

    def _connect(self) -> sqlite3.Connection:
        # Names and metadata of files are as private as files; -wal and -shm get the mode of the database. Never opened
        # where it is there: to close any descriptor of it would drop the locks of all connections of this process.
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        # isolation_level=None: transactions begin and end where this module says so.
        connection = sqlite3.connect(
            self.path, isolation_level=None, cached_statements=256, factory=PositionalConnection
        )
        _prepare(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _connect_to_look(self) -> sqlite3.Connection:
        connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)
        _prepare(connection)
        return connection

    def _run_group(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
        self._run_transaction(connection, jobs)
        freeing = [job for job in jobs if job.frees_space]
        if any(_is_full(job.error) for job in freeing) and self._reserve.spend():
            self._run_transaction(connection, [job for job in freeing if _is_full(job.error)])
        elif freeing:
            self._reserve.keep()

    def _run_transaction(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")  # the one before could not even be rolled back
            self._sync_as_asked(connection, jobs)
            connection.execute("BEGIN IMMEDIATE")
            _run_each(connection, jobs)
            if any(job.error is not None for job in jobs):
                if connection.in_transaction:  # a full disk or an I/O error has rolled it back already
                    connection.execute("ROLLBACK")
                connection.execute("BEGIN IMMEDIATE")
                for job in jobs:
                    _run_in_savepoint(connection, job)
            connection.execute("COMMIT")
        except Exception as error:  # the whole transaction is rolled back, and so every job has failed
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            for job in jobs:
                job.error = job.error or error

    def _sync_as_asked(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
        """FULL syncs the log at each commit; NORMAL would lose the last commits in a power cut (fault D04)."""
        syncing = self._durable and any(job.synced for job in jobs)
        if syncing is not self._syncing:
            connection.execute(f"PRAGMA synchronous = {'FULL' if syncing else 'NORMAL'}")
            self._syncing = syncing


def _forget(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


def _run_in_savepoint(connection: sqlite3.Connection, job: Job) -> None:
    connection.execute("SAVEPOINT job")
    job.run(connection)
    if job.error is not None:
        if not connection.in_transaction:
            raise job.error  # a full disk or an I/O error has rolled everything back
        connection.execute("ROLLBACK TO job")
    connection.execute("RELEASE job")


def _run_each(connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.run(connection)


def _run_on_snapshots(connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
    for job in jobs:
        try:
            connection.execute("BEGIN")
            job.run(connection)
        except sqlite3.Error as error:
            job.error = error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")  # nothing has changed


def _prepare(connection: sqlite3.Connection) -> None:
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA busy_timeout = 5000")


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def translate(error: sqlite3.Error) -> TryLater:
    """The answer that a driver's error becomes. Programming errors pass as they are: they are no trouble that
    passes. A damaged page may be mended by the operator, and until then a client is to keep what it has (fault D08)."""
    if _is_full(error):
        return StorageFull()
    if isinstance(error, sqlite3.OperationalError) or is_damage(error):
        return StoreUnavailable()
    raise error

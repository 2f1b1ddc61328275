"""The SQLite file: groups of commits, full and busy disks, threads that hang, kills."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.contracts.rig import ManualClock
from tests.contracts.rows import HOUR, create, event_types, expiry_of, terminate
from tests.stores.sqlite.rigs import SqliteRig
from tuspy_server.model import EventType, UploadStatus
from tuspy_server.protocol.errors import StorageFull, StoreUnavailable
from tuspy_server.stores.sqlite.audit import look_through


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[SqliteRig]:
    rig = SqliteRig(ManualClock(), tmp_path / "db.sqlite3", durable=True)
    await rig.start()
    yield rig
    await rig.stop()


class Busy:
    """Keeps the writer's thread at work, so that what is asked for meanwhile comes into one group."""

    def __init__(self, rig: SqliteRig) -> None:
        self._gate = threading.Event()
        self._began = threading.Event()
        self.task = asyncio.create_task(rig.database.write(self._work))

    def _work(self, _: sqlite3.Connection) -> None:
        self._began.set()
        assert self._gate.wait(30)

    async def began(self) -> None:
        assert await asyncio.to_thread(self._began.wait, 30)

    async def end(self) -> None:
        self._gate.set()
        await self.task


async def commits_of(rig: SqliteRig) -> list[str]:
    """From now on, the writer's COMMITs."""
    commits: list[str] = []

    def watch(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)

    await rig.database.write(watch)
    commits.clear()
    return commits


async def test_changes_at_once_share_a_transaction(rig: SqliteRig) -> None:
    """A transaction costs one sync of the disk, whatever it holds."""
    commits = await commits_of(rig)
    busy = Busy(rig)
    await busy.began()
    creating = [asyncio.create_task(create(rig.uploads)) for _ in range(200)]
    await asyncio.sleep(0)
    await busy.end()
    uploads = await asyncio.gather(*creating)
    assert len(commits) == 2
    assert len({upload.id for upload in uploads}) == 200
    assert (await rig.uploads.count_by_status())[UploadStatus.UPLOADING] == 200


async def test_a_failing_change_takes_no_other_of_its_group_with_it(rig: SqliteRig) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM uploads")
        raise ZeroDivisionError

    def refused(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE uploads SET upload_offset = -1")

    busy = Busy(rig)
    await busy.began()
    first = asyncio.create_task(create(rig.uploads))
    failing = [asyncio.create_task(rig.database.write(function)) for function in (broken, refused)]
    last = asyncio.create_task(create(rig.uploads))
    await asyncio.sleep(0)
    await busy.end()
    results = await asyncio.gather(first, *failing, last, return_exceptions=True)
    assert isinstance(results[1], ZeroDivisionError)
    assert isinstance(results[2], sqlite3.IntegrityError)
    assert (await rig.uploads.count_by_status())[UploadStatus.UPLOADING] == 2


async def test_reads_do_not_wait_for_a_running_change(rig: SqliteRig) -> None:
    """B05: HEAD answers beside a slow commit."""
    upload = await create(rig.uploads)
    busy = Busy(rig)
    await busy.began()
    async with asyncio.timeout(10):
        assert await rig.uploads.get(upload.id) is not None
    await busy.end()


async def test_a_change_whose_caller_has_gone_is_left_out_unless_it_has_begun(rig: SqliteRig) -> None:
    """B09: all of it or nothing."""
    upload = await create(rig.uploads)
    busy = Busy(rig)
    await busy.began()
    waiting = asyncio.create_task(terminate(rig.uploads, upload))
    await asyncio.sleep(0)
    waiting.cancel()
    busy.task.cancel()
    await asyncio.sleep(0)
    busy._gate.set()
    await create(rig.uploads)
    row = await rig.uploads.get(upload.id)
    assert row is not None
    assert row.status is UploadStatus.UPLOADING


async def test_what_is_queued_at_the_close_is_done_and_what_comes_later_refused(rig: SqliteRig) -> None:
    """C10."""
    busy = Busy(rig)
    await busy.began()
    creating = asyncio.create_task(create(rig.uploads))
    await asyncio.sleep(0)
    closing_task = asyncio.create_task(rig.database.close())
    await busy.end()
    await closing_task
    upload = await creating
    with pytest.raises(StoreUnavailable):
        await rig.uploads.get(upload.id)
    with pytest.raises(StoreUnavailable):
        await create(rig.uploads)
    await rig.reopen()
    assert await rig.uploads.get(upload.id) is not None


async def test_commits_that_count_are_synced_and_others_come_to_the_disk_with_them(rig: SqliteRig) -> None:
    """D04: synchronous=NORMAL would lose acknowledged commits in a power cut."""

    def synchronous(connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA synchronous").fetchone()[0])

    full, normal = 2, 1
    assert await rig.database.write(synchronous) == full
    assert await rig.database.write(synchronous, synced=False) == normal
    assert await rig.database.write(synchronous) == full
    busy = Busy(rig)
    await busy.began()
    group = [asyncio.create_task(rig.database.write(synchronous, synced=synced)) for synced in (False, True, False)]
    await asyncio.sleep(0)
    await busy.end()
    assert await asyncio.gather(*group) == [full] * 3


async def test_a_full_disk_is_507_and_ends_when_there_is_room(rig: SqliteRig) -> None:
    """D02, S18, I12."""
    upload = await create(rig.uploads)
    pages = await rig.database.write(lambda db: int(db.execute("PRAGMA page_count").fetchone()[0]))
    await rig.database.write(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone() and None)
    big = [create(rig.uploads, metadata="k " + "A" * 1000) for _ in range(100)]
    assert StorageFull in {type(result) for result in await asyncio.gather(*big, return_exceptions=True)}
    with pytest.raises(StorageFull):
        await create(rig.uploads, metadata="k " + "A" * 10_000)
    row = await rig.uploads.get(upload.id)
    assert row == upload
    await rig.database.write(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchone() and None)
    again = await create(rig.uploads, metadata="k " + "A" * 1000)
    assert await event_types(rig.outbox, again.id) == [EventType.CREATED]


async def test_a_busy_database_is_503_and_ends_when_it_is_free(rig: SqliteRig) -> None:
    """D06: a backup, or somebody at the sqlite3 prompt."""
    upload = await create(rig.uploads)
    await rig.database.write(lambda db: db.execute("PRAGMA busy_timeout = 20").fetchone() and None)
    with closing(sqlite3.connect(rig.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await create(rig.uploads)
        assert await rig.uploads.get(upload.id) is not None, "reading goes on"
        other.execute("ROLLBACK")
    await create(rig.uploads)
    assert (await rig.uploads.count_by_status())[UploadStatus.UPLOADING] == 2


async def test_no_commit_is_lost_beside_another_writer(rig: SqliteRig) -> None:
    """D06."""
    stopping = threading.Event()

    def hammer() -> None:
        with closing(sqlite3.connect(rig.path, isolation_level=None, timeout=10)) as other:
            while not stopping.is_set():
                other.execute("BEGIN IMMEDIATE")
                other.execute("UPDATE uploads SET upload_metadata = upload_metadata")
                other.execute("COMMIT")
                stopping.wait(0.001)  # SQLite gives nobody a turn: who waits must find it free

    thread = threading.Thread(target=hammer)
    thread.start()
    uploads = [await create(rig.uploads) for _ in range(30)]
    stopping.set()
    await asyncio.to_thread(thread.join)
    assert len({upload.id for upload in uploads}) == 30
    assert (await rig.uploads.count_by_status())[UploadStatus.UPLOADING] == 30


async def test_a_transaction_that_cannot_even_be_rolled_back_ends_no_thread(rig: SqliteRig) -> None:
    """I12: after an I/O error SQLite may refuse the ROLLBACK too."""
    denying = True

    def deny(action: int, *_: object) -> int:
        return sqlite3.SQLITE_DENY if denying and action == sqlite3.SQLITE_TRANSACTION else sqlite3.SQLITE_OK

    def fail(connection: sqlite3.Connection) -> None:
        connection.set_authorizer(deny)

    with pytest.raises(sqlite3.DatabaseError):
        await rig.database.write(fail)
    with pytest.raises(sqlite3.DatabaseError):
        await create(rig.uploads)
    denying = False
    await create(rig.uploads)
    assert (await rig.uploads.count_by_status())[UploadStatus.UPLOADING] == 1


async def test_a_damaged_page_is_503_for_what_needs_it_and_found_by_the_audit(tmp_path: Path) -> None:
    """D08: the client keeps what it has; the row is read on without that page."""
    rig = SqliteRig(ManualClock(), tmp_path / "damaged.sqlite3")
    await rig.start()
    upload = await create(rig.uploads)
    await rig.stop()
    with closing(sqlite3.connect(rig.path)) as connection:
        page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
        index = "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_events_1'"
        page = connection.execute(index).fetchone()[0]
    with rig.path.open("r+b") as file:
        file.seek((page - 1) * page_bytes)
        file.write(bytes(8))
    await rig.start()
    with pytest.raises(StoreUnavailable):
        await create(rig.uploads)
    assert await rig.uploads.get(upload.id) is not None
    found = await rig.database.survey(lambda connection: look_through(connection, tmp_path))
    assert found.damage
    await rig.stop()


async def test_a_disk_that_hangs_is_503_after_its_deadline(tmp_path: Path) -> None:
    """S04, I12."""
    rig = SqliteRig(ManualClock(), tmp_path / "slow.sqlite3", deadline_seconds=0.5)
    await rig.start()
    busy = Busy(rig)
    await busy.began()
    with pytest.raises(StoreUnavailable):
        await create(rig.uploads)
    busy._gate.set()
    with pytest.raises(StoreUnavailable):
        await busy.task
    rig.wait_longer()
    await create(rig.uploads)
    assert (await rig.uploads.count_by_status())[UploadStatus.UPLOADING] == 1, "who had gone was left out"
    await rig.stop()


async def test_a_look_beside_a_running_server_changes_nothing(rig: SqliteRig) -> None:
    upload = await create(rig.uploads, lifetime=HOUR)
    rig.clock.advance(3601)
    beside = SqliteRig(rig.clock, rig.path)
    await beside.uploads.open_to_look()
    assert [row.id for row in await beside.uploads.expired(10)] == [upload.id]
    with pytest.raises(StoreUnavailable):
        await beside.uploads.expire(expiry_of, 10)
    await beside.uploads.close()
    row = await rig.uploads.get(upload.id)
    assert row is not None
    assert row.status is UploadStatus.UPLOADING
    files = list(rig.path.parent.glob(f"{rig.path.name}*"))
    assert {file.name: oct(file.stat().st_mode & 0o077) for file in files} == {file.name: "0o0" for file in files}


PROGRAM = """
import asyncio, sys
from pathlib import Path
from tests.contracts.rig import ManualClock
from tests.contracts.rows import create
from tests.stores.sqlite.rigs import SqliteRig

async def main():
    rig = SqliteRig(ManualClock(), Path(sys.argv[1]), durable=True)
    await rig.start()
    async def client():
        while True:
            print((await create(rig.uploads)).id, flush=True)
    await asyncio.gather(*(client() for _ in range(8)))

asyncio.run(main())
"""


async def test_a_killed_process_leaves_every_commit_that_it_reported(tmp_path: Path) -> None:
    """C01, C03, I1."""
    path = tmp_path / "killed.sqlite3"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    lines = [await process.stdout.readline() for _ in range(200)]
    process.kill()
    lines += (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    reported = [line.decode().strip() for line in lines if line.endswith(b"\n")]
    assert len(reported) >= 200
    rig = SqliteRig(ManualClock(), path)
    await rig.start()
    for upload_id in reported:
        assert await rig.uploads.get(upload_id) is not None
        assert await event_types(rig.outbox, upload_id) == [EventType.CREATED]
    await rig.stop()

"""The statements against the table of states, their indexes, and the migrations."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest

from tests.contracts.rig import ManualClock
from tests.contracts.rows import claimed, create, finish
from tests.stores.sqlite.rigs import SqliteRig
from tuspy_server.model import GONE, TRANSITIONS, EventType, Processing, UploadStatus, sources_of
from tuspy_server.ports import Consumer
from tuspy_server.stores.sqlite import schema
from tuspy_server.stores.sqlite.rows import FILE_STATUS
from tuspy_server.stores.sqlite.schema import migrate, statements

SQL = statements()
TARGETS = {
    "finish": UploadStatus.FINISHED,
    "terminate": UploadStatus.TERMINATED,
    "fail": UploadStatus.FAILED,
    "expire": UploadStatus.EXPIRED,
}
SCANS = {"count_by_status", "cleanups", "consumers", "unseen_consumers", "add_deliveries", "replay"}
"""Those that read a whole index, now and then; a table that is nearly always empty; or the few consumers there are."""
SURVEYS = {"sum_uploads", "quantile_of_durations", "quantile_of_lengths"}
"""Those that read every row, beside all others, when somebody asks for sums."""
BRIEF = ("USING", "json_each", "CONSTANT ROW", "sqlite_sequence", "(subquery-")
CONDITIONS = {
    "events": "events.position > :after AND events.upload_id = :upload_id",
    "deliveries": "deliveries.status = 'dead'",
    "retry_now": "deliveries.status = 'dead' AND events.upload_id = :upload_id",
    "list_uploads": "uploads.tenant = :tenant",
    "count_errors": "true",
}


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        yield connection


def statuses_in(text: str) -> set[UploadStatus]:
    return {
        UploadStatus(word) for word in re.findall(r"\bstatus (?:=|IN) (\(.*?\)|'\w+')", text) for word in _words(word)
    }


def _words(text: str) -> list[str]:
    return re.findall(r"'(\w+)'", text)


@pytest.mark.parametrize(("name", "target"), TARGETS.items())
def test_a_statement_that_ends_an_upload_obeys_the_table_of_transitions(name: str, target: UploadStatus) -> None:
    change, _, condition = SQL[name].partition("\nWHERE")
    assert statuses_in(change) == {target}
    assert statuses_in(condition) == sources_of(target)


@pytest.mark.parametrize("name", ["claim", "commit"])
def test_only_an_uploading_row_takes_bytes(name: str) -> None:
    assert statuses_in(SQL[name]) == {UploadStatus.UPLOADING}


def test_what_is_purged_is_what_is_gone() -> None:
    assert statuses_in(SQL["purge_uploads"]) == GONE


def test_no_other_statement_sets_a_status() -> None:
    setting = {name for name, text in SQL.items() if re.search(r"UPDATE uploads\s+SET([^;]*,)?\s+status = '", text)}
    assert setting == set(TARGETS)
    assert set(TARGETS.values()) | {UploadStatus.UPLOADING, UploadStatus.COMPLETING} == set(TRANSITIONS)


@pytest.mark.parametrize("name", sorted(set(SQL) - SCANS - SURVEYS))
def test_every_hot_statement_uses_an_index(connection: sqlite3.Connection, name: str) -> None:
    """I12: what is fast with ten rows is fast with ten million."""
    text = SQL[name].replace("{condition}", CONDITIONS.get(name, "")).replace("{file_status}", FILE_STATUS)
    values = dict.fromkeys(re.findall(r":(\w+)", text), 1)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]
    slow = [step for step in plan if step.startswith("SCAN") and not any(word in step for word in BRIEF)]
    assert not slow, plan


def test_migrations_are_numbered_without_gaps() -> None:
    names = sorted(entry.name for entry in files("tuspy_server.stores.sqlite").joinpath("migrations").iterdir())
    numbers = [int(name.partition("_")[0]) for name in names if name.endswith(".sql")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_second_migration_changes_nothing(connection: sqlite3.Connection) -> None:
    before = connection.execute("SELECT * FROM sqlite_schema").fetchall()
    version = migrate(connection)
    assert connection.execute("PRAGMA user_version").fetchone()[0] == version
    assert connection.execute("SELECT * FROM sqlite_schema").fetchall() == before


def test_a_newer_schema_is_left_as_it_is(connection: sqlite3.Connection) -> None:
    """C14: migrations go forward only."""
    connection.execute("PRAGMA user_version = 999")
    assert migrate(connection) == 999
    assert connection.execute("PRAGMA user_version").fetchone()[0] == 999


async def test_an_older_server_goes_on_beside_a_newer_schema(tmp_path: Path) -> None:
    """C14: additive migrations leave an older release able to serve."""
    rig = SqliteRig(ManualClock(), tmp_path / "db.sqlite3")
    await rig.start()
    upload = await create(rig.uploads)
    await rig.stop()
    with closing(sqlite3.connect(rig.path)) as newer:
        newer.execute("ALTER TABLE uploads ADD COLUMN owner TEXT")
        newer.execute("ALTER TABLE events ADD COLUMN trace TEXT")
        newer.execute("CREATE TABLE batches (id TEXT PRIMARY KEY)")
        newer.execute("PRAGMA user_version = 999")
        newer.commit()
    await rig.start()
    assert await rig.uploads.get(upload.id) == upload
    assert (await create(rig.uploads)).upload_offset == 0
    assert len(await rig.outbox.relay(10)) == 2
    assert len(await rig.outbox.events(0, 10)) == 2
    await rig.stop()


async def test_rows_of_the_first_schema_go_on(tmp_path: Path) -> None:
    """C14: an upload, its event and a delivery that a release before consumers and jobs has written."""
    rig = SqliteRig(ManualClock(), tmp_path / "db.sqlite3")
    first = files("tuspy_server.stores.sqlite").joinpath("migrations", "0001_initial.sql").read_text("utf-8")
    with closing(sqlite3.connect(rig.path)) as older:
        older.executescript(first)
        older.execute("INSERT INTO uploads VALUES ('old', 'uploading', 0, 3, NULL, NULL, 1, NULL, NULL)")
        older.execute("INSERT INTO events VALUES (7, 'e', 'upload.created', 'old', '{}', 1, 1)")
        older.execute("INSERT INTO deliveries VALUES (7, 'a', 'old', 'waiting', 1, 1, NULL)")
        older.execute("PRAGMA user_version = 1")
        older.commit()
    await rig.start()
    upload = await rig.uploads.get("old")
    assert upload is not None
    assert (upload.tenant, upload.trusted_metadata, upload.processing) == (None, {}, None)
    [delivery] = await rig.outbox.lease(["a"], 10, 60)
    assert (delivery.event.position, delivery.attempt, delivery.tried_seconds) == (7, 2, 0.0)
    assert await rig.outbox.last_position() == 7
    await rig.outbox.register([Consumer(name="p", types=frozenset(EventType), processing=True)])
    done = await finish(rig.uploads, await claimed(rig.uploads, upload), 3)
    assert done is not None
    assert done.processing is Processing.WAITING
    await rig.stop()


async def test_a_finish_writes_its_row_and_one_more(tmp_path: Path) -> None:
    """Who processes the upload is asked by the statement that finishes it."""
    rig = SqliteRig(ManualClock(), tmp_path / "db.sqlite3")
    await rig.start()
    await rig.outbox.register([Consumer(name="p", types=frozenset(EventType), processing=True)])
    row = await create(rig.uploads, writer="w")
    seen: list[str] = []
    await rig.database.write(lambda connection: connection.set_trace_callback(seen.append))
    assert await finish(rig.uploads, row, 10) is not None
    await rig.stop()
    kinds = [text.split()[0] for text in seen if text.split()[0] in {"SELECT", "INSERT", "UPDATE", "DELETE", "BEGIN"}]
    assert kinds == ["BEGIN", "UPDATE", "INSERT"]


async def test_a_migration_that_fails_leaves_nothing_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = schema._split
    monkeypatch.setattr(schema, "_split", lambda script: [*list(real(script))[:3], "CREATE NONSENSE;"])
    rig = SqliteRig(ManualClock(), tmp_path / "db.sqlite3")
    with pytest.raises(Exception, match=r"NONSENSE|not available"):
        await rig.start()
    await rig.stop()
    monkeypatch.undo()
    await rig.start()
    assert await create(rig.uploads) is not None
    await rig.stop()


def test_numbers_beyond_a_double_are_kept_exactly(connection: sqlite3.Connection) -> None:
    """R03: 2^63 - 1 is the largest length that the protocol lets through."""
    values = dict.fromkeys(re.findall(r":(\w+)", SQL["create"])) | {"id": "a", "upload_length": 2**63 - 1, "now": 1}
    connection.row_factory = sqlite3.Row
    row = connection.execute(SQL["create"], values).fetchone()
    assert (row["upload_length"], row["expires_at"]) == (2**63 - 1, None)

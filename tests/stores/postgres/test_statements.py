"""The statements against the table of states, their plans on large tables, and the migrations."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from tests.contracts.rig import ManualClock
from tests.stores.postgres.rigs import PostgresRig, with_schema
from trial.postgres import PostgresServer
from tuspy_server.model import GONE, TRANSITIONS, UploadStatus, sources_of
from tuspy_server.stores.postgres.schema import migrations, statements
from tuspy_server.stores.postgres.store import DEAD_BATCH

SQL = statements()
TARGETS = {
    "complete": UploadStatus.COMPLETING,
    "finish": UploadStatus.FINISHED,
    "terminate": UploadStatus.TERMINATED,
    "fail": UploadStatus.FAILED,
    "expire": UploadStatus.EXPIRED,
}
SETS = re.compile(r"UPDATE uploads\s+SET(?:(?!WHERE)[^;])*?\bstatus = '(\w+)'")
SCANS = {"count_by_status", "sum_uploads"}
"""Those that read much now and then."""

LARGE = {"uploads", "parts", "pieces", "events", "deliveries", "jobs"}
HOUR = timedelta(hours=1)


def statuses_in(text: str) -> set[UploadStatus]:
    return {UploadStatus(word) for word in re.findall(r"'(\w+)'", text) if word in set(UploadStatus)}


@pytest.mark.parametrize(("name", "target"), TARGETS.items())
def test_a_statement_that_ends_an_upload_obeys_the_table_of_transitions(name: str, target: UploadStatus) -> None:
    assert SETS.findall(SQL[name]) == [target]
    [sources] = re.findall(r"status (?:=|IN) (\(?'[^)]*?'\)?)(?:\s+AND|\s+RETURNING)", SQL[name])
    assert statuses_in(sources) == set(sources_of(target))


@pytest.mark.parametrize("name", ["claim", "commit"])
def test_only_an_uploading_row_takes_bytes(name: str) -> None:
    assert statuses_in(SQL[name]) == {UploadStatus.UPLOADING}


def test_what_is_purged_is_what_is_gone() -> None:
    assert statuses_in(SQL["purge"]) == GONE


def test_no_other_statement_sets_a_status() -> None:
    assert {name for name, text in SQL.items() if SETS.search(text)} == set(TARGETS)
    assert set(TARGETS.values()) | {UploadStatus.UPLOADING} == set(TRANSITIONS)


def test_no_statement_relies_on_a_session() -> None:
    """Fault B07."""
    session = re.compile(
        r"\bpg_(try_)?advisory_(un)?lock\b|\b(LISTEN|PREPARE|DECLARE \w+ CURSOR|TEMP|SET (LOCAL|SESSION))\b"
    )
    for text in [*SQL.values(), *(migration.script for migration in migrations())]:
        assert not session.search(text)


def test_migrations_are_numbered_without_gaps() -> None:
    assert [migration.version for migration in migrations()] == list(range(1, len(migrations()) + 1))


def test_all_times_are_the_databases() -> None:
    """Fault B15. And their functions are not qualified, so that tests can set them."""
    for text in SQL.values():
        assert not re.search(r"pg_catalog|current_timestamp|localtime|timeofday", text, re.IGNORECASE)


# --- plans --------------------------------------------------------------------------------------------------------

FILL = """
INSERT INTO uploads (id, status, upload_offset, upload_length, writer, writer_node, created_at, expires_at, ended_at,
                     object_key, part_bytes, job_id, job_number, tenant, processing)
SELECT lpad(to_hex(n), 32, '0'),
       (ARRAY['finished', 'uploading', 'terminated', 'completing'])
           [CASE WHEN n % 1000 = 0 THEN 4 WHEN n % 100 = 1 THEN 3 WHEN n % 10 = 2 THEN 2 ELSE 1 END],
       CASE WHEN n % 1000 = 0 OR n % 100 = 1 OR n % 10 = 2 THEN 5 ELSE 10 END, 10,
       CASE WHEN n % 1000 = 0 OR n % 200 = 2 THEN 'writer-' || n END,
       CASE WHEN n % 1000 = 0 OR n % 10 = 2 THEN 'node-' || n % 7 END,
       (SELECT now()) - n * interval '1 second', (SELECT now()) + (n % 1000) * interval '1 minute',
       CASE WHEN n % 100 = 1 THEN (SELECT now()) - n * interval '1 second' END,
       'objects/' || n, 5 << 20, CASE WHEN n % 2 = 0 THEN 'job-' || n / 10 END, n % 10,
       'tenant-' || n % 50, CASE WHEN n % 1000 = 3 THEN 'waiting' END
FROM generate_series(1, {rows}) AS n;
INSERT INTO parts SELECT lpad(to_hex(n), 32, '0'), part, 5 << 20, 'etag', 1
FROM generate_series(1, {rows}) AS n, generate_series(1, 2) AS part;
INSERT INTO pieces SELECT lpad(to_hex(n), 32, '0'), 'tmp/' || n || '/' || piece, piece, piece + 1, 1, 0, piece < 3
FROM generate_series(1, {rows}) AS n, generate_series(1, 2) AS piece;
INSERT INTO jobs SELECT 'job-' || n, 'tenant-' || n % 50, (SELECT now()) - n * interval '1 second',
       CASE WHEN n % 100 = 0 THEN (SELECT now()) END, 50
FROM generate_series(0, {rows}) AS n;
INSERT INTO events (id, type, upload_id, data, time, position, job_id)
SELECT 'event-' || n, CASE WHEN n % 2 = 0 THEN 'upload.created' ELSE 'upload.finished' END, lpad(to_hex(n), 32, '0'),
       '{{}}', (SELECT now()) - n * interval '1 second', CASE WHEN n > 100 THEN n END, 'job-' || n / 10
FROM generate_series(1, {rows}) AS n;
INSERT INTO consumers (name, types, processing, registered_at, seen_at)
VALUES ('a', ARRAY['upload.created', 'upload.finished'], true, (SELECT now()), (SELECT now()));
INSERT INTO deliveries (position, consumer, upload_id, status, attempts, due_at)
SELECT n, 'a', lpad(to_hex(n), 32, '0'),
       CASE WHEN n % 100 = 0 THEN 'waiting' WHEN n % 1000 = 1 THEN 'dead' ELSE 'delivered' END, 1,
       (SELECT now()) + (n % 100 - 50) * interval '1 second'
FROM generate_series(101, {rows}) AS n;
INSERT INTO cleanups SELECT lpad(to_hex(n), 32, '0'), 'terminated', (SELECT now())
FROM generate_series(1, 2000, 100) AS n;
INSERT INTO nodes SELECT 'node-' || n, (SELECT now()) FROM generate_series(1, 3) AS n
"""
"""The subselect is asked once; as tests set it, `now()` reads a table."""

SOME = "0" * 31 + "2"
NOW = datetime(2100, 1, 1, tzinfo=UTC)
EVENT = ("event", "upload.finished", SOME, "{}", None, None)
NEW = ("f" * 32, 10, None, None, HOUR, HOUR, None, "key", 100, None, None, None)
FILES = (1, "node", *([value] for value in NEW), ["event"], ["upload.created"], ["f" * 32], ["{}"])
PARTS = ([1, 2], [5 << 20, 5 << 20], ["a", "b"], [1, 2])
PIECES = ([0, 1], [1, 2], ["k1", "k2"], [1, 2], [0, 0])
FENCED = (SOME, "writer-2", 6, None, False, None, None, *PARTS, *PIECES)
THOSE = (None, None, None, None, None)
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "create": ("node", *NEW, *EVENT, None, "job-1"),
    "get": (SOME, "node", HOUR),
    "claim": (SOME, "w", "node", 5, 1, None, None),
    "commit": (*FENCED, True, HOUR, HOUR),
    "complete": (*FENCED, HOUR, HOUR),
    "finish": (SOME, "writer-2", 10, False, None, "etag", *EVENT, "processed", "failed", HOUR, *PIECES),
    "terminate": (SOME, None, *EVENT, HOUR, False),
    "fail": (SOME, "writer-2", *EVENT, HOUR),
    "expired": (100,),
    "expire": ([SOME], ["e"], ["upload.expired"], [SOME], ["{}"], [None], [None], HOUR),
    "own_writers": ("node-2",),
    "release_writers": ("node-2", ["writer-2"]),
    "release_dead": ("node-2", HOUR, DEAD_BATCH),
    "adopt": ("w", "node-2", None, ["writer-1000"], HOUR),
    "tried": (SOME, "writer-2"),
    "assembly": (SOME,),
    "cleanups": (100,),
    "cleanup": (SOME,),
    "cleaned": ([SOME], ["terminated"]),
    "has_any": (),
    "purge": (30 * HOUR * 24, 30 * HOUR * 24, 100),
    "beat": ("node-2", HOUR),
    "stop_beating": ("node-2",),
    "release_leases": (HOUR,),
    "register": (["a"], ["upload.created"], [False]),
    "consumers": (),
    "disable": ("a", "why"),
    "disable_unseen": ("a", HOUR),
    "enable": ("a",),
    "forget": ("a",),
    "unseen": (HOUR,),
    "half_buried": (),
    "bury_waiting": ("a", 100),
    "lease": (["a"], 10, HOUR, "node-2", "token"),
    "take_back": (["a"], ["token"]),
    "settle": ([500], ["a"], [1], "delivered", HOUR, None),
    "next_due": (["a"],),
    "events_after": (1000, None, None, [], 100),
    "events_of_upload": (0, None, None, [], 100, SOME, None),
    "events_of_job": (0, None, None, ["upload.created"], 100, "job-1"),
    "event_at": (500,),
    "last_position": (),
    "deliveries_any": (None, "delivered", 100),
    "deliveries_waiting": ("a", 100),
    "deliveries_dead": (None, 100),
    "deliveries_of_events": (None, SOME, None, None, 100),
    "backlog": (1000,),
    "retry_now": ("a", "dead", None, None),
    "replay": ("a", 1000, 1100, None, [], None, None),
    "relay": (100, 500, "channel", "node"),
    "notify": ("channel", "payload"),
    "queue_usage": (),
    "create_job": ("job", None, *FILES),
    "add_files": ("job-1", None, *FILES),
    "job_row": ("job-1", None),
    "job": ("job-1", None),
    "jobs": (None, None, 100),
    "jobs_of_tenant": (NOW, "", 100, "tenant-1"),
    "job_files": ("job-1", 0, 100),
    "cancel_job": ("job-1", None),
    "left_files": (100,),
    "purge_jobs": (HOUR, 100),
    "list_uploads": (*THOSE, None, None, 100),
    "list_uploads_of_tenant": ("tenant-1", None, None, None, None, NOW, "", 100),
    "list_uploads_of_job": (None, "job-1", "UPLOADING", None, None, NOW, "", 100),
}
INSIDE = {
    "numbered": "SELECT events.id FROM events WHERE events.position IS NULL ORDER BY events.number LIMIT 100",
    "numbered_here": "SELECT * FROM events WHERE events.position = ANY ('{500,501}'::bigint[])",
    "above": "SELECT * FROM events WHERE events.position > 500 ORDER BY events.position LIMIT 100",
    "settled": (
        "SELECT FROM (SELECT position, name FROM unnest('{500,501}'::bigint[], '{a,a}'::text[])"
        " AS told (position, name) GROUP BY position, name) AS given"
        " JOIN deliveries ON deliveries.position = given.position AND deliveries.consumer = given.name"
        " WHERE deliveries.status IN ('waiting', 'dead') FOR UPDATE OF deliveries"
    ),
    "buried": "SELECT position FROM deliveries WHERE consumer = 'a' AND status = 'waiting' ORDER BY position LIMIT 100",
    "judged": (
        "SELECT uploads.id, events.id, bool_or(deliveries.status = 'dead') FROM uploads"
        " JOIN events ON events.upload_id = uploads.id AND events.type = 'upload.finished' AND position IS NOT NULL"
        " LEFT JOIN deliveries ON deliveries.position = events.position AND deliveries.processing"
        f" WHERE uploads.id = ANY ('{{{SOME}}}'::text[]) AND uploads.processing IN ('waiting', 'failed')"
        " GROUP BY uploads.id, events.id"
    ),
    "last": "SELECT max(events.position) FROM events WHERE events.position IS NOT NULL",
}
"""What the functions do on the large tables."""


INDEXES = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
FROM pg_index WHERE NOT indisunique AND indrelid::regclass::text = ANY ($1)
"""
FILL_SECONDS = 100.0


async def fill(dsn: str, rows: int) -> None:
    """The rows first, then their indexes: row by row those take most of the time."""
    rig = PostgresRig(ManualClock(), dsn)
    await rig.start()
    await rig.stop()
    connection = await asyncpg.connect(with_schema(dsn), command_timeout=FILL_SECONDS)
    try:
        indexes = await connection.fetch(INDEXES, sorted(LARGE))
        for name, _ in indexes:
            await connection.execute(f"DROP INDEX {name}")
        for statement in FILL.format(rows=rows).split(";\n"):
            await connection.execute(statement)
        for _, definition in indexes:
            await connection.execute(definition)
        await connection.execute("VACUUM ANALYZE")
    finally:
        connection.terminate()


@pytest.fixture(
    scope="module", params=[50_000, pytest.param(1_000_000, marks=[pytest.mark.long, pytest.mark.timeout(400)])]
)
def filled(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[str]:
    name = f"plans_{request.param}"
    postgres_server.create_database(name)
    try:
        asyncio.run(fill(postgres_server.dsn(name), request.param))
        yield postgres_server.dsn(name)
    finally:
        postgres_server.drop_database(name)


@pytest.fixture
async def connection(filled: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(with_schema(filled), command_timeout=100)
    try:
        yield connection
    finally:
        await connection.close()


def scans_in(plan: dict[str, Any]) -> Iterator[str]:
    if plan["Node Type"] == "Seq Scan" and plan["Relation Name"] in LARGE:
        yield f"{plan['Relation Name']} {plan.get('Filter', '')}"
    for below in plan.get("Plans", []):
        yield from scans_in(below)


def rows_read(plan: dict[str, Any]) -> Iterator[float]:
    if plan.get("Relation Name") == "uploads" and plan["Node Type"] != "ModifyTable":
        yield plan["Actual Rows"] * plan["Actual Loops"]
    for below in plan.get("Plans", []):
        yield from rows_read(below)


@pytest.mark.parametrize("name", ["lease", "next_due"])
async def test_only_one_index_can_find_the_earliest_delivery_of_an_upload(
    connection: asyncpg.Connection[asyncpg.Record], name: str
) -> None:
    """On tables without statistics the planner took that of the due times for it, too: a lease read all that waited for
    each upload, and 5,000 events took 16 s and both cores of the database."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("DROP INDEX deliveries_in_order; SET LOCAL enable_seqscan = off")
        rows = await connection.fetch(f"EXPLAIN {SQL[name]}", *ARGUMENTS[name])
    finally:
        await transaction.rollback()
    plan = "\n".join(row[0] for row in rows)
    assert plan.count("deliveries_due") == 1, plan


async def test_what_a_dead_node_leaves_is_let_go_at_the_same_cost_however_much_it_is(
    connection: asyncpg.Connection[asyncpg.Record],
) -> None:
    """I12. With a million rows each batch read all that was left, and a start waited 80 s for the batches."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        [row] = await connection.fetch(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {SQL['release_dead']}", *ARGUMENTS["release_dead"]
        )
    finally:
        await transaction.rollback()
    [explained] = json.loads(row[0])
    assert sum(rows_read(explained["Plan"])) <= 10 * DEAD_BATCH


async def test_every_hot_statement_uses_an_index(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """I12: what is fast with ten rows is fast with ten million. Both as planned for its values and for any."""
    assert set(ARGUMENTS) | SCANS == set(SQL)
    slow = {}
    for name, arguments in [*ARGUMENTS.items(), *((name, ()) for name in INSIDE)]:
        text = INSIDE.get(name) or SQL[name]
        for mode in ("force_custom_plan", "force_generic_plan"):
            async with connection.transaction():
                await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
                [row] = await connection.fetch(f"EXPLAIN (FORMAT JSON) {text}", *arguments)
            [explained] = json.loads(row[0])
            if scans := list(scans_in(explained["Plan"])):
                slow[name, mode] = scans
    assert not slow

"""What each call of the port costs in statements and round trips. A slow network multiplies them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import asyncpg
import pytest

from tests.contracts import assemblies, rows
from tests.stores.postgres.proxy import PostgresProxy
from tests.stores.postgres.rigs import MakeRig, PostgresRig
from tuspy_server.model import EventType, Processing, Upload
from tuspy_server.ports import Commit, Consumer, NewUpload, Stored


class Counted:
    """A rig with one connection, whose statements and round trips are counted."""

    def __init__(self, rig: PostgresRig, proxy: PostgresProxy) -> None:
        self.rig = rig
        self.proxy = proxy
        self.statements: list[str] = []

    def log(self, record: asyncpg.connection.LoggedQuery) -> None:
        self.statements.append(record.query)

    async def cost_of(self, call: Callable[[], Awaitable[object]]) -> tuple[int, int]:
        self.statements.clear()
        before = self.proxy.round_trips
        await call()
        return len(self.statements), self.proxy.round_trips - before


@pytest.fixture
async def counted(postgres_dsn: str, make_rig: MakeRig) -> AsyncIterator[Counted]:
    async with PostgresProxy(postgres_dsn) as proxy:
        rig = await make_rig(through=proxy.dsn, connections=1, node_seconds=1000)
        counted = Counted(rig, proxy)

        async def watch(connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
            connection.add_query_logger(counted.log)

        await rig.pool.run(watch)
        yield counted
        await rig.stop()  # before the proxy


async def some_parts(rig: PostgresRig, count: int) -> Upload:
    """An upload with so many parts, and some pieces behind them."""
    row = await rows.claimed(rig.uploads, await assemblies.placed(rig, length=10**9))
    offset = count * assemblies.P
    pieces = [assemblies.piece(offset + at, offset + at + 5) for at in range(0, 50, 5)]
    parts = [assemblies.part(number) for number in range(1, count + 1)]
    done = await rig.uploads.commit(assemblies.commit(row, offset + 50, *parts, *pieces, multipart_id="m"))
    assert done is not None
    return done


async def each_once(rig: PostgresRig) -> None:
    """Statements are prepared when a connection first meets them; that is not counted."""
    row = await some_parts(rig, 1)
    await rig.uploads.get(row.id)
    await rig.uploads.finish(whole(row), rows.draft(EventType.FINISHED, row.id))


def whole(row: Upload) -> Commit:
    length = row.upload_length or 0
    return replace(assemblies.commit(row, length, release=True), stored=Stored(upload_offset=length, etag="e"))


@pytest.mark.parametrize("parts", [0, 1000])
async def test_each_call_of_the_hot_path_is_one_statement_and_one_round_trip(counted: Counted, parts: int) -> None:
    rig = counted.rig
    await each_once(rig)
    costs = {}
    costs["create"] = await counted.cost_of(lambda: assemblies.placed(rig))
    row = await some_parts(rig, parts)
    costs["get"] = await counted.cost_of(lambda: rig.uploads.get(row.id))
    costs["claim"] = await counted.cost_of(lambda: rows.claim(rig.uploads, row, writer="next"))
    row = replace(row, writer="next")
    offset = row.upload_offset
    more = assemblies.commit(row, offset + 50, assemblies.part(parts + 1), assemblies.piece(offset + 50, offset + 60))
    costs["commit"] = await counted.cost_of(lambda: rig.uploads.commit(more))
    costs["finish"] = await counted.cost_of(
        lambda: rig.uploads.finish(whole(row), rows.draft(EventType.FINISHED, row.id))
    )
    assert costs == dict.fromkeys(costs, (1, 1))
    assert row.id in [item.upload.id for item in await rig.uploads.cleanups(10)]


async def test_a_small_upload_is_three_round_trips(counted: Counted) -> None:
    """POST, then PATCH: creation, claim, finish."""
    rig = counted.rig
    await each_once(rig)

    async def upload() -> None:
        row = await rows.claimed(rig.uploads, await assemblies.placed(rig))
        await rig.uploads.finish(whole(row), rows.draft(EventType.FINISHED, row.id))

    assert await counted.cost_of(upload) == (3, 3)


async def test_commits_touch_no_index(counted: Counted) -> None:
    """Claims and commits of one node, of an upload that has room on its page, are HOT updates."""
    rig = counted.rig
    upload = await assemblies.placed(rig, lifetime=rows.HOUR)
    rig.clock.advance(1)
    row = await rows.claimed(rig.uploads, upload)
    for offset in range(1, 20):
        await rig.uploads.commit(replace(assemblies.commit(row, offset), lifetime=rows.HOUR))
    await rig.uploads.commit(replace(assemblies.commit(row, 20, release=True), lifetime=rows.HOUR))

    async def flush(connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
        await connection.execute("SELECT pg_stat_force_next_flush()")

    await rig.pool.run(flush)
    [stat] = await rig.sql(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'uploads' AND schemaname = 'rig'"
    )
    assert stat["n_tup_upd"] == 21
    assert stat["n_tup_hot_upd"] == 21


async def test_what_events_and_jobs_add_costs_no_further_round_trip(counted: Counted) -> None:
    """The finish of what somebody processes is one statement; so are joining a job, numbering, leasing and settling."""
    rig = counted.rig
    await each_once(rig)
    await rig.outbox.register([Consumer(name="a", types=frozenset(EventType), processing=True)])
    await rig.jobs.create_job("job", None, [])

    async def join() -> Upload:
        new = NewUpload(
            id=rows.new_id(), upload_length=10, upload_metadata=None, writer="w", lifetime=None, job_id="job"
        )
        return await rig.uploads.create(new, rows.draft(EventType.CREATED, new.id))

    async def settle() -> None:
        await rig.outbox.delivered(leased)

    costs: dict[str, tuple[int, int]] = {}
    for _ in range(2):  # the first time they are prepared
        row = await join()
        costs = {"join": await counted.cost_of(join)}
        costs["finish"] = await counted.cost_of(lambda row=row: rows.finish(rig.uploads, row, 10))  # type: ignore[misc]
        costs["relay"] = await counted.cost_of(lambda: rig.outbox.relay(100))
        leased = await rig.outbox.lease(["a"], 100, 60)
        costs["settle"] = await counted.cost_of(settle)
        leased = await rig.outbox.lease(["a"], 100, 60)
        costs["processed"] = await counted.cost_of(settle)
        done = await rig.uploads.get(row.id)
        assert done is not None
        assert done.processing is Processing.DONE
        while await rig.outbox.relay(100):
            pass
        await rig.outbox.delivered(await rig.outbox.lease(["a"], 100, 60))
    assert costs == dict.fromkeys(costs, (1, 1))

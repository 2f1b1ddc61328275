"""Several processes on the same rows: whose heart beats, whose writers are released, who migrates, who relays."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import replace
from typing import cast

import asyncpg
import pytest

from tests.contracts import assemblies
from tests.contracts.rows import claimed, commit, create, draft, expiry_of, finish, finished, new_id, terminate
from tests.stores.postgres.rigs import MakeRig, PostgresRig, until, with_schema
from tuspy_server.model import PARTS_IN_FLIGHT, EventType, Upload, UploadStatus
from tuspy_server.ports import Consumer, Delivery
from tuspy_server.protocol.errors import TryLater
from tuspy_server.stores.postgres import schema
from tuspy_server.stores.postgres import store as store_module
from tuspy_server.stores.postgres.options import PostgresOptions
from tuspy_server.stores.postgres.stores import PostgresStores

NODE_SECONDS = 1000.0
"""In the tests' own time; hearts beat in real time, and so not in between."""

A = Consumer(name="a", types=frozenset(EventType))

# --- hearts -------------------------------------------------------------------------------------------------------


async def test_the_writers_node_is_told_to_others_while_its_heart_beats(make_rig: MakeRig) -> None:
    here, there = [await make_rig(connections=3, node_seconds=NODE_SECONDS) for _ in range(2)]
    row = await claimed(here.uploads, await create(here.uploads))
    assert await here.uploads.get(row.id) == row
    assert await there.uploads.get(row.id) == replace(row, writer_node=here.node.id)
    here.clock.advance(NODE_SECONDS - 1)
    await there.node.beat()
    assert await there.uploads.get(row.id) == replace(row, writer_node=here.node.id, as_of=here.clock.now())
    here.clock.advance(1)
    assert await there.uploads.get(row.id) == replace(row, as_of=here.clock.now())
    await here.node.beat()
    assert (await there.uploads.get(row.id)) == replace(row, writer_node=here.node.id, as_of=here.clock.now())
    released = await here.uploads.commit(commit(row, 1, release=True))
    assert await there.uploads.get(row.id) == released


async def test_a_heart_beats_before_the_statements_that_wait(make_rig: MakeRig) -> None:
    """I12: a node that its uploads keep busy for longer than a beat may take would be buried alive by the others."""
    rig = await make_rig(connections=1, node_seconds=NODE_SECONDS)
    order: list[str] = []
    held = asyncio.Event()

    async def statement(name: str) -> None:
        await rig.pool.fetch_value("SELECT 1", repeatable=True)
        order.append(name)

    async def beat() -> None:
        await rig.node.beat()
        order.append("beat")

    async with asyncio.TaskGroup() as group:
        group.create_task(rig.pool.run(lambda _: held.wait()))
        for work in (statement("first"), statement("second"), beat()):
            group.create_task(work)
        for _ in range(50):
            await asyncio.sleep(0)  # all of them stand in the queue
        held.set()
    assert order == ["beat", "first", "second"]


async def test_writers_of_a_node_whose_heart_has_stopped_are_released(make_rig: MakeRig) -> None:
    """I12: and marked as a claim would."""
    here, there = [await make_rig(connections=3, node_seconds=NODE_SECONDS) for _ in range(2)]
    row = await claimed(here.uploads, await assemblies.placed(here))
    idle = await create(here.uploads)
    done = await finished(here.uploads)
    assert await there.uploads.release_writers(frozenset) == 0
    here.clock.advance(NODE_SECONDS)
    await there.node.beat()
    assert await there.uploads.release_writers(frozenset) == 1
    assert await there.uploads.release_writers(frozenset) == 0
    now = await there.uploads.get(row.id)
    assert now is not None
    assert now.writer is None
    assert now.placement is not None
    assert now.placement.unsettled
    assert now.placement.contested_to == 1 + PARTS_IN_FLIGHT
    assert await here.uploads.commit(commit(row, 1)) is None, "should it wake up again, it is fenced"
    assert [(await there.uploads.get(one.id)) is not None for one in (idle, done)] == [True, True]


async def test_a_node_releases_its_own_only_if_nobody_stands_behind_them(make_rig: MakeRig) -> None:
    here, there = [await make_rig(connections=3, node_seconds=NODE_SECONDS) for _ in range(2)]
    ours = await claimed(here.uploads, await create(here.uploads))
    lost = await claimed(here.uploads, await create(here.uploads))
    theirs = await claimed(there.uploads, await create(there.uploads))
    assert await here.uploads.release_writers(lambda: {ours.writer or ""}) == 1
    rows = [await here.uploads.get(row.id) for row in (ours, lost, theirs)]
    assert [row.writer for row in rows if row] == [ours.writer, None, theirs.writer]


async def test_an_orderly_end_frees_what_the_node_held_at_once(make_rig: MakeRig) -> None:
    here, there = [await make_rig(connections=3, node_seconds=NODE_SECONDS) for _ in range(2)]
    row = await claimed(here.uploads, await create(here.uploads))
    finishing = await assemblies.completing(here)
    assert await there.uploads.adopt("w2", finishing.id, set()) is None
    await here.stop()
    assert await there.uploads.release_writers(frozenset) == 1
    now = await there.uploads.get(row.id)
    assert now is not None
    assert now.writer is None
    adopted = await there.uploads.adopt("w2", None, set())
    assert adopted is not None
    assert adopted.writer == "w2"


async def test_of_nodes_that_adopt_at_once_one_does(make_rig: MakeRig) -> None:
    """I5."""
    here, *others = [await make_rig(connections=3, node_seconds=NODE_SECONDS) for _ in range(3)]
    for _ in range(4):
        await assemblies.completing(here)
    here.clock.advance(NODE_SECONDS)
    await asyncio.gather(*(rig.node.beat() for rig in others))

    async def adopt_all(rig: PostgresRig) -> list[str]:
        adopted: list[str] = []
        held: set[str] = set()
        while (row := await rig.uploads.adopt(new_id(), None, held)) is not None:
            adopted.append(row.id)
            held.add(row.writer or "")
        return adopted

    adopted = [upload_id for ids in await asyncio.gather(*map(adopt_all, others)) for upload_id in ids]
    assert len(adopted) == len(set(adopted))
    adopted += [upload_id for rig in others for upload_id in await adopt_all(rig)]
    assert len(set(adopted)) == 4


async def test_a_heart_beats_by_itself_and_through_trouble(make_rig: MakeRig) -> None:
    rig = await make_rig(connections=2, node_seconds=0.1)

    async def has_beaten() -> bool:
        [row] = await rig.sql("SELECT beat_at FROM nodes WHERE id = $1", rig.node.id)
        return bool(row["beat_at"] == rig.clock.now())

    for _ in range(3):
        rig.clock.advance(1)
        await rig.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE '%beat_at%'"
            " AND pid <> pg_backend_pid()"
        )
        await until(has_beaten)
    await rig.stop()
    assert await rig.sql("SELECT FROM nodes") == []


# --- the schema ---------------------------------------------------------------------------------------------------


async def test_nodes_that_start_at_once_on_an_empty_database_are_fine(postgres_dsn: str) -> None:
    stores = [PostgresStores(PostgresOptions(url=postgres_dsn, connections=2)) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    upload = await create(stores[0].uploads)
    for store in stores:
        now = await store.uploads.get(upload.id)
        assert now is not None
        assert replace(now, as_of=upload.as_of) == upload
    await asyncio.gather(*(store.close() for store in stores))


async def test_older_code_goes_on_beside_a_newer_schema(rig: PostgresRig) -> None:
    """C14: while it runs, with its statements prepared, and at its next start."""
    row = await claimed(rig.uploads, await create(rig.uploads))
    assert await rig.uploads.commit(commit(row, 1)) is not None
    await rig.sql("ALTER TABLE uploads ADD COLUMN another text NOT NULL DEFAULT 'one'")
    await rig.sql("ALTER TABLE events ADD COLUMN trace text")
    await rig.sql("CREATE TABLE further (id text PRIMARY KEY)")
    await rig.sql("INSERT INTO tuspy_migrations VALUES (999, '0999_future.sql', now())")
    for _ in range(2):
        assert await rig.uploads.commit(commit(row, 2)) is not None
        assert (await finished(rig.uploads)).status is UploadStatus.FINISHED
        await terminate(rig.uploads, await create(rig.uploads))
        assert list(await rig.uploads.expire(expiry_of, 10)) == []
        await rig.outbox.register([A])
        assert await rig.outbox.relay(10)
        assert await rig.outbox.lease(["a"], 10, 1)
        await rig.reopen()
        now = await rig.uploads.get(row.id)
        assert now is not None
        row = await claimed(rig.uploads, now)
    [version] = await rig.sql("SELECT max(version) AS newest FROM tuspy_migrations")
    assert version["newest"] == 999


@pytest.mark.parametrize("theirs", [PARTS_IN_FLIGHT - 2, PARTS_IN_FLIGHT + 2])
async def test_a_claim_contests_what_the_release_of_the_other_writer_sends(
    rig: PostgresRig, monkeypatch: pytest.MonkeyPatch, theirs: int
) -> None:
    """C14, K05 (I2, I5): with nodes of both releases the claimant's own number would be too small, and a late part of
    the writer that it fences would replace one of its own that counts."""

    async def contested_to(row: Upload) -> int:
        dirty = await claimed(rig.uploads, row)
        assert dirty.placement is not None
        return dirty.placement.contested_to

    with monkeypatch.context() as other:
        other.setattr(schema, "PARTS_IN_FLIGHT", theirs)
        for name in ("create", "claim"):
            other.setitem(cast("dict[str, str]", store_module.SQL), name, schema.statements()[name])
        created = await assemblies.placed(rig, writer=new_id())
        claimed_before = await claimed(rig.uploads, await assemblies.placed(rig))
    for row in (created, claimed_before):
        assert await contested_to(row) == 1 + theirs
        now = await rig.uploads.get(row.id)
        assert now is not None
        now = await assemblies.committed(rig, now, 7 * assemblies.P)
        assert await contested_to(now) == 8 + PARTS_IN_FLIGHT, "of ours, who has claimed it since"


async def test_a_second_start_migrates_nothing(rig: PostgresRig) -> None:
    before = await rig.sql("SELECT version, applied_at FROM tuspy_migrations")
    rig.clock.advance(1)
    await rig.reopen()
    assert await rig.sql("SELECT version, applied_at FROM tuspy_migrations") == before


# --- events of several nodes --------------------------------------------------------------------------------------


async def test_an_event_that_is_committed_late_is_numbered_late_and_not_skipped(rig: PostgresRig) -> None:
    """Fault B13: two transactions take numbers 1 and 2, the second commits first."""
    connection = await asyncpg.connect(with_schema(rig.dsn))
    late = connection.transaction()
    await late.start()
    await connection.execute(
        "INSERT INTO events (id, type, upload_id, data, time) VALUES ('late', 'upload.created', 'late', '{}', now())"
    )
    early = await create(rig.uploads)
    await rig.outbox.register([A])
    assert len(await rig.outbox.relay(10)) == 1
    [seen] = await rig.outbox.events(0, 10)
    assert seen.upload_id == early.id
    await late.commit()
    await connection.close()
    assert len(await rig.outbox.relay(10)) == 1
    [next_seen] = await rig.outbox.events(seen.position or 0, 10)
    assert next_seen.upload_id == "late"
    assert len(await rig.outbox.lease(["a"], 10, 60)) == 2


async def test_a_relay_waits_for_another_and_then_sees_what_that_one_has_not_seen(rig: PostgresRig) -> None:
    """Fault B13: the lock first, then a new statement."""
    connection = await asyncpg.connect(with_schema(rig.dsn))
    first = await create(rig.uploads)
    other = connection.transaction()
    await other.start()
    assert await connection.fetchval("SELECT count(*) FROM relay_committed(10)") == 1
    relaying = asyncio.create_task(rig.outbox.relay(10))
    await until(
        lambda: connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
        )
    )
    assert list(await rig.outbox.events(0, 10)) == [], "a reader never waits"
    second = await create(rig.uploads)
    await other.commit()
    await connection.close()
    assert [event.upload_id for event in await relaying] == [second.id]
    assert [event.upload_id for event in await rig.outbox.events(0, 10)] == [first.id, second.id]


class Busy:
    """Nodes that write, relay and deliver, while their connections are killed."""

    def __init__(self, rigs: list[PostgresRig]) -> None:
        self.rigs = rigs
        self.consumers = ["a", "b"]
        self.got: list[tuple[str, str, str]] = []
        self.finished: list[str] = []
        self.killed = 0
        self.writing = True

    async def write(self, rig: PostgresRig) -> None:
        while len(self.finished) < 45:
            with suppress(TryLater):
                upload = await create(rig.uploads, writer=new_id())
                if await finish(rig.uploads, upload, 10) is not None:
                    self.finished.append(upload.id)

    async def deliver(self, rig: PostgresRig, delivery: Delivery) -> None:
        self.got.append((delivery.consumer, delivery.event.upload_id, delivery.event.type.value))
        while True:
            with suppress(TryLater):
                return await rig.outbox.delivered([delivery])
            await asyncio.sleep(0.01)

    async def relay(self, rig: PostgresRig) -> None:
        idle = False
        while self.writing or not idle:
            idle = False
            with suppress(TryLater):
                numbered = await rig.outbox.relay(3)
                leased = await rig.outbox.lease(self.consumers, 4, 60)
                for delivery in leased:
                    await self.deliver(rig, delivery)
                idle = not numbered and not leased
                idle = idle and await rig.outbox.next_due_seconds(self.consumers) is None
                rig.clock.advance(0 if leased else 10)
            await asyncio.sleep(0.001)

    async def kill(self) -> None:
        chance = random.Random(8)
        while True:
            await asyncio.sleep(chance.uniform(0.01, 0.1))
            self.killed += len(
                await self.rigs[0].sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND (query LIKE '%relay_committed%' OR query LIKE '%leased_by%' OR query LIKE '%settle_del%')"
                    " AND pid <> pg_backend_pid() LIMIT 1"
                )
            )


async def test_three_relays_at_once_lose_and_disorder_nothing(make_rig: MakeRig) -> None:
    """Fault K08, with backends that are killed at random; C06: what was leased by then comes again."""
    busy = Busy([await make_rig(connections=3, node_seconds=NODE_SECONDS) for _ in range(3)])
    await busy.rigs[0].outbox.register([A, Consumer(name="b", types=frozenset({EventType.FINISHED}), processing=True)])
    relays = [asyncio.create_task(busy.relay(rig)) for rig in busy.rigs]
    killing = asyncio.create_task(busy.kill())
    await asyncio.gather(*map(busy.write, busy.rigs))
    busy.writing = False
    await asyncio.wait_for(asyncio.gather(*relays), 60)
    killing.cancel()
    await asyncio.gather(killing, return_exceptions=True)
    assert busy.killed
    created, done, processed = (one.value for one in (EventType.CREATED, EventType.FINISHED, EventType.PROCESSED))
    for upload_id in busy.finished:
        assert [kind for who, upload, kind in busy.got if (who, upload) == ("b", upload_id)][:1] == [done]
        kinds = [kind for who, upload, kind in busy.got if (who, upload) == ("a", upload_id)]
        assert kinds == sorted(kinds), "the creation, as often as it came, before the finish"
        assert set(kinds) == {created, done, processed}
    positions = [event.position for event in await busy.rigs[0].outbox.events(0, 1000)]
    assert len(positions) == len(set(positions)) >= 135


@pytest.mark.parametrize("by_sweep", [True, False])
async def test_a_delete_behind_a_finish_is_not_settled_by_the_finishs_cleanup(
    rig: PostgresRig, *, by_sweep: bool
) -> None:
    """I8: the object must go, though the report of the earlier cleanup comes after the DELETE."""
    row = await assemblies.completing(rig, assemblies.piece(0, 10))
    done = await assemblies.finish(rig, row)
    cleanup = (await rig.uploads.cleanups(10))[0] if by_sweep else await rig.uploads.cleanup(done.id)
    assert cleanup is not None
    assert cleanup.upload.status is UploadStatus.FINISHED
    assert await terminate(rig.uploads, done) is not None
    await rig.uploads.cleaned([done.id])
    [cleanup] = await rig.uploads.cleanups(10)
    assert cleanup.upload.status is UploadStatus.TERMINATED
    await rig.uploads.cleaned([done.id])
    assert list(await rig.uploads.cleanups(10)) == []


async def test_an_event_that_cannot_be_written_takes_its_change_back(rig: PostgresRig) -> None:
    """I6: one statement, one transaction."""
    row = await claimed(rig.uploads, await create(rig.uploads))
    twice = draft(EventType.CREATED, row.id)
    with pytest.raises(asyncpg.UniqueViolationError):
        await rig.uploads.finish(commit(row, 10, release=True), twice)
    assert await rig.uploads.get(row.id) == row

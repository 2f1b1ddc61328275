"""The outbox under trouble: answers that are lost, calls that meet, nodes of the version before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.contracts.rows import create, finished, terminate
from tests.stores.postgres.proxy import EXECUTED, PostgresProxy
from tests.stores.postgres.rigs import MakeRig, PostgresRig, until, with_schema
from tuspy_server.model import EventType, Processing, Upload
from tuspy_server.ports import Consumer, DeliveryFilter, DeliveryStatus, EventFilter
from tuspy_server.protocol.errors import StoreUnavailable
from tuspy_server.stores.postgres import outbox as outbox_module

ALL = frozenset(EventType)
A = Consumer(name="a", types=ALL)
LONG = 10_000.0
"""Of a lease that must not end by itself."""


async def relayed(rig: PostgresRig) -> None:
    while await rig.outbox.relay(100):
        pass


async def processed_by(rig: PostgresRig, *names: str) -> Upload:
    """A finished upload, and its deliveries made."""
    wants = frozenset({EventType.FINISHED})
    await rig.outbox.register([Consumer(name=name, types=wants, processing=True) for name in names])
    done = await finished(rig.uploads)
    await relayed(rig)
    return done


async def processing_of(rig: PostgresRig, upload: Upload) -> Processing | None:
    row = await rig.uploads.get(upload.id)
    assert row is not None
    return row.processing


async def types_of(rig: PostgresRig, upload: Upload) -> list[str]:
    rows = await rig.sql("SELECT type FROM events WHERE upload_id = $1 ORDER BY number", upload.id)
    return [row["type"] for row in rows]


async def locks_are_waited_for(rig: PostgresRig, count: int = 1) -> None:
    async def waiting() -> bool:
        [row] = await rig.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(row[0] >= count)

    await until(waiting)


# --- lost answers -------------------------------------------------------------------------------------------------


async def test_what_a_lost_answer_has_leased_is_leased_again_at_once(make_rig: MakeRig, postgres_dsn: str) -> None:
    """Fault B02: the lease was committed, its answer never came. It counts as no attempt."""
    async with PostgresProxy(postgres_dsn) as proxy:
        rig = await make_rig(through=proxy.dsn, connections=1, node_seconds=1000)
        other = await make_rig(node_seconds=1000)
        upload = await create(rig.uploads)
        await rig.outbox.register([A])
        await relayed(rig)
        assert await rig.outbox.next_due_seconds(["a"]) == 0
        await rig.outbox.lease(["b"], 1, LONG)  # prepared
        await lose_the_answer(proxy, lambda: rig.outbox.lease(["a"], 10, LONG))
        assert list(await other.outbox.lease(["a"], 10, LONG)) == [], "it has been leased"
        [delivery] = await rig.outbox.lease(["a"], 10, LONG)
        assert (delivery.event.upload_id, delivery.attempt) == (upload.id, 1)
        assert list(await rig.outbox.lease(["a"], 10, LONG)) == [], "once"
        await rig.stop()


async def lose_the_answer(proxy: PostgresProxy, call: Callable[[], Awaitable[object]]) -> None:
    proxy.cut_at = EXECUTED
    with pytest.raises(StoreUnavailable):
        await call()


async def test_what_a_cancelled_call_has_leased_is_leased_again_at_once(rig: PostgresRig) -> None:
    await create(rig.uploads)
    await rig.outbox.register([A])
    await relayed(rig)
    connection = await asyncpg.connect(with_schema(rig.dsn))
    async with connection.transaction():
        await connection.execute("LOCK TABLE deliveries IN EXCLUSIVE MODE")
        leasing = asyncio.create_task(rig.outbox.lease(["a"], 10, LONG))
        await locks_are_waited_for(rig)
        leasing.cancel()
        await asyncio.wait([leasing])
        assert leasing.cancelled()
    await connection.close()

    async def is_leased() -> bool:
        return bool(await rig.sql("SELECT FROM deliveries WHERE leased_by IS NOT NULL"))

    await until(is_leased)
    assert len(await rig.outbox.lease(["a"], 10, LONG)) == 1


async def test_an_answer_that_is_lost_for_ever_is_not_asked_for_for_ever(rig: PostgresRig) -> None:
    rig.outbox._lost["token"] = (["a"], 0.0)
    await rig.outbox.lease(["a"], 10, LONG)
    assert rig.outbox._lost == {}


# --- processing ---------------------------------------------------------------------------------------------------


async def test_two_that_settle_the_last_two_deliveries_at_once_tell_it_once(make_rig: MakeRig) -> None:
    """Both see the other's as waiting until they hold the upload's row."""
    rig = await make_rig(connections=6)
    done = await processed_by(rig, "a", "b")
    [one], [two] = [list(await rig.outbox.lease([name], 10, LONG)) for name in "ab"]
    connection = await asyncpg.connect(with_schema(rig.dsn))
    async with connection.transaction():
        await connection.execute("SELECT FROM uploads WHERE id = $1 FOR UPDATE", done.id)
        settling = [asyncio.create_task(rig.outbox.delivered([each])) for each in (one, two)]
        await locks_are_waited_for(rig, 2)
        assert await processing_of(rig, done) is Processing.WAITING
    await connection.close()
    await asyncio.gather(*settling)
    assert await processing_of(rig, done) is Processing.DONE
    assert await types_of(rig, done) == ["upload.created", "upload.finished", "upload.processed"]


async def test_settling_in_opposite_orders_waits_in_no_circle(make_rig: MakeRig) -> None:
    rig = await make_rig(connections=6)
    uploads = [await processed_by(rig, "a", "b") for _ in range(10)]
    given = [list(await rig.outbox.lease([name], 100, LONG)) for name in "ab"]
    for _ in range(5):
        await asyncio.gather(
            *(rig.outbox.delivered(order) for each in given for order in (each, each[::-1])),
        )
    assert {await processing_of(rig, upload) for upload in uploads} == {Processing.DONE}


async def test_a_consumer_that_is_disabled_while_a_relay_is_under_way_keeps_no_delivery(make_rig: MakeRig) -> None:
    """The relay has read that it is there, and commits after it is gone."""
    rig = await make_rig(connections=6)
    await processed_by(rig, "a")
    done = await finished(rig.uploads)
    connection = await asyncpg.connect(with_schema(rig.dsn))
    async with connection.transaction():
        assert await connection.fetchval("SELECT count(*) FROM relay_committed(10)") == 2
        disabling = asyncio.create_task(rig.outbox.disable("a", "gone"))
        await locks_are_waited_for(rig)
    await connection.close()
    await disabling
    assert list(await rig.outbox.deliveries(DeliveryFilter(status=DeliveryStatus.WAITING), 10)) == []
    assert await processing_of(rig, done) is Processing.FAILED


async def test_disabling_one_that_has_much_waiting_takes_several_steps(
    rig: PostgresRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "BURIED_AT_ONCE", 2)
    uploads = [await processed_by(rig, "a") for _ in range(5)]
    await rig.outbox.disable("a", "gone")
    assert {await processing_of(rig, upload) for upload in uploads} == {Processing.FAILED}
    assert len(await rig.outbox.deliveries(DeliveryFilter(status=DeliveryStatus.DEAD), 10)) == 5


async def test_a_kill_in_the_middle_of_disabling_is_made_up_for(rig: PostgresRig) -> None:
    """Fault C12: by the sweeper."""
    done = await processed_by(rig, "a")
    await rig.sql("UPDATE consumers SET disabled_reason = 'gone'")
    assert list(await rig.outbox.lease(["a"], 10, LONG)) == []
    assert await rig.outbox.next_due_seconds(["a"]) is None
    assert await rig.outbox.forget_consumers(LONG) == 0
    assert await processing_of(rig, done) is Processing.FAILED


async def test_a_consumer_that_comes_back_while_it_is_forgotten_is_known(make_rig: MakeRig) -> None:
    """I6: its process does not register it again soon, and nothing that is numbered meanwhile would come to it."""
    rig = await make_rig(connections=6)
    await processed_by(rig, "a")
    rig.clock.advance(1000)
    await rig.outbox.consumers()  # sets the clock
    connection = await asyncpg.connect(with_schema(rig.dsn))
    async with connection.transaction():
        await connection.execute("UPDATE consumers SET seen_at = now()")  # as `register` does
        forgetting = asyncio.create_task(rig.outbox.forget_consumers(500))
        await locks_are_waited_for(rig)
    await connection.close()
    assert await forgetting == 0
    [known] = await rig.outbox.consumers()
    assert known.disabled_reason is None
    assert len(await rig.outbox.lease(["a"], 10, LONG)) == 1


async def test_a_consumer_that_was_half_forgotten_is_new_when_it_is_registered(rig: PostgresRig) -> None:
    """Fault C12: as if it had been forgotten, and not disabled for ever."""
    done = await processed_by(rig, "a")
    await rig.sql("UPDATE consumers SET disabled_reason = 'unregistered'")
    await rig.outbox.register([A])
    [known] = await rig.outbox.consumers()
    assert known.disabled_reason is None
    [waiting] = await rig.outbox.lease(["a"], 10, LONG)
    assert waiting.event.upload_id == done.id


async def test_a_replay_of_what_is_purged_leaves_nothing_that_waits_for_ever(make_rig: MakeRig) -> None:
    """I12: a delivery without its event could never be handed out, and all of its upload would wait behind it."""
    rig = await make_rig(connections=6)
    await rig.outbox.register([A])
    upload = await create(rig.uploads)
    await relayed(rig)
    await rig.sql("DELETE FROM deliveries")
    rig.clock.advance(1000)
    await rig.outbox.consumers()  # sets the clock
    connection = await asyncpg.connect(with_schema(rig.dsn))
    async with connection.transaction():
        await connection.execute("DELETE FROM events")  # as `purge` does, which has not seen the replay
        replaying = asyncio.create_task(rig.outbox.replay("a", 0, None, EventFilter()))
        await asyncio.wait([replaying], timeout=0.5)
    await connection.close()
    await replaying
    await terminate(rig.uploads, upload)
    await relayed(rig)
    assert await rig.outbox.lease(["a"], 10, LONG) == []
    [next_one] = await rig.outbox.lease(["a"], 10, LONG)
    assert next_one.event.type is EventType.TERMINATED


# --- readers ------------------------------------------------------------------------------------------------------


async def test_the_last_position_is_one_that_readers_have_seen(rig: PostgresRig) -> None:
    """Fault B13: else a reader that begins there would skip what a relay under way is about to number."""
    assert await rig.outbox.last_position() == 0
    upload = await create(rig.uploads)
    connection = await asyncpg.connect(with_schema(rig.dsn))
    async with connection.transaction():
        assert await connection.fetchval("SELECT count(*) FROM relay_committed(10)") == 1
        asking = asyncio.create_task(rig.outbox.last_position())
        await locks_are_waited_for(rig)
    assert await asking == 1, "it has waited"
    second = await create(rig.uploads)
    async with connection.transaction():
        assert await connection.fetchval("SELECT count(*) FROM relay_committed(10)") == 1
        asking = asyncio.create_task(rig.outbox.last_position())
        await locks_are_waited_for(rig)
    await connection.close()
    assert await asking == 2
    assert [event.upload_id for event in await rig.outbox.events(1, 10)] == [second.id]
    await rig.sql("DELETE FROM events")
    assert await rig.outbox.last_position() == 2
    assert upload.id != second.id


async def test_a_node_of_the_version_before_relays_beside_this_one(rig: PostgresRig) -> None:
    """C14, I6: what either numbers goes to the consumers of both, and processing ends."""
    wants = frozenset({EventType.FINISHED})
    await rig.outbox.register([Consumer(name="a", types=wants, processing=True)])
    first = await finished(rig.uploads)
    [row] = await rig.sql("SELECT relay_events('{old}', '{upload.finished}', 10)")
    assert row[0] == 2
    second = await finished(rig.uploads)
    await relayed(rig)
    for name in ("a", "old"):
        leased = await rig.outbox.lease([name], 10, LONG)
        assert [delivery.event.upload_id for delivery in leased] == [first.id, second.id]
        await rig.outbox.delivered(leased)
    [row] = await rig.sql("SELECT relay_events('{old,old}', '{upload.created,upload.finished}', 10)")
    assert row[0] == 2
    for upload in (first, second):
        assert await processing_of(rig, upload) is Processing.DONE


# --- much ---------------------------------------------------------------------------------------------------------


async def test_many_deliveries_are_settled_by_one_statement(make_rig: MakeRig) -> None:
    rig = await make_rig(connections=1, node_seconds=1000)
    for _ in range(50):
        await create(rig.uploads)
    await rig.outbox.register([A])
    await relayed(rig)
    first, *leased = await rig.outbox.lease(["a"], 100, LONG)
    await rig.outbox.delivered([first])  # prepared
    told: list[str] = []

    async def watch(connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
        connection.add_query_logger(lambda record: told.append(record.query))

    await rig.pool.run(watch)
    await rig.outbox.delivered(leased)
    assert len(leased) == 49
    assert len(told) == 1
    assert len(await rig.outbox.deliveries(DeliveryFilter(status=DeliveryStatus.DELIVERED), 100)) == 50

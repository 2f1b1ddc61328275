"""`ports.Outbox`. A suite that every adapter passes."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests.contracts.rig import StoreRig
from tests.contracts.rows import create, finished, terminate
from tuspy_server.model import EventType, event_id
from tuspy_server.ports import Consumer, Delivery, EventFilter

LEASE = 60.0


def consumer(name: str, *wanted: EventType, processing: bool = False) -> Consumer:
    """Wants everything where nothing is named."""
    return Consumer(name=name, types=frozenset(wanted) or frozenset(EventType), processing=processing)


async def relay(rig: StoreRig, *consumers: str | Consumer) -> None:
    """Number what there is, for these and all that are registered already."""
    await rig.outbox.register([consumer(each) if isinstance(each, str) else each for each in consumers])
    while await rig.outbox.relay(100):
        pass


async def lease(rig: StoreRig, *consumers: str, limit: int = 100) -> list[Delivery]:
    return list(await rig.outbox.lease(consumers, limit, LEASE))


def types(deliveries: list[Delivery]) -> list[EventType]:
    return [delivery.event.type for delivery in deliveries]


class OutboxContract:
    """Subclasses give a started `rig`."""

    # --- relay and events ----------------------------------------------------------------------------------------

    async def test_events_are_numbered_in_the_order_of_their_commits(self, rig: StoreRig) -> None:
        uploads = [await create(rig.uploads) for _ in range(5)]
        numbered = [await rig.outbox.relay(3) for _ in range(3)]
        assert [len(batch) for batch in numbered] == [3, 2, 0]
        events = await rig.outbox.events(0, 100)
        assert [event for batch in numbered for event in batch] == list(events)
        assert await rig.outbox.relay(2, events[1].position) == events[2:4], "whoever has numbered them"
        assert not await rig.outbox.relay(2, events[-1].position)
        late = await create(rig.uploads)
        [told] = await rig.outbox.relay(2, 10**6)
        assert told.upload_id == late.id, "a reader of another log: what is numbered is told all the same"
        assert [event.upload_id for event in events] == [upload.id for upload in uploads]
        positions = [event.position or 0 for event in events]
        assert positions == sorted(set(positions))
        assert positions[0] >= 1

    async def test_a_reader_sees_the_events_after_its_position_up_to_its_limit(self, rig: StoreRig) -> None:
        for _ in range(5):
            await create(rig.uploads)
        await relay(rig)
        everything = list(await rig.outbox.events(0, 100))
        second = everything[1].position
        assert second is not None
        assert list(await rig.outbox.events(second, 2)) == everything[2:4]
        assert list(await rig.outbox.events(everything[-1].position or 0, 2)) == []

    async def test_no_reader_skips_an_event_whenever_it_was_committed(self, rig: StoreRig) -> None:
        """Fault B13: a cursor over numbered events meets each of them once, beside writers at work."""
        seen: list[str] = []
        cursor = 0
        writers = [asyncio.create_task(_create_some(rig, 10)) for _ in range(4)]
        while not all(task.done() for task in writers) or await rig.outbox.relay(7):
            await rig.outbox.relay(7)
            for event in await rig.outbox.events(cursor, 3):
                cursor = event.position or 0
                seen.append(event.upload_id)
            await asyncio.sleep(0)
        while events := await rig.outbox.events(cursor, 100):
            cursor = events[-1].position or 0
            seen.extend(event.upload_id for event in events)
        assert sorted(seen) == sorted([upload_id for task in writers for upload_id in task.result()])

    async def test_an_event_keeps_its_facts(self, rig: StoreRig) -> None:
        done = await finished(rig.uploads)
        await relay(rig, "a")
        [_, event] = await rig.outbox.events(0, 10)
        assert event.id == event_id(done.id, EventType.FINISHED)
        assert (event.type, event.upload_id, event.time) == (EventType.FINISHED, done.id, done.ended_at)
        assert dict(event.data) == {"upload_id": done.id}
        [created] = await lease(rig, "a")
        await rig.outbox.delivered([created])
        [delivery] = await lease(rig, "a")
        assert delivery.event == event

    async def test_each_consumer_gets_the_types_that_it_wants(self, rig: StoreRig) -> None:
        await finished(rig.uploads)
        nothing = Consumer(name="c", types=frozenset())
        await relay(rig, consumer("a", EventType.FINISHED), consumer("b", EventType.CREATED), nothing)
        assert types(await lease(rig, "a")) == [EventType.FINISHED]
        assert types(await lease(rig, "b")) == [EventType.CREATED]
        assert types(await lease(rig, "c")) == []

    async def test_a_relayed_event_makes_no_second_delivery(self, rig: StoreRig) -> None:
        await create(rig.uploads)
        await relay(rig, "a")
        await relay(rig, "a", "b")
        assert len(await lease(rig, "a")) == 1
        assert await lease(rig, "b") == []

    # --- lease ---------------------------------------------------------------------------------------------------

    async def test_a_leased_delivery_is_hidden_until_its_lease_ends(self, rig: StoreRig) -> None:
        """Faults C06, K08: what a lost relay had leased comes again."""
        await create(rig.uploads)
        await relay(rig, "a")
        [first] = await lease(rig, "a")
        rig.clock.advance(LEASE - 0.1)
        assert await lease(rig, "a") == []
        rig.clock.advance(0.1)
        [again] = await lease(rig, "a")
        assert (first.attempt, again.attempt) == (1, 2)
        assert again.event == first.event

    async def test_leases_at_once_share_nothing(self, rig: StoreRig) -> None:
        """Fault K08."""
        for _ in range(30):
            await create(rig.uploads)
        await relay(rig, "a")
        leases = await asyncio.gather(*(lease(rig, "a", limit=7) for _ in range(6)))
        ids = [delivery.event.id for leased in leases for delivery in leased]
        assert len(ids) == len(set(ids)) == 30

    async def test_a_lease_keeps_to_its_limit_oldest_first(self, rig: StoreRig) -> None:
        ids = []
        for _ in range(5):
            ids.append((await create(rig.uploads)).id)
            await relay(rig, "a")
            rig.clock.advance(1)
        assert [delivery.event.upload_id for delivery in await lease(rig, "a", limit=2)] == ids[:2]
        assert [delivery.event.upload_id for delivery in await lease(rig, "a", limit=9)] == ids[2:]

    async def test_a_lease_is_for_the_named_consumers_alone(self, rig: StoreRig) -> None:
        await create(rig.uploads)
        await relay(rig, "a", "b", "c")
        assert [delivery.consumer for delivery in await lease(rig, "a", "b")] == ["a", "b"]
        assert [delivery.consumer for delivery in await lease(rig, "b", "c")] == ["c"]
        assert await lease(rig) == []

    @pytest.mark.parametrize("settled", ["delivered", "bury"])
    async def test_events_of_one_upload_come_to_one_consumer_in_their_order(self, rig: StoreRig, settled: str) -> None:
        upload, other = await create(rig.uploads), await create(rig.uploads)
        await terminate(rig.uploads, upload)
        await relay(rig, "a", "b")
        created, beside = await lease(rig, "a")
        assert (created.event.upload_id, beside.event.upload_id) == (upload.id, other.id)
        await rig.outbox.retry(created, 5, "no")
        assert await lease(rig, "a") == [], "the later one waits for the earlier one's next attempt"
        rig.clock.advance(5)
        [created] = await lease(rig, "a")
        await (rig.outbox.delivered([created]) if settled == "delivered" else rig.outbox.bury(created, "no"))
        assert types(await lease(rig, "a")) == [EventType.TERMINATED]
        assert types(await lease(rig, "b")) == [EventType.CREATED] * 2, "one consumer's trouble is not another's"

    # --- settling ------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("settled", ["delivered", "bury"])
    async def test_what_is_delivered_or_buried_is_not_handed_out_again(self, rig: StoreRig, settled: str) -> None:
        """Fault B14."""
        await create(rig.uploads)
        await relay(rig, "a")
        [delivery] = await lease(rig, "a")
        await (rig.outbox.delivered([delivery]) if settled == "delivered" else rig.outbox.bury(delivery, "no"))
        rig.clock.advance(10**6)
        assert await lease(rig, "a") == []
        assert await rig.outbox.next_due_seconds(["a"]) is None

    async def test_a_retry_comes_after_its_delay_with_the_next_attempt(self, rig: StoreRig) -> None:
        await create(rig.uploads)
        await relay(rig, "a")
        attempts = []
        for _ in range(3):
            [delivery] = await lease(rig, "a")
            attempts.append(delivery.attempt)
            await rig.outbox.retry(delivery, 8, "no")
            rig.clock.advance(7.9)
            assert await lease(rig, "a") == []
            rig.clock.advance(0.1)
        assert attempts == [1, 2, 3]

    async def test_a_delivery_tells_for_how_long_it_has_been_tried(self, rig: StoreRig) -> None:
        await create(rig.uploads)
        await relay(rig, "a")
        rig.clock.advance(100)
        tried = []
        for _ in range(3):
            [delivery] = await lease(rig, "a")
            tried.append(delivery.tried_seconds)
            await rig.outbox.retry(delivery, 8, "no")
            rig.clock.advance(8)
        assert tried == [0, 8, 16]
        await rig.outbox.replay("a", 0, None, EventFilter())
        assert [delivery.tried_seconds for delivery in await lease(rig, "a")] == [24], "it waited: nothing is new"

    async def test_a_late_retry_does_not_bring_back_what_is_delivered(self, rig: StoreRig) -> None:
        """A lease ran out, another relay delivered, then the first one reports its failure."""
        await create(rig.uploads)
        await relay(rig, "a")
        [late] = await lease(rig, "a")
        rig.clock.advance(LEASE)
        [delivery] = await lease(rig, "a")
        await rig.outbox.delivered([delivery])
        await rig.outbox.retry(late, 0, "no")
        rig.clock.advance(10**6)
        assert await lease(rig, "a") == []

    async def test_next_due_says_when_the_next_lease_can_return_something(self, rig: StoreRig) -> None:
        assert await rig.outbox.next_due_seconds(["a"]) is None
        upload = await create(rig.uploads)
        await terminate(rig.uploads, upload)
        await relay(rig, "a")
        due = await rig.outbox.next_due_seconds(["a"])
        assert due is not None
        assert due <= 0
        [delivery] = await lease(rig, "a")
        assert await rig.outbox.next_due_seconds(["a"]) == LEASE, "the later event waits for the earlier one"
        await rig.outbox.retry(delivery, 5, "no")
        assert await rig.outbox.next_due_seconds(["a"]) == 5
        assert await rig.outbox.next_due_seconds(["b"]) is None

    # --- purge and restart ---------------------------------------------------------------------------------------

    async def test_events_that_a_delivery_waits_for_are_not_purged(self, rig: StoreRig) -> None:
        """I6."""
        upload = await create(rig.uploads)
        await relay(rig, "a", "b")
        await rig.outbox.delivered(await lease(rig, "a"))
        rig.clock.advance(1000)
        assert await _purge_events(rig) == 0
        [delivery] = await lease(rig, "b")
        assert delivery.event.upload_id == upload.id
        await rig.outbox.bury(delivery, "no")
        assert await _purge_events(rig) == 1
        assert list(await rig.outbox.events(0, 10)) == []

    async def test_events_that_wait_for_ever_do_not_keep_the_others(self, rig: StoreRig) -> None:
        """Fault B14: the table stays bounded though a consumer never comes for its deliveries."""
        uploads = [await create(rig.uploads) for _ in range(5)]
        await relay(rig, consumer("gone", EventType.CREATED))
        for upload in uploads:
            await terminate(rig.uploads, upload)
        await relay(rig, consumer("a", EventType.TERMINATED))
        await rig.outbox.delivered(await lease(rig, "a"))
        rig.clock.advance(1000)
        purged = 0
        while count := await _purge_events(rig, limit=2):
            purged += count
        assert purged == 5

    async def test_a_restart_hands_out_at_once_what_was_on_its_way(self, rig: StoreRig) -> None:
        """Faults C06, C07: the same event, with the same id."""
        await create(rig.uploads)
        await relay(rig, "a")
        [before] = await lease(rig, "a")
        await rig.reopen()
        [after] = await lease(rig, "a")
        assert after.event == before.event
        assert after.attempt == 2

    async def test_positions_go_on_after_a_purge_and_a_restart(self, rig: StoreRig) -> None:
        await create(rig.uploads)
        await relay(rig)
        [old] = await rig.outbox.events(0, 10)
        rig.clock.advance(1000)
        assert await _purge_events(rig) == 1
        await rig.reopen()
        rig.clock.advance(1)
        await create(rig.uploads)
        await relay(rig)
        [new] = await rig.outbox.events(0, 10)
        assert (new.position or 0) > (old.position or 0), "a reader's cursor never meets its position again"
        assert new.time - old.time == timedelta(seconds=1001)


async def _create_some(rig: StoreRig, count: int) -> list[str]:
    return [(await create(rig.uploads)).id for _ in range(count)]


async def _purge_events(rig: StoreRig, limit: int = 100) -> int:
    return await rig.uploads.purge(gone_seconds=10**9, event_seconds=100, limit=limit)

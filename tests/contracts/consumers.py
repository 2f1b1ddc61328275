"""`ports.Outbox`: who gets events, and how people steer that. A suite that every adapter passes."""

from __future__ import annotations

import pytest

from tests.contracts.outbox import consumer, lease, relay, types
from tests.contracts.rig import StoreRig
from tests.contracts.rows import create, finished, terminate
from tuspy_server.model import EventType
from tuspy_server.ports import DeliveryFilter, DeliveryStatus, EventFilter

ALL = DeliveryFilter()
EVERY_EVENT = EventFilter()


async def names(rig: StoreRig) -> list[str]:
    return [known.consumer.name for known in await rig.outbox.consumers()]


async def statuses(rig: StoreRig, only: DeliveryFilter = ALL) -> list[tuple[str, DeliveryStatus]]:
    return [(record.consumer, record.status) for record in await rig.outbox.deliveries(only, 100)]


class ConsumersContract:
    """Subclasses give a started `rig`."""

    # --- known, disabled, forgotten ------------------------------------------------------------------------------

    async def test_a_consumer_is_known_as_it_was_registered_last(self, rig: StoreRig) -> None:
        first = rig.clock.now()
        await rig.outbox.register([consumer("b", EventType.CREATED), consumer("a", processing=True)])
        rig.clock.advance(5)
        changed = consumer("b", EventType.FINISHED, EventType.FAILED, processing=True)
        await rig.outbox.register([changed])
        a, b = await rig.outbox.consumers()
        assert (a.consumer, a.seen_at, a.disabled_reason) == (consumer("a", processing=True), first, None)
        assert (b.consumer, b.registered_at, b.seen_at) == (changed, first, rig.clock.now())
        await rig.reopen()
        assert list(await rig.outbox.consumers()) == [a, b]

    async def test_a_consumer_gets_what_is_numbered_after_it_registered(self, rig: StoreRig) -> None:
        """Whichever process numbers."""
        await create(rig.uploads)
        await relay(rig, "early")
        await create(rig.uploads)
        await relay(rig, "late")
        assert len(await lease(rig, "early")) == 2
        assert len(await lease(rig, "late")) == 1

    async def test_a_disabled_consumer_gets_nothing_until_it_is_enabled(self, rig: StoreRig) -> None:
        await create(rig.uploads)
        await relay(rig, "a", "b")
        await rig.outbox.disable("a", "410")
        await rig.outbox.disable("unknown", "410")
        await rig.outbox.register([consumer("a")])
        [a, b] = await rig.outbox.consumers()
        assert (a.disabled_reason, b.disabled_reason) == ("410", None)
        assert await lease(rig, "a") == []
        assert await rig.outbox.next_due_seconds(["a"]) is None
        await create(rig.uploads)
        await relay(rig)
        assert await lease(rig, "a") == []
        [record] = await rig.outbox.deliveries(DeliveryFilter(consumer="a"), 100)
        assert (record.status, record.error) == (DeliveryStatus.DEAD, "410")
        assert await rig.outbox.enable("a") is True
        assert await rig.outbox.enable("unknown") is False
        third = await create(rig.uploads)
        await relay(rig)
        assert [delivery.event.upload_id for delivery in await lease(rig, "a")] == [third.id]
        assert len(await lease(rig, "b")) == 3

    async def test_an_unregistered_consumer_is_forgotten_and_what_waits_for_it_is_dead(self, rig: StoreRig) -> None:
        await create(rig.uploads)
        await relay(rig, "a", "b")
        assert await rig.outbox.unregister("a") is True
        assert await rig.outbox.unregister("a") is False
        assert await names(rig) == ["b"]
        assert await statuses(rig) == [("a", DeliveryStatus.DEAD), ("b", DeliveryStatus.WAITING)]
        await create(rig.uploads)
        await relay(rig)
        assert await lease(rig, "a") == []
        assert len(await lease(rig, "b")) == 2

    async def test_those_that_nobody_registers_any_more_are_forgotten(self, rig: StoreRig) -> None:
        """Fault B14: else the events of a consumer that was removed are kept for ever."""
        await rig.outbox.register([consumer("old"), consumer("new")])
        rig.clock.advance(60)
        await rig.outbox.register([consumer("new")])
        rig.clock.advance(40)
        assert await rig.outbox.forget_consumers(101) == 0
        assert await rig.outbox.forget_consumers(100) == 1
        assert await names(rig) == ["new"]

    # --- deliveries, as people see them --------------------------------------------------------------------------

    async def test_deliveries_are_listed_newest_first_by_what_is_asked(self, rig: StoreRig) -> None:
        first, second = await create(rig.uploads), await create(rig.uploads)
        await relay(rig, "a", "b")
        for_first, for_second = await lease(rig, "a")
        await rig.outbox.bury(for_first, "no")
        await rig.outbox.retry(for_second, 60, "later")
        records = list(await rig.outbox.deliveries(ALL, 100))
        assert [record.event.upload_id for record in records] == [second.id] * 2 + [first.id] * 2
        assert list(await rig.outbox.deliveries(ALL, 3)) == records[:3]
        [waiting] = await rig.outbox.deliveries(DeliveryFilter(consumer="a", upload_id=second.id), 100)
        assert (waiting.status, waiting.attempts, waiting.error) == (DeliveryStatus.WAITING, 1, "later")
        assert (waiting.due_at - rig.clock.now()).total_seconds() == 60
        [dead] = await rig.outbox.deliveries(DeliveryFilter(status=DeliveryStatus.DEAD), 100)
        assert (dead.event, dead.attempts, dead.error) == (for_first.event, 1, "no")
        assert await statuses(rig, DeliveryFilter(event_id=for_first.event.id)) == [
            ("a", DeliveryStatus.DEAD),
            ("b", DeliveryStatus.WAITING),
        ]

    async def test_what_is_left_to_do_is_counted_as_far_as_is_asked(self, rig: StoreRig) -> None:
        for _ in range(2):
            await create(rig.uploads)
        rig.clock.advance(60)
        before = await rig.outbox.backlog(100)
        assert (before.waiting, before.dead, before.lag_seconds) == (0, 0, 60)
        await relay(rig, "a", "b")
        dead, delivered = await lease(rig, "a")
        await rig.outbox.bury(dead, "no")
        await rig.outbox.delivered([delivered])
        after = await rig.outbox.backlog(100)
        assert (after.waiting, after.dead, after.lag_seconds) == (2, 1, 0)
        assert (await rig.outbox.backlog(1)).waiting == 1

    async def test_what_is_dead_is_tried_anew_when_told(self, rig: StoreRig) -> None:
        await create(rig.uploads)
        await relay(rig, "a", "b")
        [dead] = await lease(rig, "a")
        await rig.outbox.bury(dead, "no")
        rig.clock.advance(60)
        assert await rig.outbox.retry_now(DeliveryFilter(status=DeliveryStatus.DEAD, consumer="b")) == 0
        assert await rig.outbox.retry_now(DeliveryFilter(event_id="another")) == 0
        assert await rig.outbox.retry_now(DeliveryFilter(status=DeliveryStatus.DEAD)) == 1
        [again] = await lease(rig, "a")
        assert (again.event, again.attempt, again.tried_seconds) == (dead.event, 1, 0.0)

    async def test_what_waits_for_its_next_attempt_is_due_when_told(self, rig: StoreRig) -> None:
        await create(rig.uploads)
        await relay(rig, "a")
        [delivery] = await lease(rig, "a")
        await rig.outbox.retry(delivery, 1000, "no")
        assert await rig.outbox.retry_now(ALL) == 1
        [again] = await lease(rig, "a")
        assert again.attempt == 2
        await rig.outbox.delivered([again])
        assert await rig.outbox.retry_now(ALL) == 0
        assert await rig.outbox.retry_now(DeliveryFilter(status=DeliveryStatus.DELIVERED)) == 0

    async def test_what_is_on_its_way_stays_so_when_all_is_to_be_tried_now(self, rig: StoreRig) -> None:
        """Else it would be delivered twice at once, and the next event of its upload beside it."""
        await create(rig.uploads)
        await relay(rig, "a")
        [delivery] = await lease(rig, "a")
        assert await rig.outbox.retry_now(ALL) == 0
        assert await lease(rig, "a") == []
        await rig.outbox.delivered([delivery])
        assert await statuses(rig) == [("a", DeliveryStatus.DELIVERED)]

    @pytest.mark.parametrize("gone", ["disabled", "unregistered"])
    async def test_nothing_is_brought_back_for_a_consumer_that_gets_nothing(self, rig: StoreRig, gone: str) -> None:
        await create(rig.uploads)
        await relay(rig, "a")
        await (rig.outbox.disable("a", "no") if gone == "disabled" else rig.outbox.unregister("a"))
        assert await rig.outbox.retry_now(ALL) == 0
        assert await rig.outbox.replay("a", 0, None, EVERY_EVENT) == 0
        assert await statuses(rig) == [("a", DeliveryStatus.DEAD)]

    # --- replay --------------------------------------------------------------------------------------------------

    async def test_a_replay_delivers_again_and_for_the_first_time(self, rig: StoreRig) -> None:
        upload = await create(rig.uploads)
        await relay(rig, "a")
        [first] = await lease(rig, "a")
        await rig.outbox.delivered([first])
        await terminate(rig.uploads, upload)
        await relay(rig)
        await rig.outbox.register([consumer("new", EventType.TERMINATED)])
        assert await rig.outbox.replay("a", 0, None, EVERY_EVENT) == 1, "the second waits already"
        assert types(await lease(rig, "a")) == [EventType.CREATED], "in the order of the upload's events"
        assert await rig.outbox.replay("new", 0, None, EVERY_EVENT) == 1
        assert types(await lease(rig, "new")) == [EventType.TERMINATED]

    async def test_a_replay_keeps_to_its_ends_and_its_filter(self, rig: StoreRig) -> None:
        uploads = [await finished(rig.uploads) for _ in range(3)]
        await relay(rig)
        await rig.outbox.register([consumer("a")])
        events = await rig.outbox.events(0, 100)
        second, third = events[1].position, events[2].position
        assert second is not None
        assert await rig.outbox.replay("a", second, third, EVERY_EVENT) == 1
        assert await rig.outbox.replay("a", 0, None, EventFilter(upload_id=uploads[2].id)) == 2
        assert await rig.outbox.replay("a", 0, None, EventFilter(types=frozenset({EventType.FINISHED}))) == 2
        assert len(await rig.outbox.deliveries(ALL, 100)) == 5

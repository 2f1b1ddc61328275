"""`ports.Outbox`: what becomes of a finished upload with those who process it. A suite that every adapter passes."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.outbox import consumer, lease, relay
from tests.contracts.rig import StoreRig
from tests.contracts.rows import event_types, finished, terminate
from tuspy_server.model import EventType, Processing, Upload, event_id
from tuspy_server.ports import Delivery, DeliveryFilter, EventFilter

A = consumer("a", EventType.FINISHED, processing=True)
B = consumer("b", EventType.FINISHED, processing=True)
CREATED, FINISHED = EventType.CREATED, EventType.FINISHED
PROCESSED, PROCESSING_FAILED = EventType.PROCESSED, EventType.PROCESSING_FAILED


async def processing(rig: StoreRig, upload: Upload) -> Processing | None:
    row = await rig.uploads.get(upload.id)
    assert row is not None
    return row.processing


async def leased(rig: StoreRig, name: str) -> Delivery:
    [delivery] = await lease(rig, name)
    return delivery


class ProcessingContract:
    """Subclasses give a started `rig`."""

    async def test_nobody_processes_where_nobody_says_so(self, rig: StoreRig) -> None:
        wanting_other = consumer("c", EventType.CREATED, processing=True)
        await rig.outbox.register([consumer("plain"), wanting_other, consumer("off", FINISHED, processing=True)])
        await rig.outbox.disable("off", "no")
        done = await finished(rig.uploads)
        assert done.processing is None
        await relay(rig)
        for name in ("plain", "c"):
            while deliveries := await lease(rig, name):
                await rig.outbox.delivered(deliveries)
        assert await event_types(rig.outbox, done.id) == [CREATED, FINISHED]
        assert await processing(rig, done) is None

    async def test_a_finish_waits_for_all_who_process_it(self, rig: StoreRig) -> None:
        await rig.outbox.register([A, B, consumer("plain", FINISHED)])
        done = await finished(rig.uploads, tenant="t")
        assert done.processing is Processing.WAITING
        assert await processing(rig, done) is Processing.WAITING
        await relay(rig)
        await rig.outbox.delivered([await leased(rig, "a")])
        assert await processing(rig, done) is Processing.WAITING
        rig.clock.advance(9)
        await rig.outbox.delivered([await leased(rig, "b")])
        assert await processing(rig, done) is Processing.DONE
        assert await event_types(rig.outbox, done.id) == [CREATED, FINISHED, PROCESSED]
        [_, was_finished, processed] = await rig.outbox.events(0, 10, EventFilter(upload_id=done.id))
        assert processed.id == event_id(done.id, PROCESSED)
        assert (processed.data, processed.tenant, processed.time) == (was_finished.data, "t", rig.clock.now())

    async def test_many_are_settled_at_once(self, rig: StoreRig) -> None:
        await rig.outbox.register([A, B])
        uploads = [await finished(rig.uploads) for _ in range(5)]
        await relay(rig)
        await rig.outbox.delivered(await lease(rig, "a", "b"))
        assert {await processing(rig, upload) for upload in uploads} == {Processing.DONE}

    async def test_the_last_two_at_once_settle_it_once(self, rig: StoreRig) -> None:
        await rig.outbox.register([A, B])
        done = await finished(rig.uploads)
        await relay(rig)
        both = [await leased(rig, "a"), await leased(rig, "b")]
        await asyncio.gather(*(rig.outbox.delivered([delivery]) for delivery in both))
        assert await processing(rig, done) is Processing.DONE
        assert (await event_types(rig.outbox, done.id)).count(PROCESSED) == 1

    @pytest.mark.parametrize("how", ["bury", "disable", "unregister"])
    async def test_it_has_failed_where_one_is_given_up(self, rig: StoreRig, how: str) -> None:
        await rig.outbox.register([A, B])
        done = await finished(rig.uploads)
        await relay(rig)
        await rig.outbox.delivered([await leased(rig, "b")])
        if how == "bury":
            await rig.outbox.bury(await leased(rig, "a"), "no")
        elif how == "disable":
            await rig.outbox.disable("a", "410")
        else:
            assert await rig.outbox.unregister("a")
        assert await processing(rig, done) is Processing.FAILED
        assert await event_types(rig.outbox, done.id) == [CREATED, FINISHED, PROCESSING_FAILED]

    async def test_it_is_not_settled_while_another_is_at_it(self, rig: StoreRig) -> None:
        await rig.outbox.register([A, B])
        done = await finished(rig.uploads)
        await relay(rig)
        await rig.outbox.bury(await leased(rig, "a"), "no")
        assert await processing(rig, done) is Processing.WAITING
        await rig.outbox.delivered([await leased(rig, "b")])
        assert await processing(rig, done) is Processing.FAILED

    async def test_a_later_success_makes_it_done(self, rig: StoreRig) -> None:
        await rig.outbox.register([A])
        done = await finished(rig.uploads)
        await relay(rig)
        await rig.outbox.bury(await leased(rig, "a"), "no")
        assert await rig.outbox.retry_now(DeliveryFilter(upload_id=done.id)) == 1
        assert await processing(rig, done) is Processing.FAILED
        await rig.outbox.bury(await leased(rig, "a"), "no")
        assert await rig.outbox.retry_now(DeliveryFilter(upload_id=done.id)) == 1
        await rig.outbox.delivered([await leased(rig, "a")])
        assert await processing(rig, done) is Processing.DONE
        assert await event_types(rig.outbox, done.id) == [CREATED, FINISHED, PROCESSING_FAILED, PROCESSED]

    async def test_a_success_that_was_given_up_meanwhile_counts(self, rig: StoreRig) -> None:
        """A lease ran out, another process gave it up, then the first one reports its success."""
        await rig.outbox.register([A])
        done = await finished(rig.uploads)
        await relay(rig)
        delivery = await leased(rig, "a")
        await rig.outbox.bury(delivery, "no")
        await rig.outbox.delivered([delivery])
        assert await processing(rig, done) is Processing.DONE

    @pytest.mark.parametrize("how", ["disable", "unregister"])
    async def test_where_nobody_is_left_when_it_is_numbered_it_is_done(self, rig: StoreRig, how: str) -> None:
        await rig.outbox.register([A])
        done = await finished(rig.uploads)
        await (rig.outbox.disable("a", "410") if how == "disable" else rig.outbox.unregister("a"))
        assert await processing(rig, done) is Processing.WAITING
        numbered = await rig.outbox.relay(100)
        assert await processing(rig, done) is Processing.DONE
        assert [event.type for event in numbered] == [CREATED, FINISHED, PROCESSED], "its own, too, and at once"
        assert await event_types(rig.outbox, done.id) == [CREATED, FINISHED, PROCESSED]

    async def test_who_comes_after_the_finish_does_not_take_it_back(self, rig: StoreRig) -> None:
        done = await finished(rig.uploads)
        await relay(rig, A)
        await rig.outbox.delivered([await leased(rig, "a")])
        assert await processing(rig, done) is None
        assert await event_types(rig.outbox, done.id) == [CREATED, FINISHED]

    async def test_what_was_terminated_meanwhile_is_left_as_it_is(self, rig: StoreRig) -> None:
        await rig.outbox.register([A])
        done = await finished(rig.uploads)
        await relay(rig)
        delivery = await leased(rig, "a")
        await terminate(rig.uploads, done)
        await rig.outbox.delivered([delivery])
        assert await event_types(rig.outbox, done.id) == [CREATED, FINISHED, EventType.TERMINATED]

    async def test_a_replay_of_what_is_done_changes_nothing(self, rig: StoreRig) -> None:
        await rig.outbox.register([A])
        done = await finished(rig.uploads)
        await relay(rig)
        await rig.outbox.delivered([await leased(rig, "a")])
        assert await rig.outbox.replay("a", 0, None, EventFilter()) == 1
        await rig.outbox.bury(await leased(rig, "a"), "no")
        assert await processing(rig, done) is Processing.DONE
        assert (await event_types(rig.outbox, done.id))[2:] == [PROCESSED]

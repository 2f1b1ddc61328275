"""The relay: every event, at least once, in order, whatever its hooks, the store and the process do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.contracts.rows import create
from tests.events.rig import RelayRig, Seen, eventually
from tests.uploads.rig import until
from tuspy_server.events import relay, settling
from tuspy_server.events.hooks import AT_ONCE
from tuspy_server.model import Event, EventType, Processing, event_id
from tuspy_server.ports import Consumer, Delivery, DeliveryStatus


async def test_each_event_reaches_each_hook_that_wants_it(rig: RelayRig) -> None:
    """I6."""
    everything, finishes = Seen(), Seen()
    rig.hooks.on(name="all")(everything)
    rig.hooks.on("upload.finished", name="finishes")(finishes)
    await rig.start()
    uploads = [await rig.finished() for _ in range(30)]
    await rig.settled()
    assert sorted(everything.ids) == sorted(
        event_id(upload.id, kind) for upload in uploads for kind in (EventType.CREATED, EventType.FINISHED)
    )
    assert sorted(finishes.ids) == sorted(event_id(upload.id, EventType.FINISHED) for upload in uploads)


async def test_events_of_one_upload_come_in_their_order_though_one_fails_at_first(rig: RelayRig) -> None:
    seen, failures = Seen(), [ValueError("not yet"), ValueError("not yet")]

    @rig.hooks.on(name="hook")
    async def hook(event: Event) -> None:
        if event.type is EventType.CREATED and failures:
            raise failures.pop()
        seen.append(event)

    await rig.start()
    upload = await rig.create()
    await rig.terminate(upload)
    await until(lambda: len(failures) == 1)
    for left in (1, 0):
        await until(lambda left=left: len(failures) == left)  # type: ignore[misc]
        await eventually(lambda: _due_later(rig))
        rig.pass_time(10)
    await rig.settled()
    assert seen.types == ["upload.created", "upload.terminated"]


async def test_a_hook_is_not_called_more_often_at_once_than_it_may(rig: RelayRig) -> None:
    """I10."""
    running, most = 0, 0
    gate = asyncio.Event()

    @rig.hooks.on(name="hook")
    async def hook(event: Event) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    await rig.start()
    for _ in range(3 * AT_ONCE):
        await rig.create()
    await until(lambda: running == AT_ONCE)
    gate.set()
    await rig.settled()
    assert most == AT_ONCE


async def test_a_lost_wakeup_is_made_good_by_a_poll(rig: RelayRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """B11: notifications are hints."""
    monkeypatch.setattr(relay, "POLL_SECONDS", 0.01)
    seen = Seen()
    rig.hooks.on(name="hook")(seen)
    await rig.start()
    await until(lambda: rig.wakeup._flag is not None)
    await create(rig.store)
    await until(lambda: seen)


async def test_what_was_delivered_is_marked_done_at_a_shutdown(rig: RelayRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """No repetition without need."""
    monkeypatch.setattr(settling, "LINGER_SECONDS", 1000)
    seen = Seen()
    rig.hooks.on(name="hook")(seen)
    await rig.start()
    await rig.create()
    await until(lambda: seen)
    await rig.stop()
    assert not await rig.deliveries(DeliveryStatus.WAITING)


async def test_a_shutdown_in_the_middle_of_that_tells_it_again(rig: RelayRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A success that is told twice is one."""
    rig.hooks.on(name="hook")(Seen())
    real, asked = rig.outbox.delivered, asyncio.Event()

    async def hang_once(deliveries: Sequence[Delivery]) -> None:
        monkeypatch.setattr(rig.outbox, "delivered", real)
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(rig.outbox, "delivered", hang_once)
    await rig.start()
    await rig.create()
    await asked.wait()
    await rig.stop()
    assert not await rig.deliveries(DeliveryStatus.WAITING)


async def test_events_are_numbered_in_a_process_without_hooks(rig: RelayRig) -> None:
    """Readers need no hook; who is not registered by then gets nothing of it (decision 0016)."""
    await rig.start()
    await rig.create()
    await rig.settled()
    assert await rig.outbox.last_position() == 1
    assert not await rig.deliveries()


async def test_events_wait_for_a_hook_that_was_registered_once(rig: RelayRig) -> None:
    """I6: though a process without it numbers them, such as a plain `serve` on the same database."""
    await rig.outbox.register([Consumer(name="python:hook", types=frozenset(EventType))])
    await rig.start()
    uploads = [await rig.create() for _ in range(3)]
    await eventually(lambda: _waiting(rig, 3))
    await rig.stop()
    seen = Seen()
    rig.hooks.on(name="hook")(seen)
    await rig.start()
    await rig.settled()
    assert sorted(seen.ids) == sorted(event_id(upload.id, EventType.CREATED) for upload in uploads)


async def test_a_hook_that_is_registered_while_the_relay_runs_gets_what_comes_after(rig: RelayRig) -> None:
    await rig.start()
    seen = Seen()
    rig.hooks.on(name="late")(seen)
    upload = await rig.create()
    await rig.settled()
    assert seen.ids == [event_id(upload.id, EventType.CREATED)]


async def test_stopping_waits_for_no_hook(rig: RelayRig) -> None:
    """C10: what it interrupts comes again."""

    @rig.hooks.on(name="hook")
    async def hook(event: Event) -> None:
        await asyncio.Event().wait()

    await rig.start()
    await rig.create()
    await eventually(lambda: _leased(rig))
    async with asyncio.timeout(10):
        await rig.stop()


async def test_readers_are_told_before_anybody_is_called(rig: RelayRig) -> None:
    """A subscriber waits for no hook; the feed finds what it is told of numbered."""
    order: list[str] = []

    async def told() -> None:
        if await rig.outbox.last_position():
            order.append("told")

    @rig.hooks.on(name="hook")
    async def hook(event: Event) -> None:
        order.append("called")

    rig.on_numbered = told
    await rig.start()
    await rig.create()
    await rig.settled()
    assert order[0] == "told"
    assert order.count("called") == 1


async def test_consumers_are_registered_again_and_again(rig: RelayRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the outbox does not forget those that are there."""
    monkeypatch.setattr(relay, "REGISTER_SECONDS", 0)
    rig.hooks.on(name="hook")(Seen())
    await rig.start()
    begin = rig.clock.now()
    rig.pass_time(86_400)

    async def seen_again() -> bool:
        known = await rig.outbox.consumers()
        return bool(known) and (known[0].seen_at - begin).total_seconds() >= 86_400

    await eventually(seen_again)


async def test_successes_are_marked_many_at_a_time(rig: RelayRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes hundreds a second possible."""
    batches: list[int] = []
    real = rig.outbox.delivered

    async def count(deliveries: Sequence[Delivery]) -> None:
        batches.append(len(deliveries))
        await real(deliveries)

    monkeypatch.setattr(rig.outbox, "delivered", count)
    rig.hooks.on(name="hook")(Seen())
    await rig.outbox.register(rig.hooks.consumers)
    for _ in range(4 * AT_ONCE):
        await rig.create()
    await rig.start()
    await rig.settled()
    assert sum(batches) == 4 * AT_ONCE
    assert len(batches) <= AT_ONCE


async def test_a_finished_upload_is_processed_when_those_who_process_it_have_done_so(rig: RelayRig) -> None:
    """And that is an event, which reaches others by the same relay."""
    seen, gate = Seen(), asyncio.Event()
    rig.hooks.on("upload.processed", name="done")(seen)

    @rig.hooks.on("upload.finished", name="scan", processing=True)
    async def scan(event: Event) -> None:
        await gate.wait()

    await rig.start()
    await eventually(rig.outbox.consumers)
    upload = await rig.finished()
    await eventually(lambda: _leased(rig))
    assert not seen
    gate.set()
    await until(lambda: seen)
    assert seen.ids == [event_id(upload.id, EventType.PROCESSED)]
    row = await rig.store.get(upload.id)
    assert row is not None
    assert row.processing is Processing.DONE


async def _waiting(rig: RelayRig, count: int) -> bool:
    return len(await rig.deliveries(DeliveryStatus.WAITING)) == count


async def _due_later(rig: RelayRig) -> bool:
    """The failed call has been settled: its next attempt has a time, and that is not a lease's."""
    now, waiting = rig.clock.now(), await rig.deliveries(DeliveryStatus.WAITING)
    times = [(delivery.due_at - now).total_seconds() for delivery in waiting if delivery.attempts]
    return bool(times) and all(0 < seconds <= 4 for seconds in times)


async def _leased(rig: RelayRig) -> bool:
    return any(delivery.attempts for delivery in await rig.deliveries())

"""The relay in trouble: hooks that fail or hang, a store that is away, processes that die."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.events.rig import RelayRig, Seen, eventually
from tests.uploads.rig import until
from tuspy_server.events import relay, settling
from tuspy_server.events.hooks import AT_ONCE
from tuspy_server.events.recipients import Recipient, RecipientGone
from tuspy_server.events.retries import webhook_retries
from tuspy_server.model import Event, EventType, event_id
from tuspy_server.ports import Consumer, Delivery, DeliveryStatus
from tuspy_server.protocol.errors import StoreUnavailable


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError


async def _due_later(rig: RelayRig) -> bool:
    """The failed call has been settled: its next attempt has a time, and that is not a lease's."""
    now, waiting = rig.clock.now(), await rig.deliveries(DeliveryStatus.WAITING)
    times = [(delivery.due_at - now).total_seconds() for delivery in waiting if delivery.attempts]
    return bool(times) and all(0 < seconds <= 4 for seconds in times)


async def test_a_failing_hook_is_called_again_later_and_later_and_then_given_up(rig: RelayRig) -> None:
    """B14: kept as dead for people to see."""
    calls: list[float] = []
    begin = rig.clock.now()

    @rig.hooks.on(name="hook")
    async def hook(event: Event) -> None:
        calls.append((rig.clock.now() - begin).total_seconds())
        raise ValueError("never")

    await rig.start()
    upload = await rig.create()
    for count in (1, 2):
        await until(lambda count=count: len(calls) == count)  # type: ignore[misc]
        await eventually(lambda: _due_later(rig))
        rig.pass_time(2)
    await rig.settled()
    assert calls == [0, 2, 4]
    [dead] = await rig.deliveries()
    assert (dead.status, dead.event.upload_id, dead.attempts) == (DeliveryStatus.DEAD, upload.id, 3)
    assert dead.error == "ValueError: never"
    rig.pass_time(10**6)
    await rig.create()
    await until(lambda: len(calls) == 4)


async def test_a_hook_that_takes_too_long_has_failed(tmp_path: Path) -> None:
    """S04."""
    rig = RelayRig(tmp_path, call_seconds=0.01, most_attempts=1)
    await rig.open()
    cancelled = Seen()

    @rig.hooks.on(name="hook")
    async def hook(event: Event) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            cancelled.append(event)
            raise

    await rig.start()
    await rig.create()
    await rig.settled()
    assert len(cancelled) == 1
    [dead] = await rig.deliveries()
    assert dead.error == "no answer within 0.01 s"
    await rig.close()


@pytest.mark.parametrize("trouble", ["slow", "failing"])
async def test_one_hooks_trouble_does_not_hold_up_the_others(rig: RelayRig, trouble: str) -> None:
    """B14, I12: though it has more waiting than the relay makes calls at once."""
    seen = Seen()

    @rig.hooks.on(name="a-trouble")
    async def hook(event: Event) -> None:
        if trouble == "slow":
            await asyncio.sleep(1000)
        raise ValueError("never")

    rig.hooks.on(name="b-sound")(seen)
    await rig.start()
    for _ in range(5 * AT_ONCE):
        await rig.create()
    await until(lambda: len(seen) == 5 * AT_ONCE)


async def test_a_crash_before_the_call_loses_nothing(rig: RelayRig) -> None:
    """C06: the event waits in the outbox, relayed or not."""
    seen = Seen()
    rig.hooks.on(name="hook")(seen)
    await rig.outbox.register(rig.hooks.consumers)
    first = await rig.create()
    await rig.outbox.relay(10)
    await rig.outbox.lease(["python:hook"], 10, 1000)
    second = await rig.create()
    await rig.restart()
    await rig.settled()
    assert sorted(seen.ids) == sorted(event_id(upload.id, EventType.CREATED) for upload in (first, second))


async def test_a_crash_before_it_is_marked_done_gives_it_again_with_the_same_id(
    rig: RelayRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C07, I6: a receiver that knows the id sees it once."""
    seen = Seen()
    rig.hooks.on(name="hook")(seen)

    async def never(deliveries: Sequence[Delivery]) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(rig.outbox, "delivered", never)
    monkeypatch.setattr(settling, "CLOSE_SECONDS", 0)
    await rig.start()
    upload = await rig.create()
    await until(lambda: seen)
    await rig.stop()
    monkeypatch.undo()
    await rig.restart()
    await rig.settled()
    assert seen.ids == [event_id(upload.id, EventType.CREATED)] * 2


@pytest.mark.parametrize("call", ["register", "relay", "lease", "delivered"])
async def test_trouble_with_the_store_ends_no_relay(rig: RelayRig, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """I12."""
    monkeypatch.setattr(relay, "POLL_SECONDS", 0.01)
    seen, failures = Seen(), [StoreUnavailable()]
    rig.hooks.on(name="hook")(seen)
    real = getattr(rig.outbox, call)

    async def fail_once(*args: object) -> object:
        if failures:
            raise failures.pop()
        return await real(*args)

    monkeypatch.setattr(rig.outbox, call, fail_once)
    await rig.start()
    upload = await rig.create()
    await until(lambda: not failures)
    rig.pass_time(10**4)
    await rig.settled()
    assert set(seen.ids) == {event_id(upload.id, EventType.CREATED)}


async def test_readers_in_trouble_hold_up_no_delivery(rig: RelayRig) -> None:
    async def fail() -> None:
        raise StoreUnavailable

    seen = Seen()
    rig.on_numbered = fail
    rig.hooks.on(name="hook")(seen)
    await rig.start()
    await rig.create()
    await rig.settled()
    assert len(seen) == 1


async def test_a_recipient_that_is_gone_is_called_no_more(rig: RelayRig) -> None:
    calls = Seen()

    async def gone(event: Event) -> None:
        calls.append(event)
        raise RecipientGone("answered 410")

    consumer = Consumer(name="webhook:gone", types=frozenset(EventType))
    rig.recipients.append(
        Recipient(consumer=consumer, call=gone, at_once=1, call_seconds=10, retries=webhook_retries(1000))
    )
    await rig.start()
    await rig.create()
    await rig.settled()
    await rig.create()
    await rig.settled()
    [known] = await rig.outbox.consumers()
    assert known.disabled_reason == "answered 410"
    assert len(calls) == 1


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(asyncio.CancelledError("a task of its own"), id="cancelled"),
        pytest.param(ValueError("name\0\ud800"), id="text-that-no-database-takes"),
        pytest.param(TimeoutError("name\0\ud800"), id="time-out-of-its-own"),
        pytest.param(Unspeakable(), id="without-a-text"),
        pytest.param(SystemExit(1), id="exit"),
    ],
)
async def test_whatever_a_hook_raises_counts_as_a_failed_attempt(tmp_path: Path, error: BaseException) -> None:
    """Fault B14: what is neither tried again in its turn nor given up holds up its upload for ever."""
    rig = RelayRig(tmp_path, most_attempts=1)
    await rig.open()
    seen = Seen()

    @rig.hooks.on(name="hook")
    async def hook(event: Event) -> None:
        if event.type is EventType.CREATED:
            raise error
        seen.append(event)

    await rig.start()
    await rig.finished()
    await rig.settled()
    [dead] = await rig.deliveries(DeliveryStatus.DEAD)
    assert dead.event.type is EventType.CREATED
    assert dead.error
    dead.error.encode()
    assert "\0" not in dead.error
    assert seen.types == [EventType.FINISHED]
    await rig.close()


async def test_consumers_are_registered_anew_after_trouble_with_the_store(
    rig: RelayRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I6: what was away may come back as it was before they were known, from a backup or on a standby."""
    seen = Seen()
    rig.hooks.on(name="hook")(seen)
    await rig.start()
    await rig.finished()
    await rig.settled()
    numbering = rig.outbox.relay

    async def restored(limit: int, after: int | None = None) -> int:
        monkeypatch.setattr(rig.outbox, "relay", numbering)
        await rig.outbox.unregister("python:hook")
        raise StoreUnavailable

    monkeypatch.setattr(rig.outbox, "relay", restored)
    rig.wakeup.notify()
    await until(lambda: rig.outbox.relay == numbering)
    upload = await rig.finished()
    await rig.settled()
    assert event_id(upload.id, EventType.FINISHED) in seen.ids


async def test_an_event_whose_delivery_ends_its_process_is_given_up(tmp_path: Path) -> None:
    """Fault B14: it is due at every start, and would end that one, too."""
    rig = RelayRig(tmp_path, most_attempts=3)
    await rig.open()
    calls: list[str] = []
    never = asyncio.Event()

    @rig.hooks.on("upload.finished", name="hook")
    async def hook(event: Event) -> None:
        calls.append(event.id)
        await never.wait()

    await rig.start()
    await rig.finished()
    for count in (1, 2, 3):
        await until(lambda count=count: len(calls) == count)  # type: ignore[misc]
        await rig.restart()
    await eventually(lambda: rig.deliveries(DeliveryStatus.DEAD))
    assert len(calls) == 3
    await rig.close()

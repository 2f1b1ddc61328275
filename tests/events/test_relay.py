"""The relay: every event, at least once, in order, whatever its hooks, the store and the process do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.contracts.rows import create
from tests.events.rig import RelayRig, Seen
from tests.uploads.rig import until
from tuspy_server.events import relay
from tuspy_server.model import Event, EventType, event_id
from tuspy_server.ports import Delivery
from tuspy_server.protocol.errors import StoreUnavailable


@pytest.fixture
async def rig() -> AsyncIterator[RelayRig]:
    rig = RelayRig()
    yield rig
    await rig.stop()


async def test_each_event_reaches_each_hook_that_wants_it(rig: RelayRig) -> None:
    """I6."""
    everything, finishes = Seen(), Seen()
    rig.hooks.on(name="all")(_recorder(everything))
    rig.hooks.on("upload.finished", name="finishes")(_recorder(finishes))
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

    upload = await create(rig.store)
    await rig.terminate(upload)
    await rig.start()
    await until(lambda: len(failures) == 1)
    for left in (1, 0):
        await until(lambda left=left: len(failures) == left)  # type: ignore[misc]
        await asyncio.sleep(0)
        rig.pass_time(10)
    await rig.settled()
    assert seen.types == ["upload.created", "upload.terminated"]


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
        await until(lambda count=count: len(calls) == count and _due_later(rig))  # type: ignore[misc]
        rig.pass_time(2)
    await rig.settled()
    assert calls == [0, 2, 4]
    [dead] = rig.store._log.deliveries.values()
    assert (dead.status, dead.event.upload_id, dead.attempts) == ("dead", upload.id, 3)
    rig.pass_time(10**6)
    await rig.create()
    await until(lambda: len(calls) == 4)


async def test_a_hook_that_takes_too_long_has_failed(rig: RelayRig) -> None:
    """S04."""
    rig = RelayRig(call_seconds=0.01, most_attempts=1)
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
    await rig.stop()


@pytest.mark.parametrize("trouble", ["slow", "failing"])
async def test_one_hooks_trouble_does_not_hold_up_the_others(rig: RelayRig, trouble: str) -> None:
    """B14, I12: though it has more waiting than the relay makes calls at once."""
    seen = Seen()

    @rig.hooks.on(name="a-trouble")
    async def hook(event: Event) -> None:
        if trouble == "slow":
            await asyncio.sleep(1000)
        raise ValueError("never")

    rig.hooks.on(name="b-sound")(_recorder(seen))
    await rig.start()
    for _ in range(5 * relay.AT_ONCE):
        await rig.create()
    await until(lambda: len(seen) == 5 * relay.AT_ONCE)


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
    for _ in range(3 * relay.AT_ONCE):
        await rig.create()
    await until(lambda: running == relay.AT_ONCE)
    gate.set()
    await rig.settled()
    assert most == relay.AT_ONCE


async def test_a_lost_wakeup_is_made_good_by_a_poll(rig: RelayRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """B11: notifications are hints."""
    monkeypatch.setattr(relay, "POLL_SECONDS", 0.01)
    seen = Seen()
    rig.hooks.on(name="hook")(_recorder(seen))
    await rig.start()
    await until(lambda: rig.wakeup._flag is not None)
    await create(rig.store)
    await until(lambda: seen)


async def test_a_crash_before_the_call_loses_nothing(rig: RelayRig) -> None:
    """C06: the event waits in the outbox, relayed or not."""
    seen = Seen()
    rig.hooks.on(name="hook")(_recorder(seen))
    first = await create(rig.store)
    await rig.store.relay(rig.hooks.consumers, 10)
    await rig.store.lease(["python:hook"], 10, 1000)
    second = await create(rig.store)
    await rig.start()
    await rig.settled()
    assert sorted(seen.ids) == sorted(event_id(upload.id, EventType.CREATED) for upload in (first, second))


async def test_a_crash_before_it_is_marked_done_gives_it_again_with_the_same_id(
    rig: RelayRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C07, I6: a receiver that knows the id sees it once."""
    seen = Seen()
    rig.hooks.on(name="hook")(_recorder(seen))

    async def never(delivery: Delivery) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(rig.store, "delivered", never)
    await rig.start()
    upload = await rig.create()
    await until(lambda: seen)
    await rig.stop()
    monkeypatch.undo()
    await rig.start()
    await rig.settled()
    assert seen.ids == [event_id(upload.id, EventType.CREATED)] * 2


async def test_events_wait_for_an_application_that_has_hooks(rig: RelayRig) -> None:
    """I6: `tuspy-server serve` alone has none; the application that mounts the server later does."""
    await rig.start()
    uploads = [await rig.create() for _ in range(3)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert rig.store._log.relayed == 0
    await rig.stop()
    seen = Seen()
    rig.hooks.on(name="hook")(_recorder(seen))
    await rig.start()
    await rig.settled()
    assert sorted(seen.ids) == sorted(event_id(upload.id, EventType.CREATED) for upload in uploads)


async def test_a_hook_that_is_registered_while_the_relay_runs_gets_what_comes_after(rig: RelayRig) -> None:
    await rig.start()
    seen = Seen()
    rig.hooks.on(name="late")(_recorder(seen))
    upload = await rig.create()
    await rig.settled()
    assert seen.ids == [event_id(upload.id, EventType.CREATED)]


@pytest.mark.parametrize("call", ["relay", "lease", "next_due_seconds", "delivered"])
async def test_trouble_with_the_store_ends_no_relay(rig: RelayRig, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """I12."""
    monkeypatch.setattr(relay, "POLL_SECONDS", 0.01)
    seen, failures = Seen(), [StoreUnavailable()]
    rig.hooks.on(name="hook")(_recorder(seen))
    real = getattr(rig.store, call)

    async def fail_once(*args: object) -> object:
        if failures:
            raise failures.pop()
        return await real(*args)

    monkeypatch.setattr(rig.store, call, fail_once)
    await rig.start()
    upload = await rig.create()
    await until(lambda: not failures)
    rig.pass_time(10**4)
    await rig.settled()
    assert set(seen.ids) == {event_id(upload.id, EventType.CREATED)}


async def test_stopping_waits_for_no_hook(rig: RelayRig) -> None:
    """C10: what it interrupts comes again."""

    @rig.hooks.on(name="hook")
    async def hook(event: Event) -> None:
        await asyncio.Event().wait()

    await rig.start()
    await rig.create()
    await until(lambda: _leased(rig))
    async with asyncio.timeout(10):
        await rig.stop()


def test_retries_come_later_and_later_up_to_an_hour() -> None:
    for attempt, longest in [(1, 1), (2, 2), (5, 16), (12, 2048), (13, 3600), (1000, 3600)]:
        delays = [relay.retry_delay_seconds(attempt) for _ in range(200)]
        assert longest / 2 <= min(delays) <= max(delays) <= longest
        assert len(set(delays)) > 100, "jitter: many servers must not come at once (R11)"


def _recorder(seen: Seen) -> _Recorder:
    return _Recorder(seen)


class _Recorder:
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def __call__(self, event: Event) -> None:
        self._seen.append(event)


def _deliveries(rig: RelayRig) -> Sequence[object]:
    return list(rig.store._log.deliveries.values())


def _due_later(rig: RelayRig) -> bool:
    """The failed call has been settled: its next attempt has a time, and that is not a lease's."""
    now = rig.clock.now()
    return all(0 < (waiting.due_at - now).total_seconds() <= 4 for waiting in rig.store._log.deliveries.values())


def _leased(rig: RelayRig) -> bool:
    return any(waiting.attempts for waiting in rig.store._log.deliveries.values())

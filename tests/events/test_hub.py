"""Who is told of what in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from tests.contracts.rows import new_id
from tuspy_server.events.cloudevents import Cursor
from tuspy_server.events.hub import MOST_OFFSETS, Hub
from tuspy_server.events.subscription import MOST_PROGRESS, Interest, Subscription
from tuspy_server.model import Event, EventType
from tuspy_server.ports import EventFilter, Progress

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class NoLog:
    """For readers that miss nothing."""

    cursor = Cursor(0, "00000000")

    async def knows(self, cursor: Cursor) -> bool:
        raise AssertionError("nothing was missed")

    async def page(self, after: int, up_to: int, only: EventFilter) -> Sequence[Event]:
        raise AssertionError("nothing was missed")


class Bus:
    """A port that goes nowhere: what matters is when it is listened to."""

    heard: Callable[[Progress], None] | None = None

    def publish(self, progress: Progress) -> None:
        pass

    def watch(self, heard: Callable[[Progress], None] | None) -> None:
        self.heard = heard


def follow(hub: Hub, wake: Callable[[], None] = lambda: None, **only: str) -> Subscription:
    subscription = Subscription(NoLog(), Interest(only=EventFilter(**only)), wake, None)  # type: ignore[arg-type]
    hub.attach(subscription)
    return subscription


def event(position: int, upload_id: str, kind: EventType = EventType.CREATED, job_id: str | None = None) -> Event:
    return Event(
        id=f"{position:08x}-0000", type=kind, upload_id=upload_id, data={}, time=NOW, position=position, job_id=job_id
    )


def progress(upload_id: str, offset: int, job_id: str | None = None, tenant: str | None = None) -> Progress:
    return Progress(
        upload_id=upload_id,
        upload_offset=offset,
        upload_length=100,
        tenant=tenant,
        job_id=job_id,
        bytes_per_second=None,
    )


async def read(subscription: Subscription) -> list[Event | Progress]:
    return [item for item in await subscription.read() if isinstance(item, (Event, Progress))]


async def test_an_event_wakes_those_alone_who_follow_it() -> None:
    """A thousand readers of one upload each cost the events of others nothing."""
    hub = Hub()
    woken: list[str] = []
    ids = [new_id() for _ in range(1000)]
    readers = [follow(hub, partial(woken.append, upload_id), upload_id=upload_id) for upload_id in ids]
    woken.clear()
    hub.dispatch([event(1, ids[7]), event(2, new_id()), event(3, ids[7])])
    assert woken == [ids[7]] * 2
    assert len(await read(readers[7])) == 2
    for reader in readers:
        hub.detach(reader)
        hub.detach(reader)
    assert len(hub) == 0
    assert not hub._index._of_uploads


async def test_a_job_is_followed_through_its_uploads() -> None:
    hub = Hub()
    reader, other = follow(hub, job_id="job"), follow(hub, job_id="other")
    hub.dispatch([event(1, "a", job_id="job"), event(2, "b", job_id="job"), event(3, "c")])
    hub.progressed(progress("a", 5, job_id="job"))
    assert len(await read(reader)) == 3
    assert not await read(other)


async def test_progress_of_one_upload_is_told_by_its_latest_and_never_goes_back() -> None:
    """I3; coalesced for each reader."""
    hub = Hub()
    reader = follow(hub)
    for offset in (10, 30, 20, 30):
        hub.progressed(progress("a", offset))
    hub.progressed(progress("b", 1))
    assert [(item.upload_id, item.upload_offset) for item in await read(reader)] == [("a", 30), ("b", 1)]  # type: ignore[union-attr]
    hub.progressed(progress("a", 30))
    assert not await read(reader)


async def test_an_end_takes_the_place_of_progress() -> None:
    hub = Hub()
    reader = follow(hub)
    hub.progressed(progress("a", 10))
    hub.dispatch([event(1, "a", EventType.FINISHED)])
    hub.progressed(progress("a", 20))
    (last,) = await read(reader)
    assert isinstance(last, Event)


async def test_progress_stays_within_the_tenant() -> None:
    """I9."""
    hub = Hub()
    mine, named = follow(hub, tenant="mine"), follow(hub, tenant="mine", upload_id="theirs")
    hub.progressed(progress("theirs", 1, tenant="theirs"))
    hub.progressed(progress("nobodys", 1))
    hub.progressed(progress("mine", 1, tenant="mine"))
    assert [item.upload_id for item in await read(mine)] == ["mine"]
    assert not await read(named)


async def test_progress_that_nobody_takes_is_bounded() -> None:
    """I10."""
    hub = Hub()
    reader = follow(hub)
    for number in range(MOST_OFFSETS + 10):
        hub.progressed(progress(str(number), 1))
    assert len(hub._offsets) == MOST_OFFSETS
    assert len(await read(reader)) == MOST_PROGRESS


async def test_other_nodes_are_listened_to_while_somebody_follows() -> None:
    bus = Bus()
    hub = Hub(bus)
    first, second = follow(hub), follow(hub, upload_id="a")
    assert bus.heard is not None
    bus.heard(progress("a", 1))
    assert len(await read(first)) == len(await read(second)) == 1
    hub.detach(first)
    assert bus.heard is not None
    hub.detach(second)
    assert bus.heard is None


async def test_what_is_ended_wakes_its_reader() -> None:
    woken: list[int] = []
    hub = Hub()
    reader = follow(hub, lambda: woken.append(1))
    woken.clear()
    hub.end()
    assert reader.is_ended
    assert woken

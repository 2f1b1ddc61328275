"""`ports.EventLog`: filters, single events, and positions. A suite that every adapter passes."""

from __future__ import annotations

from tests.contracts.outbox import consumer, relay
from tests.contracts.rig import StoreRig
from tests.contracts.rows import create, finished, new_file, new_id, terminate
from tuspy_server.model import Event, EventType
from tuspy_server.ports import EventFilter


async def read(rig: StoreRig, **only: object) -> list[Event]:
    await relay(rig)
    return list(await rig.outbox.events(0, 100, EventFilter(**only)))  # type: ignore[arg-type]


class EventLogContract:
    """Subclasses give a started `rig`."""

    async def test_a_reader_gets_what_its_filter_lets_pass(self, rig: StoreRig) -> None:
        """I9."""
        job_id = new_id()
        _, [mine, _] = await rig.jobs.create_job(job_id, "a", [new_file(), new_file()])
        other = await finished(rig.uploads, tenant="b")
        nobodys = await create(rig.uploads)
        everything = await read(rig)
        assert len(everything) == 5
        only = [
            (EventFilter(upload_id=mine.id), 1),
            (EventFilter(job_id=job_id), 2),
            (EventFilter(tenant="a"), 2),
            (EventFilter(tenant="b"), 2),
            (EventFilter(tenant="nobody"), 0),
            (EventFilter(tenant="b", job_id=job_id), 0),
            (EventFilter(upload_id=other.id, types=frozenset({EventType.FINISHED})), 1),
            (EventFilter(types=frozenset({EventType.CREATED})), 4),
            (EventFilter(types=frozenset({EventType.CREATED, EventType.FINISHED})), 5),
            (EventFilter(upload_id=nobodys.id, tenant="a"), 0),
        ]
        for each, count in only:
            found = list(await rig.outbox.events(0, 100, each))
            assert found == [event for event in everything if each.matches(event)]
            assert len(found) == count, each

    async def test_an_event_tells_whose_it_is(self, rig: StoreRig) -> None:
        job_id = new_id()
        _, [upload] = await rig.jobs.create_job(job_id, "a", [new_file()])
        [event] = await read(rig)
        assert (event.tenant, event.job_id, event.upload_id) == ("a", job_id, upload.id)
        await create(rig.uploads)
        assert [(event.tenant, event.job_id) for event in (await read(rig))[1:]] == [(None, None)]

    async def test_a_reader_keeps_to_both_ends_and_its_limit(self, rig: StoreRig) -> None:
        upload = await create(rig.uploads)
        await create(rig.uploads)
        await terminate(rig.uploads, upload)
        first, second, third = await read(rig)
        assert first.position is not None
        assert second.position is not None
        assert third.position is not None
        events = rig.outbox.events
        assert list(await events(0, 100, up_to=second.position)) == [first, second]
        assert list(await events(first.position, 100, up_to=second.position)) == [second]
        assert list(await events(second.position, 100, up_to=second.position)) == []
        assert list(await events(0, 1, EventFilter(upload_id=upload.id))) == [first]
        assert list(await events(first.position, 1, EventFilter(upload_id=upload.id))) == [third]

    async def test_an_event_is_found_by_its_position(self, rig: StoreRig) -> None:
        await create(rig.uploads)
        [event] = await read(rig)
        assert event.position is not None
        assert await rig.outbox.event_at(event.position) == event
        assert await rig.outbox.event_at(event.position + 1) is None
        assert await rig.outbox.event_at(0) is None

    async def test_the_last_position_outlives_its_event(self, rig: StoreRig) -> None:
        assert await rig.outbox.last_position() == 0
        for _ in range(3):
            await create(rig.uploads)
        last = (await read(rig))[-1].position
        assert last is not None
        assert await rig.outbox.last_position() == last
        rig.clock.advance(1000)
        assert await rig.uploads.purge(gone_seconds=10**9, event_seconds=100, limit=100) == 3
        assert list(await rig.outbox.events(0, 100)) == []
        assert await rig.outbox.last_position() == last
        await rig.reopen()
        assert await rig.outbox.last_position() == last
        assert await rig.outbox.event_at(last) is None

    async def test_the_last_position_is_not_that_of_an_older_event_that_is_kept(self, rig: StoreRig) -> None:
        """Else a feed would take the log for another one, and tell its readers of a gap."""
        upload = await create(rig.uploads)
        await relay(rig, consumer("a", EventType.CREATED))
        await terminate(rig.uploads, upload)
        last = (await read(rig))[-1].position
        rig.clock.advance(1000)
        assert await rig.uploads.purge(gone_seconds=10**9, event_seconds=100, limit=100) == 1
        assert [event.type for event in await rig.outbox.events(0, 100)] == [EventType.CREATED]
        assert await rig.outbox.last_position() == last

"""Readers miss no event and get none twice, wherever they go on and however slow they are (I6, N10)."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.events.following import FeedRig
from tuspy_server.events.cloudevents import BEGINNING, Cursor, cursor_of, parse_cursor
from tuspy_server.events.feed import READERS
from tuspy_server.events.subscription import MOST_QUEUED, PAGE, Interest
from tuspy_server.model import EventType
from tuspy_server.ports import EventFilter, Progress
from tuspy_server.protocol.errors import StoreUnavailable


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[FeedRig]:
    rig = FeedRig(tmp_path)
    await rig.store.start()
    yield rig
    await rig.store.stop()


async def test_a_reader_gets_what_comes_after_it(rig: FeedRig) -> None:
    upload = await rig.create()
    await rig.number()
    reader = await rig.reader().open()
    await rig.finish(upload)
    await rig.advance()
    assert (await reader.read_all()).events == (await rig.all_ids())[1:]
    assert [str(cursor)[:2] for cursor in reader.lives] == ["2-"], "it is told where it would go on"


async def test_a_feed_that_nobody_follows_asks_nothing(rig: FeedRig) -> None:
    for _ in range(3):
        await rig.create()
        await rig.advance()
    assert rig.log.asked == 0
    reader = await rig.reader().open()
    reader.leave()
    await rig.create()
    asked = rig.log.asked
    await rig.advance()
    assert rig.log.asked == asked
    again = await rig.reader().open()
    await rig.create()
    await rig.advance()
    assert (await again.read_all()).events == (await rig.all_ids())[-1:], "only what came after it"


async def test_a_reader_that_comes_back_at_every_event_misses_none(rig: FeedRig) -> None:
    """N10, with another process each time."""
    seen: list[str] = []
    after: Cursor | None = BEGINNING
    for _ in range(20):
        feed = rig.another_process()
        reader = await rig.reader(feed=feed).open(after)
        await rig.finish(await rig.create())
        await rig.number()
        await feed.advance()
        while not reader.events:
            reader.items += await reader.subscription.read()
        event = next(event for event in await rig.store.outbox.events(0, 1000) if event.id == reader.events[0])
        seen.append(event.id)
        after = parse_cursor(str(cursor_of(event)))
        reader.leave()
    assert seen == (await rig.all_ids())[:20]


async def test_a_cursor_of_live_goes_on_where_nothing_has_been_read(rig: FeedRig) -> None:
    await rig.create()
    await rig.number()
    reader = await rig.reader().open()
    await reader.read_all()
    reader.leave()
    await rig.create()
    await rig.advance()
    back = await rig.reader().open(reader.lives[0])
    assert (await back.read_all()).events == (await rig.all_ids())[1:]
    assert not back.gaps


async def test_what_comes_during_a_replay_comes_once_and_in_order(rig: FeedRig) -> None:
    for _ in range(PAGE + 50):
        await rig.create()
    await rig.number()
    reader = await rig.reader().open(BEGINNING)
    first = await reader.subscription.read()
    assert len(first) == PAGE
    reader.items += first
    for _ in range(5):
        await rig.create()
    await rig.advance()
    assert (await reader.read_all()).events == await rig.all_ids()


async def test_a_reader_that_never_reads_keeps_little_and_then_gets_all(rig: FeedRig) -> None:
    """R06: the queue is bounded; states are never lost."""
    reader = await rig.reader().open()
    quick = await rig.reader().open()
    for _ in range(2 * MOST_QUEUED + 10):
        await rig.create()
        if random.random() < 0.01:
            await rig.advance()
            await quick.read_all()
    await rig.advance()
    assert len(reader.subscription._queue) <= MOST_QUEUED
    assert (await reader.read_all()).events == await rig.all_ids()
    assert (await quick.read_all()).events == await rig.all_ids()


async def test_an_overflow_in_the_middle_of_a_replay(rig: FeedRig) -> None:
    for _ in range(PAGE + 1):
        await rig.create()
    await rig.number()
    reader = await rig.reader().open(BEGINNING)
    reader.items += await reader.subscription.read()
    for _ in range(MOST_QUEUED + 1):
        await rig.create()
    await rig.advance()
    for _ in range(3):
        await rig.create()
    await rig.advance()
    assert (await reader.read_all()).events == await rig.all_ids()


@pytest.mark.parametrize("seed", range(10))
async def test_readers_in_any_order_of_things(rig: FeedRig, seed: int) -> None:
    """Readers come, go, read, lag; whatever happens, each has every event behind its cursor once and in order."""
    chance = random.Random(seed)
    readers = [await rig.reader().open(BEGINNING) for _ in range(3)]
    for _ in range(120):
        chance.choice(readers).takes = chance.random() < 0.5
        match chance.randrange(7):
            case 0 | 1:
                await asyncio.gather(*(rig.create() for _ in range(chance.choice([1, 5, 90]))))
            case 2:
                await rig.number()
            case 3:
                await rig.advance()
            case 4:
                await rig.number_and_advance(chance.choice([3, 100]))
            case 5:
                reader = chance.choice(readers)
                if reader.subscription.is_ready:
                    reader.items += await reader.subscription.read()
            case _:
                reader = chance.choice(readers)
                reader.leave()
                ids = await rig.store.outbox.events(0, 100_000)
                after = next(
                    (cursor_of(event) for event in ids if reader.events and event.id == reader.events[-1]), None
                )
                await reader.open(after or BEGINNING)
    await rig.advance()
    for reader in readers:
        assert (await reader.read_all()).events == await rig.all_ids()
        assert not reader.gaps


@pytest.mark.parametrize("cursor", [Cursor(1, "0badcafe"), Cursor(99, "0badcafe"), Cursor(99, "00000000")])
async def test_a_cursor_that_is_not_known_is_a_gap_and_then_the_oldest(rig: FeedRig, cursor: Cursor) -> None:
    """N10: a restored database, or one that has forgotten."""
    await rig.create()
    await rig.create()
    await rig.number()
    reader = await rig.reader().open(cursor)
    await reader.read_all()
    assert reader.gaps == 1
    assert reader.events == await rig.all_ids()
    await rig.create()
    await rig.advance()
    assert (await reader.read_all()).events == await rig.all_ids()


async def test_a_log_that_is_restored_under_its_readers(rig: FeedRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuspy_server.events.feed.LOOK_SECONDS", 0.0)
    for _ in range(5):
        await rig.create()
    await rig.number()
    reader = await rig.reader().open()
    await reader.read_all()
    await rig.store.stop()
    with closing(sqlite3.connect(rig.store.path)) as database, database:
        database.execute("DELETE FROM events WHERE position > 2")
        database.execute("UPDATE sqlite_sequence SET seq = 2 WHERE name = 'events'")
    await rig.store.start()
    await rig.feed.advance()
    await rig.create()
    await rig.advance()
    assert (await reader.read_all()).gaps == 1
    assert reader.events == await rig.all_ids()


async def test_a_database_that_is_away_holds_up_and_loses_nothing(rig: FeedRig) -> None:
    """I12: the next wake goes on."""
    reader = await rig.reader().open(BEGINNING)
    await rig.create()
    await rig.advance()
    await rig.create()
    await rig.number()
    rig.log.is_away = True
    await rig.feed.advance()
    lagging = rig.reader()
    await lagging.open(BEGINNING)
    with pytest.raises(StoreUnavailable):
        await lagging.subscription.read()
    with pytest.raises(StoreUnavailable):
        await rig.reader(feed=rig.another_process()).open()
    rig.log.is_away = False
    await rig.feed.advance()
    assert (await reader.read_all()).events == (await lagging.read_all()).events == await rig.all_ids()


async def test_a_replay_that_is_given_up_in_the_middle_goes_on(rig: FeedRig) -> None:
    for _ in range(3):
        await rig.create()
    await rig.number()
    reader = await rig.reader().open(Cursor(7, "0badcafe"))
    for _ in range(3):
        reading = asyncio.create_task(_read(reader.subscription))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
    assert (await reader.read_all()).events == await rig.all_ids()
    assert reader.gaps == 1


async def _read(subscription: object) -> None:
    await subscription.read()  # type: ignore[attr-defined]


async def test_many_that_come_back_together_do_not_fill_the_database(rig: FeedRig) -> None:
    for _ in range(10):
        await rig.create()
    await rig.number()
    readers = [await rig.reader().open(BEGINNING) for _ in range(200)]
    await asyncio.gather(*(reader.read_all() for reader in readers))
    assert rig.log.most_at_once <= READERS
    wanted = await rig.all_ids()
    assert all(reader.events == wanted for reader in readers)


async def test_filters_hold_for_what_is_replayed_and_for_what_is_new(rig: FeedRig) -> None:
    """I9: a tenant's reader is told of its own alone, whatever it names."""
    uploads = [await rig.create(tenant=tenant) for tenant in ("a", "b", "a", "b")]
    await rig.number()
    filters = {
        "upload": EventFilter(upload_id=uploads[0].id),
        "foreign": EventFilter(upload_id=uploads[1].id, tenant="a"),
        "tenant": EventFilter(tenant="a"),
        "type": EventFilter(types=frozenset({EventType.FINISHED})),
        "none": EventFilter(upload_id="unknown"),
    }
    readers = {name: await rig.reader(Interest(only=only)).open(BEGINNING) for name, only in filters.items()}
    await readers["tenant"].read_all()
    for upload in uploads:
        await rig.finish(upload)
    await rig.advance()
    events = await rig.store.outbox.events(0, 100)
    for name, reader in readers.items():
        await reader.read_all()
        assert reader.events == [event.id for event in events if filters[name].matches(event)], name
    assert [len(reader.events) for reader in readers.values()] == [2, 0, 4, 4, 0]


async def test_progress_alone_brings_no_states(rig: FeedRig) -> None:
    reader = await rig.reader(Interest(states=False)).open(BEGINNING)
    upload = await rig.create()
    await rig.advance()
    rig.hub.progressed(_progress(upload.id, 5))
    await rig.finish(upload)
    await rig.advance()
    await reader.read_all()
    assert not reader.events
    assert [progress.upload_offset for progress in reader.progress] == [5]


def _progress(upload_id: str, offset: int) -> Progress:
    return Progress(
        upload_id=upload_id, upload_offset=offset, upload_length=10, tenant=None, job_id=None, bytes_per_second=None
    )


async def test_an_event_that_is_numbered_while_the_first_reader_comes_is_told_at_once(
    rig: FeedRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I12: else it would be told by the relay's next pass, some seconds later."""
    asked, answer = asyncio.Event(), asyncio.Event()
    last_position = rig.log.last_position

    async def slowly() -> int:
        position = await last_position()
        asked.set()
        await answer.wait()
        return position

    monkeypatch.setattr(rig.log, "last_position", slowly)
    reader = rig.reader()
    coming = asyncio.create_task(reader.open())
    await asked.wait()
    await rig.create()
    await rig.number()
    advancing = asyncio.create_task(rig.feed.advance())
    await asyncio.sleep(0)
    answer.set()
    await coming
    await advancing
    assert (await reader.read_all()).events == await rig.all_ids()

"""A feed over a real SQLite log, and readers that a test drives by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.contracts.rig import ManualClock
from tests.contracts.rows import commit, create, draft, new_id, terminate
from tests.stores.sqlite.rigs import SqliteRig
from tuspy_server.events.cloudevents import Cursor
from tuspy_server.events.feed import Feed
from tuspy_server.events.hub import Hub
from tuspy_server.events.subscription import Gap, Interest, Item, Live, Subscription
from tuspy_server.model import Event, EventType, Upload
from tuspy_server.ports import EventDraft, EventFilter, NewUpload, Progress
from tuspy_server.protocol.errors import StoreUnavailable

EVERYTHING = Interest()
ANY = EventFilter()


class CountedLog:
    """The log, with what is asked of it; it can be away."""

    def __init__(self, rig: SqliteRig) -> None:
        self._rig = rig
        self.is_away = False
        self.asked = 0
        self.most_at_once = 0
        self._at_once = 0

    async def events(
        self, after: int, limit: int, only: EventFilter = ANY, up_to: int | None = None
    ) -> Sequence[Event]:
        self._count()
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await self._rig.outbox.events(after, limit, only, up_to)
        finally:
            self._at_once -= 1

    async def event_at(self, position: int) -> Event | None:
        self._count()
        return await self._rig.outbox.event_at(position)

    async def last_position(self) -> int:
        self._count()
        return await self._rig.outbox.last_position()

    def _count(self) -> None:
        self.asked += 1
        if self.is_away:
            raise StoreUnavailable


class Reader:
    """One subscription, and all that it has been given."""

    def __init__(self, feed: Feed, interest: Interest) -> None:
        self.feed = feed
        self.interest = interest
        self.items: list[Item] = []
        self.wakes = 0
        self.takes = False
        """What it is offered at once."""
        self.subscription: Subscription

    def _woken(self) -> None:
        self.wakes += 1

    def _take(self, event: Event) -> bool:
        if self.takes:
            self.items.append(event)
        return self.takes

    async def open(self, after: Cursor | None = None) -> Reader:
        self.subscription = await self.feed.subscribe(self.interest, self._woken, after, self._take)
        return self

    async def read_all(self) -> Reader:
        while self.subscription.is_ready:
            self.items += await self.subscription.read()
        return self

    def leave(self) -> None:
        self.feed.unsubscribe(self.subscription)

    @property
    def events(self) -> list[str]:
        return [item.id for item in self.items if isinstance(item, Event)]

    @property
    def gaps(self) -> int:
        return sum(isinstance(item, Gap) for item in self.items)

    @property
    def lives(self) -> list[Cursor]:
        return [item.cursor for item in self.items if isinstance(item, Live)]

    @property
    def progress(self) -> list[Progress]:
        return [item for item in self.items if isinstance(item, Progress)]


class FeedRig:
    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.store = SqliteRig(self.clock, folder / "events.sqlite3")
        self.log = CountedLog(self.store)
        self.hub = Hub()
        self.feed = Feed(self.log, self.hub)

    def another_process(self) -> Feed:
        return Feed(self.log, Hub())

    def reader(self, interest: Interest = EVERYTHING, feed: Feed | None = None) -> Reader:
        return Reader(feed or self.feed, interest)

    async def number(self) -> None:
        while await self.store.outbox.relay(100):
            pass

    async def advance(self) -> None:
        """What the relay's loop does where another node has numbered."""
        await self.number()
        await self.feed.advance()

    async def number_and_advance(self, most: int = 100) -> None:
        """What it does otherwise."""
        after = self.feed.position
        await self.feed.advance(await self.store.outbox.relay(most, after), after)

    async def create(self, *, job_id: str | None = None, tenant: str | None = None) -> Upload:
        if job_id is None and tenant is None:
            return await create(self.store.uploads, writer=new_id())
        new = NewUpload(
            id=new_id(),
            upload_length=10,
            upload_metadata=None,
            writer=new_id(),
            lifetime=None,
            tenant=tenant,
            job_id=job_id,
        )
        return await self.store.uploads.create(new, self._draft(EventType.CREATED, new))

    async def finish(self, upload: Upload) -> None:
        done = commit(upload, 10, length=10, release=True)
        assert await self.store.uploads.finish(done, self._draft(EventType.FINISHED, upload)) is not None

    @staticmethod
    def _draft(kind: EventType, about: Upload | NewUpload) -> EventDraft:
        return replace(draft(kind, about.id), tenant=about.tenant, job_id=about.job_id)

    async def terminate(self, upload: Upload) -> None:
        await terminate(self.store.uploads, upload)

    async def all_ids(self) -> list[str]:
        return [event.id for event in await self.store.outbox.events(0, 10_000)]

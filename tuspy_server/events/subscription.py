"""One reader of events: what it wants, where it is, and the little that waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from tuspy_server.events.cloudevents import BEGINNING, Cursor
from tuspy_server.model import Event
from tuspy_server.ports import EventFilter, Progress

MOST_QUEUED: Final = 256
"""Events that wait for one reader. One that is further behind reads them from the log, in its own time."""

MOST_PROGRESS: Final = 1000
"""Uploads whose progress waits for one reader."""

PAGE: Final = 100
"""Events that are read from the log at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interest:
    """What a reader wants.

    Attributes:
        only: which events.
        states: whether it wants events at all, or progress alone.
        progress: whether it wants progress, too.
    """

    only: EventFilter = field(default_factory=EventFilter)
    states: bool = True
    progress: bool = True

    def wants(self, progress: Progress) -> bool:
        """Whether it wants this."""
        only = self.only
        return (
            self.progress
            and (only.upload_id is None or progress.upload_id == only.upload_id)
            and (only.job_id is None or progress.job_id == only.job_id)
            and (only.tenant is None or progress.tenant == only.tenant)
        )


@dataclass(frozen=True, slots=True)
class Live:
    """All up to `cursor` has been read; what comes next comes as it happens."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Gap:
    """The reader's cursor is unknown here, because of retention or a restored database: events may be missing between
    what it has and the oldest there is, which come next."""


Item: TypeAlias = Event | Progress | Live | Gap


class Source(Protocol):
    """Where a subscription reads what it has missed."""

    @property
    def cursor(self) -> Cursor:
        """All up to there has been offered to those who follow."""
        ...

    async def knows(self, cursor: Cursor) -> bool:
        """Whether the log still has the place, so that nothing behind it is missing."""
        ...

    async def page(self, after: int, up_to: int, only: EventFilter) -> Sequence[Event]:
        """At most `PAGE` of the events above `after`, up to `up_to`."""
        ...


def takes_nothing(_: Event) -> bool:
    """Of a reader that is woken for each event."""
    return False


class Subscription:
    """Reads what it has missed from the log, and then what the hub offers, without a hole and without a double.

    A slow reader slows nobody: what it does not take is bounded, and what does not fit is read from the log later.
    """

    def __init__(
        self,
        source: Source,
        interest: Interest,
        wake: Callable[[], None],
        after: Cursor | None,
        take: Callable[[Event], bool] = takes_nothing,
    ) -> None:
        """Follow nothing yet: see `begin`.

        Args:
            source: where it reads what it has missed.
            interest: what it wants.
            wake: called when there is something to `read`, and when the subscription is ended.
            after: where to go on; None for what comes from now on.
            take: offered an event that would be read next; whether the reader has it by that.
        """
        self.interest = interest
        self._source = source
        self._wake = wake
        self._take_now = take
        self._claimed = after
        self._origin = BEGINNING
        self._position = 0
        self._generation = 0
        self._target: int | None = None
        self._behind = False
        self._told_live = False
        self._notices: list[Item] = []
        self._queue: deque[Event] = deque()
        self._progress: dict[str, Progress] = {}
        self.is_ended = False

    @property
    def is_ready(self) -> bool:
        """Whether `read` may give something now."""
        replays = self._claimed is not None or self._behind or self._target is not None
        return replays or not self._told_live or bool(self._queue or self._progress or self._notices)

    # --- what the hub does ---------------------------------------------------------------------------------------

    def begin(self, position: int) -> None:
        """The hub offers everything above `position` from now on."""
        self._position = position
        self._wake()

    def offer(self, event: Event) -> None:
        """One more event, which the filter lets pass; synchronously."""
        if self._behind or not self.interest.states:
            return
        self._progress.pop(event.upload_id, None)
        if not self.is_ready and (event.position or 0) > self._position and self._take_now(event):
            self._position = event.position or 0
            return
        if len(self._queue) >= MOST_QUEUED:
            self._fall_behind()
        else:
            self._queue.append(event)
        self._wake()

    def offer_progress(self, progress: Progress) -> None:
        """The latest of one upload takes the place of what has not been read."""
        if progress.upload_id in self._progress or len(self._progress) < MOST_PROGRESS:
            self._progress[progress.upload_id] = progress
            self._wake()

    def forget(self) -> None:
        """The log is another one: whatever has been read, what is there now comes from its beginning."""
        self._claimed = None
        self._position = 0
        self._generation += 1
        self._notices = [Gap()]
        self._fall_behind()
        self._wake()

    def end(self) -> None:
        """Nothing more will come."""
        self.is_ended = True
        self._wake()

    def _fall_behind(self) -> None:
        self._queue.clear()
        self._progress.clear()
        self._behind = True
        self._target = None

    # --- what the reader does ------------------------------------------------------------------------------------

    async def read(self) -> Sequence[Item]:
        """What is there, in order; empty where nothing is. Waits for the database alone, and only where something has
        been missed.

        Raises:
            TryLater: of the store; nothing is lost, the next call goes on.
        """
        if self._claimed is not None:
            await self._find_place(self._claimed)
        if self._behind:
            # What is dispatched from here on is queued.
            self._behind, self._target = False, self._source.cursor.position
        items, self._notices = self._notices, []
        if self._target is not None:
            try:
                items += await self._replay(self._target)
            except BaseException:
                self._notices = items + self._notices
                raise
        if self._target is None and not self._behind:
            items += self._take()
        return items

    async def _find_place(self, cursor: Cursor) -> None:
        known = await self._source.knows(cursor)
        if self._claimed is not cursor:
            return
        self._claimed, self._behind = None, True
        if known:
            self._origin, self._position = cursor, cursor.position
        else:
            self._position = 0
            self._notices.append(Gap())

    async def _replay(self, target: int) -> Sequence[Item]:
        position, generation = self._position, self._generation
        if not self.interest.states or position >= target:
            self._target = None
            return ()
        page = await self._source.page(after=position, up_to=target, only=self.interest.only)
        if self._generation != generation:
            return ()  # what was read is of a log that is no more
        if len(page) < PAGE:
            self._position = target
            if self._target == target:
                self._target = None
        else:
            self._position = page[-1].position or position
        return page

    def _take(self) -> list[Item]:
        items: list[Item] = [event for event in self._queue if (event.position or 0) > self._position]
        if self._queue:
            self._position = max(self._position, self._queue[-1].position or 0)
        self._queue.clear()
        if not self._told_live:
            self._told_live = True
            # Another node may have told the reader of more than this one knows yet.
            is_ahead = self._position > self._source.cursor.position
            items.append(Live(self._origin if is_ahead else self._source.cursor))
        items += self._progress.values()
        self._progress.clear()
        return items

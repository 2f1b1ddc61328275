"""Hands events and progress to those who follow them, within one process."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from tuspy_server.events.cloudevents import BEGINNING, Cursor, cursor_of
from tuspy_server.events.subscription import Subscription
from tuspy_server.model import Event, EventType
from tuspy_server.ports import Progress, ProgressBus

MOST_OFFSETS: Final = 10_000
"""Uploads of which it is known how far they were last said to be."""


class _Index:
    """Subscriptions by the one thing that each follows: what follows something else costs an event nothing."""

    def __init__(self) -> None:
        self._of_uploads: dict[str, dict[Subscription, None]] = {}
        self._of_jobs: dict[str, dict[Subscription, None]] = {}
        self._of_all: dict[Subscription, None] = {}
        self.size = 0

    def add(self, subscription: Subscription) -> None:
        only = subscription.interest.only
        if only.upload_id is not None:
            self._of_uploads.setdefault(only.upload_id, {})[subscription] = None
        elif only.job_id is not None:
            self._of_jobs.setdefault(only.job_id, {})[subscription] = None
        else:
            self._of_all[subscription] = None
        self.size += 1

    def discard(self, subscription: Subscription) -> bool:
        only = subscription.interest.only
        if only.upload_id is not None:
            found = _remove(self._of_uploads, only.upload_id, subscription)
        elif only.job_id is not None:
            found = _remove(self._of_jobs, only.job_id, subscription)
        else:
            found = subscription in self._of_all
            self._of_all.pop(subscription, None)
        self.size -= found
        return found

    def of(self, upload_id: str, job_id: str | None) -> Iterator[Subscription]:
        yield from self._of_uploads.get(upload_id, ())
        if job_id is not None:
            yield from self._of_jobs.get(job_id, ())
        yield from self._of_all

    def __iter__(self) -> Iterator[Subscription]:
        for group in (*self._of_uploads.values(), *self._of_jobs.values(), self._of_all):
            yield from group


def _remove(groups: dict[str, dict[Subscription, None]], key: str, subscription: Subscription) -> bool:
    group = groups.get(key, {})
    if subscription not in group:
        return False
    del group[subscription]
    if not group:
        del groups[key]
    return True


class Hub:
    """The subscriptions of one process, and the place in the log up to which they have been told.

    Attributes:
        cursor: behind the last event that was dispatched.
    """

    def __init__(self, bus: ProgressBus | None = None) -> None:
        """`bus`: tells what happens on other nodes; listened to while somebody follows progress."""
        self.cursor: Cursor = BEGINNING
        self._index = _Index()
        self._bus = bus
        self._watchers = 0
        self._offsets: OrderedDict[str, float] = OrderedDict()

    @property
    def position(self) -> int:
        """That of `cursor`."""
        return self.cursor.position

    def __len__(self) -> int:
        return self._index.size

    def attach(self, subscription: Subscription) -> None:
        """It is told of everything from now on."""
        self._index.add(subscription)
        if subscription.interest.progress:
            self._watchers += 1
            if self._watchers == 1 and self._bus is not None:
                self._bus.watch(self.progressed)
        subscription.begin(self.position)

    def detach(self, subscription: Subscription) -> None:
        """It is told nothing more; may be called twice."""
        if self._index.discard(subscription) and subscription.interest.progress:
            self._watchers -= 1
            if self._watchers == 0 and self._bus is not None:
                self._bus.watch(None)

    def dispatch(self, events: Sequence[Event]) -> None:
        """Hand on numbered events, in their order."""
        for event in events:
            self.cursor = cursor_of(event)
            if event.type is not EventType.CREATED:
                self._remember(event.upload_id, math.inf)  # no progress behind its end
            for subscription in self._index.of(event.upload_id, event.job_id):
                if subscription.interest.only.matches(event):
                    subscription.offer(event)

    def progressed(self, progress: Progress) -> None:
        """Hand on how far an upload has come, here or on another node. What comes late, and says less, is dropped."""
        if not self._watchers or progress.upload_offset <= self._offsets.get(progress.upload_id, -1):
            return
        self._remember(progress.upload_id, progress.upload_offset)
        for subscription in self._index.of(progress.upload_id, progress.job_id):
            if subscription.interest.wants(progress):
                subscription.offer_progress(progress)

    def restart(self, cursor: Cursor) -> None:
        """The log has become another one (a restored database): everybody reads it from its beginning."""
        self.cursor = cursor
        for subscription in self._index:
            subscription.forget()

    def end(self) -> None:
        """End all subscriptions: the server drains."""
        for subscription in list(self._index):
            subscription.end()

    def subscriptions(self) -> Iterable[Subscription]:
        """All of them, as they are now."""
        return list(self._index)

    def _remember(self, upload_id: str, offset: float) -> None:
        self._offsets[upload_id] = offset
        self._offsets.move_to_end(upload_id)
        if len(self._offsets) > MOST_OFFSETS:
            self._offsets.popitem(last=False)

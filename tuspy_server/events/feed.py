"""Brings numbered events from the log to the hub, once for all who follow them in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from tuspy_server.events.cloudevents import BEGINNING, CURSOR_DIGITS, MOST_POSITION, Cursor, cursor_of
from tuspy_server.events.hub import Hub
from tuspy_server.events.subscription import PAGE, Interest, Subscription, takes_nothing
from tuspy_server.model import Event
from tuspy_server.ports import EventFilter, EventLog

log = structlog.get_logger("tuspy_server.events")

BATCH: Final = 500
READERS: Final = 4
"""Pages of replays that are read at once: a thousand readers that come back together must not fill the database."""

LOOK_SECONDS: Final = 5.0
"""Between two looks whether the log still is the one that was read."""


class Feed:
    """Reads while somebody follows; otherwise it costs nothing.

    Attributes:
        hub: where the events go.
    """

    def __init__(self, events: EventLog, hub: Hub) -> None:
        self.hub = hub
        self._log = events
        self._live = False
        self._advancing = asyncio.Lock()
        self._replays = asyncio.Semaphore(READERS)
        self._looked_at = 0.0

    @property
    def cursor(self) -> Cursor:
        """See `Source`."""
        return self.hub.cursor

    @property
    def position(self) -> int | None:
        """See `Readers`."""
        return self.hub.position if self._live and len(self.hub) else None

    async def advance(self, events: Sequence[Event] = (), after: int | None = None) -> None:
        """See `Readers`. Trouble with the store is logged; the next call goes on from the same place."""
        async with self._advancing:
            if not len(self.hub):
                self._live = False
                return
            place = self.hub.position
            # What is not above the place is of another log: see `_look`.
            is_whole = self._live and after == place and not (events and (events[0].position or 0) <= place)
            try:
                while events := events if is_whole else await self._read():
                    self.hub.dispatch(events)
                    if is_whole or len(events) < BATCH:
                        return
                await self._look()
            except Exception:  # the relay's loop calls it, and has to outlive it
                log.exception("feed.failed", position=self.hub.position)

    async def subscribe(
        self,
        interest: Interest,
        wake: Callable[[], None],
        after: Cursor | None,
        take: Callable[[Event], bool] = takes_nothing,
    ) -> Subscription:
        """Follow events from now on, or from behind `after`; until `unsubscribe`. See `Subscription`.

        Raises:
            TryLater: the store cannot say where the log ends.
        """
        subscription = Subscription(self, interest, wake, after, take)
        if not self._live:
            await self._go_live()
        self.hub.attach(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Follow it no more; may be called twice."""
        self.hub.detach(subscription)

    async def _go_live(self) -> None:
        """From the end of the log. Between this and `attach` nothing is awaited, so that nothing is missed."""
        async with self._advancing:
            if not self._live:
                self.hub.cursor = await self._end_of_log()
                self._live = True

    async def _end_of_log(self) -> Cursor:
        position = await self._log.last_position()
        event = await self._log.event_at(position) if position else None
        return Cursor(position, BEGINNING.digits) if event is None else cursor_of(event)

    async def _read(self) -> Sequence[Event]:
        return await self._log.events(self.hub.position, BATCH) if self._live else ()

    async def _look(self) -> None:
        """A database that was restored numbers anew: positions that were read already come again."""
        now = time.monotonic()
        if not self._live or now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        if await self._log.last_position() < self.hub.position:
            log.warning("feed.log.replaced", position=self.hub.position)
            self.hub.restart(await self._end_of_log())

    # --- what subscriptions ask ----------------------------------------------------------------------------------

    async def knows(self, cursor: Cursor) -> bool:
        """See `Source`."""
        async with self._replays:
            if cursor.digits == "0" * CURSOR_DIGITS and cursor.position:
                # Made when the event there was gone already: nothing is missing if the next one follows directly.
                # With an end: a log may put what it is asked without one, which is our own reading, before uploads.
                following = await self._log.events(cursor.position, 1, up_to=MOST_POSITION)
                if following:
                    return following[0].position == cursor.position + 1
                return await self._log.last_position() == cursor.position
            return cursor.names(await self._log.event_at(cursor.position) if cursor.position else None)

    async def page(self, after: int, up_to: int, only: EventFilter) -> Sequence[Event]:
        """See `Source`."""
        async with self._replays:
            return await self._log.events(after, PAGE, only, up_to)

"""The relay: numbers committed events, and hands them to those who want them, at least once, in order for each upload.

One loop of a process waits for the wakeup, registers what is new, numbers what has been committed (its own, and now and
then what other nodes have left), tells the feed, and wakes the lanes. Each recipient has a lane of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from tuspy_server.events.lane import Lane
from tuspy_server.events.recipients import Recipient
from tuspy_server.events.settling import Settling
from tuspy_server.model import Event
from tuspy_server.ports import Consumer, Outbox, Wakeup

log = structlog.get_logger("tuspy_server.events")

BATCH: Final = 500
"""Events numbered by one statement."""

LEASES_AT_ONCE: Final = 2
"""Of all lanes: they share the database with uploads."""

POLL_SECONDS: Final = 5.0
REGISTER_SECONDS: Final = 3600.0
"""The outbox forgets consumers that nobody has registered for a month."""


class Readers(Protocol):
    """Who reads events as they are numbered."""

    @property
    def position(self) -> int | None:
        """Up to where they have read; None while there are none."""
        ...

    async def advance(self, events: Sequence[Event], after: int | None) -> None:
        """These are all that there are above `after`, but for what is numbered from now on. Without it nothing is
        known, but that other nodes may have numbered some."""
        ...


class Relay:
    """Runs until cancelled. No other part of the process numbers events."""

    def __init__(
        self,
        outbox: Outbox,
        recipients: Callable[[], Sequence[Recipient]],
        wakeup: Wakeup,
        readers: Readers | None = None,
    ) -> None:
        """Put it together.

        Args:
            outbox: where events and deliveries are.
            recipients: those that this process can reach; there may be more at any time.
            wakeup: tells of commits, here and on other nodes.
            readers: told of what is numbered before any of it is delivered.
        """
        self._outbox = outbox
        self._recipients = recipients
        self._wakeup = wakeup
        self._readers = readers
        self._settling = Settling(outbox, wakeup)
        self._statements = asyncio.Semaphore(LEASES_AT_ONCE)
        self._lanes: dict[str, tuple[Lane, asyncio.Task[None]]] = {}
        self._registered: frozenset[Consumer] = frozenset()
        self._register_at = 0.0

    async def run(self) -> None:
        """Number, tell, deliver; wait for the next commit or poll."""
        settling = asyncio.get_running_loop().create_task(self._settling.run())
        unnumbered = True
        try:
            while True:
                try:
                    await self._pass(unnumbered)
                    unnumbered = False
                except Exception:  # the loop must outlive trouble with the store
                    log.exception("relay.failed")
                    self._register_at = 0.0  # what comes back may be older than what went: a backup, a standby
                unnumbered |= await self._wakeup.wait(POLL_SECONDS)
        finally:
            await _end([task for _, task in self._lanes.values()])
            await _end([settling])

    async def _pass(self, unnumbered: bool) -> None:
        recipients = self._recipients()
        # First of all: an event that is numbered before its consumer is known is not delivered to it.
        await self._register(frozenset(recipient.consumer for recipient in recipients))
        if unnumbered:
            while await self._number() >= BATCH:
                pass
        else:
            await self._tell((), None)
        for recipient in recipients:
            if recipient.name not in self._lanes:
                self._begin(recipient)
        for lane, _ in self._lanes.values():
            lane.wake()

    async def _number(self) -> int:
        after = None if self._readers is None else self._readers.position
        events = await self._outbox.relay(BATCH, after)
        await self._tell(events, after)
        return len(events)

    async def _tell(self, events: Sequence[Event], after: int | None) -> None:
        if self._readers is None:
            return
        try:
            await self._readers.advance(events, after)
        except Exception:  # deliveries do not wait for readers
            log.exception("relay.feed.failed")

    async def _register(self, consumers: frozenset[Consumer]) -> None:
        now = asyncio.get_running_loop().time()
        if consumers == self._registered and now < self._register_at:
            return
        if consumers:
            await self._outbox.register(sorted(consumers, key=lambda consumer: consumer.name))
        self._registered, self._register_at = consumers, now + REGISTER_SECONDS

    def _begin(self, recipient: Recipient) -> None:
        lane = Lane(recipient, self._outbox, self._settling, self._statements, lambda: POLL_SECONDS)
        self._lanes[recipient.name] = lane, asyncio.get_running_loop().create_task(lane.run())


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

"""The relay: hands committed events to their consumers, at least once, in order for each upload."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Set
from typing import Final, Protocol

import structlog

from tuspy_server.model import Event, EventType
from tuspy_server.ports import Delivery, Outbox, Wakeup

log = structlog.get_logger("tuspy_server.events")

BATCH: Final = 100
AT_ONCE: Final = 16
"""Calls of one consumer at once. Each has places of its own: one that is slow holds up none of the others."""

POLL_SECONDS: Final = 5.0
FIRST_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 3600.0


class Consumers(Protocol):
    """Those who get events, and the way to them."""

    @property
    def consumers(self) -> Mapping[str, Set[EventType]]:
        """Names, with the types that each wants."""
        ...

    async def call(self, consumer: str, event: Event) -> None:
        """Deliver; raising means that it has not been."""
        ...


def retry_delay_seconds(attempt: int) -> float:
    """Exponential, with full jitter in its upper half, up to an hour: 1, 2, 4 … seconds after attempts 1, 2, 3."""
    longest = min(FIRST_RETRY_SECONDS * 2.0 ** min(attempt - 1, 32), LONGEST_RETRY_SECONDS)
    return longest * random.uniform(0.5, 1.0)


class Relay:
    """Runs until cancelled. What a crash interrupts is delivered again, with the same event id (faults C06, C07)."""

    def __init__(
        self, outbox: Outbox, consumers: Consumers, wakeup: Wakeup, *, call_seconds: float, most_attempts: int
    ) -> None:
        """`call_seconds`: deadline of one call; `most_attempts`: calls before an event is dead for a consumer."""
        self._outbox = outbox
        self._consumers = consumers
        self._wakeup = wakeup
        self._call_seconds = call_seconds
        self._most_attempts = most_attempts
        self._delivering: dict[asyncio.Task[None], str] = {}

    async def run(self) -> None:
        """Deliver whatever is due, then wait for the next commit, retry or poll."""
        try:
            while True:
                try:
                    wait_seconds = await self._pass()
                except Exception:  # the loop must outlive trouble with the store
                    log.exception("relay.failed")
                    wait_seconds = POLL_SECONDS
                if wait_seconds > 0:
                    await self._wakeup.wait(wait_seconds)
        finally:
            for task in self._delivering:
                task.cancel()

    async def _pass(self) -> float:
        """One round. Returns how long nothing will be due, at most a poll's interval."""
        consumers = self._consumers.consumers
        names = sorted(consumers)
        if not names:
            return POLL_SECONDS  # events wait for an application that has hooks: this process may be a mere `serve`
        while await self._outbox.relay(consumers, BATCH):
            pass
        # Where every place is taken, the first call to end wakes the loop.
        idle = [name for name in names if await self._fill(name)]
        if not idle:
            return POLL_SECONDS
        due_seconds = await self._outbox.next_due_seconds(idle)
        return POLL_SECONDS if due_seconds is None else min(max(due_seconds, 0.0), POLL_SECONDS)

    async def _fill(self, name: str) -> bool:
        """Begin what is due for one consumer. Whether places are left."""
        free = AT_ONCE - list(self._delivering.values()).count(name)
        if free == 0:
            return False
        # The lease outlives the call's deadline, so that no delivery runs twice at once while its process lives.
        leased = await self._outbox.lease([name], free, self._call_seconds + 30.0)
        for delivery in leased:
            task = asyncio.get_running_loop().create_task(self._deliver(delivery))
            self._delivering[task] = name
            task.add_done_callback(self._delivered)
        return len(leased) < free

    def _delivered(self, task: asyncio.Task[None]) -> None:
        del self._delivering[task]
        self._wakeup.notify()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("event.delivery.unsettled", reason=repr(error))  # the lease ends, and it is delivered again

    async def _deliver(self, delivery: Delivery) -> None:
        event = delivery.event
        fields = {
            "event_id": event.id,
            "event_type": event.type,
            "upload_id": event.upload_id,
            "consumer": delivery.consumer,
            "attempt": delivery.attempt,
        }
        try:
            async with asyncio.timeout(self._call_seconds):
                await self._consumers.call(delivery.consumer, event)
        except Exception as error:  # a hook may raise anything
            reason = f"{type(error).__name__}: {error}"[:500]
            if delivery.attempt >= self._most_attempts:
                log.error("event.delivery.dead", **fields, reason=reason)
                await self._outbox.bury(delivery, reason)
                return
            delay_seconds = retry_delay_seconds(delivery.attempt)
            log.warning("event.delivery.failed", **fields, reason=reason, retry_seconds=round(delay_seconds, 1))
            await self._outbox.retry(delivery, delay_seconds, reason)
        else:
            await self._outbox.delivered(delivery)
            log.debug("event.delivered", **fields)

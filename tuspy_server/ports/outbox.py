"""Committed events, and their way to consumers and readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from tuspy_server.model import Event, EventType


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """Somebody to whom events are delivered.

    Attributes:
        name: under which deliveries are kept; it outlives restarts.
        types: what it wants.
        processing: whether a finished upload counts as processed only when this one has succeeded with its
            `upload.finished`.
    """

    name: str
    types: frozenset[EventType]
    processing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredConsumer:
    """A consumer as the outbox knows it. `disabled_reason`: set while it gets no deliveries."""

    consumer: Consumer
    registered_at: datetime
    seen_at: datetime
    disabled_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event on its way to one consumer.

    Attributes:
        attempt: counts from 1.
        tried_seconds: since the lease of the first attempt, by the store's clock; 0 at that one. Counted anew where the
            attempts are.
    """

    event: Event
    consumer: str
    attempt: int
    tried_seconds: float = 0.0


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """A delivery as people see it. `due_at`: of the next attempt; `error`: of the last one."""

    event: Event
    consumer: str
    status: DeliveryStatus
    attempts: int
    due_at: datetime
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What is still to be done.

    Attributes:
        waiting: deliveries that are on their way, or to be tried again.
        dead: deliveries that were given up.
        lag_seconds: since the oldest event that has no number yet; 0 where all have theirs.
    """

    waiting: int
    dead: int
    lag_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events a reader wants: all that is given must hold; None or empty for any."""

    upload_id: str | None = None
    job_id: str | None = None
    tenant: str | None = None
    types: frozenset[EventType] = frozenset()

    def matches(self, event: Event) -> bool:
        """Whether the reader wants it."""
        return (
            (self.upload_id is None or event.upload_id == self.upload_id)
            and (self.job_id is None or event.job_id == self.job_id)
            and (self.tenant is None or event.tenant == self.tenant)
            and (not self.types or event.type in self.types)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Which deliveries: all that is given must hold; None for any."""

    consumer: str | None = None
    status: DeliveryStatus | None = None
    upload_id: str | None = None
    event_id: str | None = None


class EventLog(Protocol):
    """Numbered events, for readers. Their order is one for all, and no reader that goes on from a position skips a
    committed event, whenever it was committed."""

    async def events(
        self, after: int, limit: int, only: EventFilter = ..., up_to: int | None = None
    ) -> Sequence[Event]:
        """Events with a position above `after`, and at most `up_to`, in order, that `only` lets pass."""
        ...

    async def event_at(self, position: int) -> Event | None:
        """The event of one position, if it is still there."""
        ...

    async def last_position(self) -> int:
        """The highest position that was ever given; 0 before the first."""
        ...


class Outbox(EventLog, Protocol):
    """Committed events, and their way to consumers."""

    async def register(self, consumers: Sequence[Consumer]) -> None:
        """Make these known: every event numbered from now on that one of them wants gets a delivery to it, whichever
        process numbers it. Known ones are updated and seen; one that was disabled stays so."""
        ...

    async def consumers(self) -> Sequence[RegisteredConsumer]:
        """All that are known, by name."""
        ...

    async def unregister(self, name: str) -> bool:
        """Forget one, with what waits for it (that is settled as dead). False if it is not known."""
        ...

    async def disable(self, name: str, reason: str) -> None:
        """No more deliveries to it, and those that wait are dead, until `enable`."""
        ...

    async def enable(self, name: str) -> bool:
        """Undo `disable` for events from now on; what is dead stays so until it is retried. False if not known."""
        ...

    async def forget_consumers(self, unseen_seconds: float) -> int:
        """Unregister those that no process has registered for this long. Returns how many."""
        ...

    async def relay(self, limit: int, after: int | None = None) -> Sequence[Event]:
        """Number the events that have no position yet, in one order for all readers, and make a delivery for each
        registered consumer that wants the event's type. When it returns, every event that was committed before the call
        has a position, unless `limit` or more were numbered.

        Returns those that were numbered, in their order; with `after`, at most `limit` of all that are above it,
        whoever has numbered them, unless some that were numbered are not."""
        ...

    async def lease(self, consumers: Sequence[str], limit: int, lease_seconds: float) -> Sequence[Delivery]:
        """Deliveries that are due, oldest first, hidden from other leases for `lease_seconds`. Events of one upload
        come to one consumer in their order: a later one waits until the earlier one is delivered or dead."""
        ...

    async def delivered(self, deliveries: Sequence[Delivery]) -> None:
        """Mark them done; they are not handed out again.

        Where that was the last delivery of an `upload.finished` to a processing consumer, the same transaction sets the
        upload's `processing` (failed where one of them is dead) and writes the event `upload.processed` or
        `upload.processing_failed`, with the data of the finished event; so do `bury`, `disable` and `unregister`, and
        `relay` where nobody is left to process. A later success of what was dead makes `failed` into `done`. An upload
        that is finished no more (it was terminated) is left as it is.
        """
        ...

    async def retry(self, delivery: Delivery, delay_seconds: float, error: str) -> None:
        """Hand it out again after `delay_seconds`, with the next attempt number."""
        ...

    async def bury(self, delivery: Delivery, error: str) -> None:
        """Give it up: kept as dead for people to see, never handed out again by itself."""
        ...

    async def next_due_seconds(self, consumers: Sequence[str]) -> float | None:
        """Seconds until the next lease can return something (0 or less: now); None if nothing waits."""
        ...

    async def deliveries(self, only: DeliveryFilter, limit: int) -> Sequence[DeliveryRecord]:
        """The newest first."""
        ...

    async def backlog(self, most: int) -> Backlog:
        """How much there is to do; of each kind of deliveries, `most` are counted, so that it costs little to ask."""
        ...

    async def retry_now(self, only: DeliveryFilter) -> int:
        """Waiting and dead deliveries (by `only.status`, where given) are due now, the dead ones with their attempts
        counted anew; those to consumers that are disabled or not known stay dead. Returns how many."""
        ...

    async def replay(self, consumer: str, after: int, up_to: int | None, only: EventFilter) -> int:
        """Deliver events again, or for the first time, to a registered consumer: numbered ones above `after` and at
        most `up_to` that `only` and the consumer's types let pass. Those that wait already are left as they are.
        Returns how many; 0 where the consumer is disabled or not known."""
        ...

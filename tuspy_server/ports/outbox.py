"""Committed events, and their way to consumers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

from tuspy_server.model import Event, EventType


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event on its way to one consumer. `attempt` counts from 1."""

    event: Event
    consumer: str
    attempt: int


class Outbox(Protocol):
    """Committed events, and their way to consumers. No reader skips a committed event, whenever it was committed."""

    async def relay(self, consumers: Mapping[str, Set[EventType]], limit: int) -> int:
        """Number the events that have no position yet, in one order for all readers, and make a delivery for each
        consumer that wants the event's type. Returns how many events were numbered."""
        ...

    async def lease(self, consumers: Sequence[str], limit: int, lease_seconds: float) -> Sequence[Delivery]:
        """Deliveries that are due, oldest first, hidden from other leases for `lease_seconds`. Events of one upload
        come to one consumer in their order: a later one waits until the earlier one is delivered or dead."""
        ...

    async def delivered(self, delivery: Delivery) -> None:
        """Mark it done; it is not handed out again."""
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

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """Numbered events with a position above `after`, in order."""
        ...

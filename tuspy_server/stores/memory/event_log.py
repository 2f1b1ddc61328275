"""Events in memory, for readers: `ports.EventLog`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tuspy_server.model import Event
from tuspy_server.ports import Clock, DeliveryStatus, EventDraft, EventFilter, RegisteredConsumer
from tuspy_server.stores.memory.table import Table

EVERY_EVENT: Final = EventFilter()


@dataclass(slots=True)
class Waiting:
    """A delivery, whatever its status."""

    event: Event
    consumer: str
    due_at: datetime
    processing: bool
    attempts: int = 0
    status: DeliveryStatus = DeliveryStatus.WAITING
    error: str | None = None
    first_leased_at: datetime | None = None

    def is_on_its_way(self, now: datetime) -> bool:
        """Leased, and neither settled nor told to have failed."""
        return self.status is DeliveryStatus.WAITING and self.attempts > 0 and self.error is None and self.due_at > now


@dataclass(slots=True)
class Log:
    """What all nodes share. The first `relayed` of the events have been handed on; deliveries are by id of the event
    and name of the consumer."""

    events: list[Event] = field(default_factory=list)
    deliveries: dict[tuple[str, str], Waiting] = field(default_factory=dict)
    consumers: dict[str, RegisteredConsumer] = field(default_factory=dict)
    last_position: int = 0
    relayed: int = 0


class MemoryEventLog:
    """Events in the order of their transactions."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._log = Log()
        self._table = Table()

    async def events(
        self, after: int, limit: int, only: EventFilter = EVERY_EVENT, up_to: int | None = None
    ) -> Sequence[Event]:
        """See the port."""
        return self._chosen_events(after, up_to, only)[:limit]

    async def event_at(self, position: int) -> Event | None:
        """See the port."""
        return next((event for event in self._log.events if event.position == position), None)

    async def last_position(self) -> int:
        """See the port."""
        return self._log.last_position

    def _chosen_events(self, after: int, up_to: int | None, only: EventFilter) -> list[Event]:
        return [
            event
            for event in self._log.events
            if (event.position or 0) > after
            and (up_to is None or (event.position or 0) <= up_to)
            and only.matches(event)
        ]

    def _add_event(self, event: EventDraft, time: datetime) -> None:
        """Of the transaction under way."""
        self._log.last_position += 1
        self._log.events.append(
            Event(
                id=event.id,
                type=event.type,
                upload_id=event.upload_id,
                data=event.data,
                time=time,
                position=self._log.last_position,
                tenant=event.tenant,
                job_id=event.job_id,
            )
        )

"""Events in memory: `ports.Outbox`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tuspy_server.model import Event, EventType
from tuspy_server.ports import Clock, Delivery, EventDraft


@dataclass(slots=True)
class _Waiting:
    event: Event
    due_at: datetime
    attempts: int = 0
    status: str = "waiting"


@dataclass(slots=True)
class _Log:
    """What all nodes share."""

    events: list[Event] = field(default_factory=list)
    deliveries: dict[tuple[str, str], _Waiting] = field(default_factory=dict)
    last_position: int = 0
    relayed: int = 0


class MemoryOutbox:
    """Events in the order of their transactions."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._log = _Log()

    async def relay(self, consumers: Mapping[str, Set[EventType]], limit: int) -> int:
        """See the port."""
        fresh = self._log.events[self._log.relayed : self._log.relayed + limit]
        for event in fresh:
            for consumer, wanted in consumers.items():
                if event.type in wanted:
                    self._log.deliveries.setdefault((event.id, consumer), _Waiting(event, self._clock.now()))
        self._log.relayed += len(fresh)
        return len(fresh)

    async def lease(self, consumers: Sequence[str], limit: int, lease_seconds: float) -> Sequence[Delivery]:
        """See the port."""
        now = self._clock.now()
        leased: list[Delivery] = []
        for consumer in consumers:
            for waiting in self._first_waiting(consumer):
                if waiting.due_at <= now and len(leased) < limit:
                    waiting.attempts += 1
                    waiting.due_at = now + timedelta(seconds=lease_seconds)
                    leased.append(Delivery(event=waiting.event, consumer=consumer, attempt=waiting.attempts))
        return leased

    async def delivered(self, delivery: Delivery) -> None:
        """See the port."""
        self._log.deliveries[delivery.event.id, delivery.consumer].status = "delivered"

    async def retry(self, delivery: Delivery, delay_seconds: float, error: str) -> None:
        """See the port."""
        due_at = self._clock.now() + timedelta(seconds=delay_seconds)
        self._log.deliveries[delivery.event.id, delivery.consumer].due_at = due_at

    async def bury(self, delivery: Delivery, error: str) -> None:
        """See the port."""
        self._log.deliveries[delivery.event.id, delivery.consumer].status = "dead"

    async def next_due_seconds(self, consumers: Sequence[str]) -> float | None:
        """See the port."""
        due = [waiting.due_at for consumer in consumers for waiting in self._first_waiting(consumer)]
        return (min(due) - self._clock.now()).total_seconds() if due else None

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """See the port."""
        return [event for event in self._log.events if (event.position or 0) > after][:limit]

    # --- for the rows' transactions ------------------------------------------------------------------------------

    def _add_event(self, event: EventDraft, time: datetime) -> None:
        self._log.last_position += 1
        self._log.events.append(
            Event(
                id=event.id,
                type=event.type,
                upload_id=event.upload_id,
                data=event.data,
                time=time,
                position=self._log.last_position,
            )
        )

    def _release_leases(self) -> None:
        for waiting in self._log.deliveries.values():
            waiting.due_at = min(waiting.due_at, self._clock.now())

    def _purge_events(self, event_before: datetime, limit: int, *, unrelayed: bool) -> int:
        waiting = {key[0] for key, waiting in self._log.deliveries.items() if waiting.status == "waiting"}
        handed_on = self._log.events if unrelayed else self._log.events[: self._log.relayed]
        old = [event for event in handed_on if event.time <= event_before and event.id not in waiting][:limit]
        for event in old:
            self._log.relayed -= self._log.events.index(event) < self._log.relayed
            self._log.events.remove(event)
            for key in [key for key in self._log.deliveries if key[0] == event.id]:
                del self._log.deliveries[key]
        return len(old)

    def _first_waiting(self, consumer: str) -> list[_Waiting]:
        """The earliest waiting delivery of each upload."""
        first: dict[str, _Waiting] = {}
        for (_, name), waiting in self._log.deliveries.items():
            if name == consumer and waiting.status == "waiting":
                first.setdefault(waiting.event.upload_id, waiting)
        return list(first.values())

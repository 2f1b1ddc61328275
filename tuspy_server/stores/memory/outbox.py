"""Events in memory, and their way to consumers: `ports.Outbox`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from tuspy_server.model import Event, EventType, Processing
from tuspy_server.ports import Delivery, DeliveryStatus
from tuspy_server.stores.memory.consumers import MemoryConsumers
from tuspy_server.stores.memory.event_log import Waiting


class MemoryOutbox(MemoryConsumers):
    """Each method is one step of the event loop, so each is a transaction."""

    async def relay(self, limit: int, after: int | None = None) -> Sequence[Event]:
        """See the port."""
        relayed: list[Event] = []
        # Again for what the first time has written: that an upload is processed which nobody is to process.
        for _ in range(2):
            fresh = self._log.events[self._log.relayed : self._log.relayed + limit]
            relayed += fresh
            for event in fresh:
                for name in self._log.consumers:
                    if (event.id, name) not in self._log.deliveries:
                        self._deliver(event, name)
            self._log.relayed += len(fresh)
            finished = [event for event in fresh if event.type is EventType.FINISHED]
            uploads = self._table.uploads
            waiting = {upload.id for upload in uploads.values() if upload.processing is Processing.WAITING}
            unwanted = [event for event in finished if event.upload_id in waiting]
            if not unwanted:
                break
            self._settle_processing(unwanted)
        if after is None or (relayed and (relayed[0].position or 0) <= after):
            return relayed
        return await self.events(after, limit)

    async def lease(self, consumers: Sequence[str], limit: int, lease_seconds: float) -> Sequence[Delivery]:
        """See the port."""
        now = self._clock.now()
        leased: list[Delivery] = []
        for consumer in consumers:
            for waiting in self._first_waiting(consumer):
                if waiting.due_at <= now and len(leased) < limit:
                    waiting.attempts += 1
                    waiting.due_at, waiting.error = now + timedelta(seconds=lease_seconds), None
                    waiting.first_leased_at = waiting.first_leased_at or now
                    tried_seconds = (now - waiting.first_leased_at).total_seconds()
                    leased.append(
                        Delivery(
                            event=waiting.event,
                            consumer=consumer,
                            attempt=waiting.attempts,
                            tried_seconds=tried_seconds,
                        )
                    )
        return leased

    async def delivered(self, deliveries: Sequence[Delivery]) -> None:
        """See the port."""
        settled = [self._log.deliveries.get((each.event.id, each.consumer)) for each in deliveries]
        fresh = [each for each in settled if each and each.status is not DeliveryStatus.DELIVERED]
        for waiting in fresh:
            waiting.status, waiting.error = DeliveryStatus.DELIVERED, None
        self._settle_processing(each.event for each in fresh if each.processing)

    async def retry(self, delivery: Delivery, delay_seconds: float, error: str) -> None:
        """See the port."""
        waiting = self._waiting(delivery)
        if waiting is not None:
            waiting.due_at, waiting.error = self._clock.now() + timedelta(seconds=delay_seconds), error

    async def bury(self, delivery: Delivery, error: str) -> None:
        """See the port."""
        waiting = self._waiting(delivery)
        if waiting is not None:
            waiting.status, waiting.error = DeliveryStatus.DEAD, error
            self._settle_processing([waiting.event] if waiting.processing else [])

    async def next_due_seconds(self, consumers: Sequence[str]) -> float | None:
        """See the port."""
        due = [waiting.due_at for consumer in consumers for waiting in self._first_waiting(consumer)]
        return (min(due) - self._clock.now()).total_seconds() if due else None

    # --- for the rows' transactions ------------------------------------------------------------------------------

    def _release_leases(self) -> None:
        for waiting in self._log.deliveries.values():
            if waiting.error is None:
                waiting.due_at = min(waiting.due_at, self._clock.now())

    def _purge_events(self, event_before: datetime, limit: int) -> int:
        waiting = {key[0] for key, waiting in self._log.deliveries.items() if waiting.status is DeliveryStatus.WAITING}
        numbered = self._log.events[: self._log.relayed]
        old = [event for event in numbered if event.time <= event_before and event.id not in waiting][:limit]
        for event in old:
            self._log.relayed -= 1
            self._log.events.remove(event)
            for key in [key for key in self._log.deliveries if key[0] == event.id]:
                del self._log.deliveries[key]
        return len(old)

    def _waiting(self, delivery: Delivery) -> Waiting | None:
        found = self._log.deliveries.get((delivery.event.id, delivery.consumer))
        return found if found and found.status is DeliveryStatus.WAITING else None

    def _first_waiting(self, consumer: str) -> list[Waiting]:
        """The earliest waiting delivery of each upload."""
        first: dict[str, Waiting] = {}
        for waiting in sorted(self._log.deliveries.values(), key=lambda each: each.event.position or 0):
            if waiting.consumer == consumer and waiting.status is DeliveryStatus.WAITING:
                first.setdefault(waiting.event.upload_id, waiting)
        return list(first.values())

"""Consumers and their deliveries in memory, as people see and steer them: that part of `ports.Outbox`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from tuspy_server.model import Event, EventType, Processing, UploadStatus, event_id
from tuspy_server.ports import (
    Backlog,
    Consumer,
    DeliveryFilter,
    DeliveryRecord,
    DeliveryStatus,
    EventDraft,
    EventFilter,
    RegisteredConsumer,
)
from tuspy_server.stores.memory.event_log import MemoryEventLog, Waiting


class MemoryConsumers(MemoryEventLog):
    """See `ports.Outbox` for each method."""

    async def register(self, consumers: Sequence[Consumer]) -> None:
        """See the port."""
        now = self._clock.now()
        for consumer in consumers:
            known = self._log.consumers.get(consumer.name)
            self._log.consumers[consumer.name] = RegisteredConsumer(
                consumer=consumer,
                registered_at=known.registered_at if known else now,
                seen_at=now,
                disabled_reason=known.disabled_reason if known else None,
            )

    async def consumers(self) -> Sequence[RegisteredConsumer]:
        """See the port."""
        return [known for _, known in sorted(self._log.consumers.items())]

    async def unregister(self, name: str) -> bool:
        """See the port."""
        if self._log.consumers.pop(name, None) is None:
            return False
        self._give_up(name, "the consumer was unregistered")
        return True

    async def forget_consumers(self, unseen_seconds: float) -> int:
        """See the port."""
        seen_before = self._clock.now() - timedelta(seconds=unseen_seconds)
        unseen = [name for name, known in self._log.consumers.items() if known.seen_at <= seen_before]
        return sum([await self.unregister(name) for name in unseen])

    async def disable(self, name: str, reason: str) -> None:
        """See the port."""
        known = self._log.consumers.get(name)
        if known is not None:
            self._log.consumers[name] = replace(known, disabled_reason=reason)
            self._give_up(name, reason)

    async def enable(self, name: str) -> bool:
        """See the port."""
        known = self._log.consumers.get(name)
        if known is None:
            return False
        self._log.consumers[name] = replace(known, disabled_reason=None)
        return True

    async def backlog(self, most: int) -> Backlog:
        """See the port."""
        statuses = [each.status for each in self._log.deliveries.values()]
        unnumbered = self._log.events[self._log.relayed :]
        lag = (self._clock.now() - unnumbered[0].time).total_seconds() if unnumbered else 0.0
        return Backlog(
            waiting=min(statuses.count(DeliveryStatus.WAITING), most),
            dead=min(statuses.count(DeliveryStatus.DEAD), most),
            lag_seconds=max(lag, 0.0),
        )

    async def deliveries(self, only: DeliveryFilter, limit: int) -> Sequence[DeliveryRecord]:
        """See the port."""
        chosen = sorted(self._chosen(only), key=lambda each: (-(each.event.position or 0), each.consumer))
        return [
            DeliveryRecord(
                event=each.event,
                consumer=each.consumer,
                status=each.status,
                attempts=each.attempts,
                due_at=each.due_at,
                error=each.error,
            )
            for each in chosen[:limit]
        ]

    async def retry_now(self, only: DeliveryFilter) -> int:
        """See the port."""
        chosen = [each for each in self._chosen(only) if each.status is not DeliveryStatus.DELIVERED]
        chosen = [each for each in chosen if self._enabled(each.consumer)]
        now = self._clock.now()
        chosen = [each for each in chosen if not each.is_on_its_way(now)]
        for each in chosen:
            if each.status is DeliveryStatus.DEAD:
                each.attempts, each.first_leased_at = 0, None
            each.status, each.due_at = DeliveryStatus.WAITING, now
        return len(chosen)

    async def replay(self, consumer: str, after: int, up_to: int | None, only: EventFilter) -> int:
        """See the port."""
        numbered = {event.id for event in self._log.events[: self._log.relayed]}
        count = 0
        for event in self._chosen_events(after, up_to, only):
            waits = self._log.deliveries.get((event.id, consumer))
            if event.id not in numbered or (waits and waits.status is DeliveryStatus.WAITING):
                continue
            count += self._deliver(event, consumer)
        return count

    # --- helpers -------------------------------------------------------------------------------------------------

    def _enabled(self, name: str) -> Consumer | None:
        known = self._log.consumers.get(name)
        return known.consumer if known and known.disabled_reason is None else None

    def _processors(self) -> list[Consumer]:
        """Those who process finished uploads."""
        enabled = [self._enabled(name) for name in self._log.consumers]
        return [each for each in enabled if each and each.processing and EventType.FINISHED in each.types]

    def _deliver(self, event: Event, name: str) -> bool:
        """Have an event delivered, if the consumer wants it."""
        consumer = self._enabled(name)
        if consumer is None or event.type not in consumer.types:
            return False
        processing = consumer.processing and event.type is EventType.FINISHED
        waiting = Waiting(event, name, self._clock.now(), processing)
        self._log.deliveries[event.id, name] = waiting
        return True

    def _chosen(self, only: DeliveryFilter) -> list[Waiting]:
        return [
            each
            for each in self._log.deliveries.values()
            if only.consumer in (None, each.consumer)
            and only.status in (None, each.status)
            and only.upload_id in (None, each.event.upload_id)
            and only.event_id in (None, each.event.id)
        ]

    def _give_up(self, consumer: str, reason: str) -> None:
        waiting = self._chosen(DeliveryFilter(consumer=consumer, status=DeliveryStatus.WAITING))
        for each in waiting:
            each.status, each.error = DeliveryStatus.DEAD, reason
        self._settle_processing(each.event for each in waiting if each.processing)

    def _settle_processing(self, finished: Iterable[Event]) -> None:
        """Set `processing` of uploads that nobody processes any more, with its event."""
        for event in finished:
            upload = self._table.uploads.get(event.upload_id)
            if upload is None or upload.status is not UploadStatus.FINISHED:
                continue
            statuses = {each.status for each in self._chosen(DeliveryFilter(event_id=event.id)) if each.processing}
            processing = Processing.FAILED if DeliveryStatus.DEAD in statuses else Processing.DONE
            is_open = upload.processing in {Processing.WAITING, Processing.FAILED}
            if DeliveryStatus.WAITING in statuses or not is_open or processing is upload.processing:
                continue
            self._table.uploads[upload.id] = replace(upload, processing=processing)
            event_type = EventType.PROCESSED if processing is Processing.DONE else EventType.PROCESSING_FAILED
            draft = EventDraft(
                id=event_id(upload.id, event_type),
                type=event_type,
                upload_id=upload.id,
                data=event.data,
                tenant=event.tenant,
                job_id=event.job_id,
            )
            if all(known.id != draft.id for known in self._log.events):
                self._add_event(draft, self._clock.now())

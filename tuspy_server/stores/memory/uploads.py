"""Rows of uploads and their events in memory: `ports.UploadStore` and `ports.Outbox`, for tests and for trying
things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tuspy_server.model import GONE, Event, EventType, Upload, UploadStatus, sources_of
from tuspy_server.ports import (
    Claim,
    Clock,
    Commit,
    Delivery,
    DraftEvent,
    Ending,
    EventDraft,
    Lifetime,
    NewUpload,
)


@dataclass(slots=True)
class _Waiting:
    event: Event
    due_at: datetime
    attempts: int = 0
    status: str = "waiting"


class MemoryUploadStore:
    """Each method is one step of the event loop, so each is a transaction."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._uploads: dict[str, Upload] = {}
        self._cleanups: dict[str, datetime] = {}
        self._events: list[Event] = []
        self._last_position = 0
        self._relayed = 0
        self._deliveries: dict[tuple[str, str], _Waiting] = {}

    # --- UploadStore ---------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """See the port."""
        self._uploads = {key: replace(upload, writer=None) for key, upload in self._uploads.items()}
        for waiting in self._deliveries.values():
            waiting.due_at = min(waiting.due_at, self._clock.now())

    async def close(self) -> None:
        """See the port."""

    async def create(self, new: NewUpload, event: EventDraft) -> Upload:
        """See the port."""
        now = self._clock.now()
        upload = Upload(
            id=new.id,
            status=UploadStatus.UPLOADING,
            upload_offset=0,
            upload_length=new.upload_length,
            upload_metadata=new.upload_metadata,
            writer=new.writer,
            created_at=now,
            expires_at=_expires_at(now, now, new.lifetime),
            ended_at=None,
            as_of=now,
        )
        if new.id in self._uploads:
            raise ValueError("an upload has this id already")
        return self._save(upload, event)

    async def get(self, upload_id: str) -> Upload | None:
        """See the port."""
        upload = self._uploads.get(upload_id)
        return None if upload is None else replace(upload, as_of=self._clock.now())

    async def claim(self, claim: Claim) -> Upload | None:
        """See the port."""
        upload = await self.get(claim.upload_id)
        if upload is None or upload.status is not UploadStatus.UPLOADING or upload.is_expired:
            return None
        body_end = claim.upload_offset + claim.body_bytes
        if upload.upload_length is None:
            fits = claim.declared_length is None or body_end <= claim.declared_length
        else:
            fits = body_end <= upload.upload_length and claim.declared_length in (None, upload.upload_length)
        if upload.upload_offset != claim.upload_offset or not fits:
            return None
        return self._save(replace(upload, writer=claim.writer))

    async def commit(self, commit: Commit) -> Upload | None:
        """See the port."""
        upload = await self._written_by(commit)
        if upload is None or upload.status is not UploadStatus.UPLOADING:
            return None
        if commit.upload_length is not None:
            upload = replace(upload, upload_length=commit.upload_length)
        upload_offset = max(upload.upload_offset, commit.upload_offset)
        if upload.upload_length is not None and upload_offset > upload.upload_length:
            raise ValueError("the offset passes the length")
        return self._save(
            replace(
                upload,
                upload_offset=upload_offset,
                writer=None if commit.release else upload.writer,
                expires_at=_expires_at(upload.as_of, upload.created_at, commit.lifetime),
            )
        )

    async def finish(self, commit: Commit, event: EventDraft) -> Upload | None:
        """See the port."""
        upload = await self._written_by(commit)
        if upload is None or upload.status not in sources_of(UploadStatus.FINISHED):
            return None
        return self._save(
            replace(
                upload,
                status=UploadStatus.FINISHED,
                upload_offset=commit.upload_offset,
                upload_length=commit.upload_offset,
                writer=None,
                expires_at=None,
                ended_at=upload.as_of,
            ),
            event,
        )

    async def end(self, ending: Ending) -> Upload | None:
        """See the port."""
        upload = await self.get(ending.upload_id)
        if upload is None or upload.status not in sources_of(ending.status):
            return None
        if ending.writer not in (None, upload.writer):
            return None
        return self._end(upload, ending.status, ending.event)

    async def expired(self, limit: int) -> Sequence[Upload]:
        """See the port."""
        now = self._clock.now()
        due = [upload for upload in self._uploads.values() if upload.writer is None and upload.expires_at is not None]
        due = [replace(upload, as_of=now) for upload in due if upload.status is UploadStatus.UPLOADING]
        due = [upload for upload in due if upload.is_expired]
        return sorted(due, key=lambda upload: (upload.expires_at or now, upload.id))[:limit]

    async def expire(self, draft: DraftEvent, limit: int) -> Sequence[Upload]:
        """See the port."""
        due = await self.expired(limit)
        return [self._end(upload, UploadStatus.EXPIRED, draft(upload)) for upload in due]

    async def cleanups(self, limit: int) -> Sequence[str]:
        """See the port."""
        return list(self._cleanups)[:limit]

    async def cleaned(self, upload_ids: Sequence[str]) -> None:
        """See the port."""
        for upload_id in upload_ids:
            self._cleanups.pop(upload_id, None)

    async def purge(self, *, gone_seconds: float, event_seconds: float, unrelayed: bool, limit: int) -> int:
        """See the port."""
        now = self._clock.now()
        gone_before, event_before = now - timedelta(seconds=gone_seconds), now - timedelta(seconds=event_seconds)
        gone = [upload.id for upload in self._uploads.values() if upload.status in GONE and upload.ended_at]
        gone = [
            key for key in gone if key not in self._cleanups and (self._uploads[key].ended_at or now) <= gone_before
        ]
        for upload_id in gone[:limit]:
            del self._uploads[upload_id]
        waiting = {key[0] for key, waiting in self._deliveries.items() if waiting.status == "waiting"}
        handed_on = self._events if unrelayed else self._events[: self._relayed]
        old = [event for event in handed_on if event.time <= event_before and event.id not in waiting]
        for event in old[:limit]:
            self._relayed -= self._events.index(event) < self._relayed
            self._events.remove(event)
            for key in [key for key in self._deliveries if key[0] == event.id]:
                del self._deliveries[key]
        return len(gone[:limit]) + len(old[:limit])

    async def release_writers(self, held: Set[str]) -> int:
        """See the port."""
        lost = [upload for upload in self._uploads.values() if upload.writer is not None and upload.writer not in held]
        for upload in lost:
            self._uploads[upload.id] = replace(upload, writer=None)
        return len(lost)

    async def count_by_status(self) -> Mapping[UploadStatus, int]:
        """See the port."""
        statuses = [upload.status for upload in self._uploads.values()]
        return {status: statuses.count(status) for status in set(statuses)}

    # --- Outbox --------------------------------------------------------------------------------------------------

    async def relay(self, consumers: Mapping[str, Set[EventType]], limit: int) -> int:
        """See the port."""
        fresh = self._events[self._relayed : self._relayed + limit]
        for event in fresh:
            for consumer, wanted in consumers.items():
                if event.type in wanted:
                    self._deliveries.setdefault((event.id, consumer), _Waiting(event, self._clock.now()))
        self._relayed += len(fresh)
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
        self._deliveries[delivery.event.id, delivery.consumer].status = "delivered"

    async def retry(self, delivery: Delivery, delay_seconds: float, error: str) -> None:
        """See the port."""
        due_at = self._clock.now() + timedelta(seconds=delay_seconds)
        self._deliveries[delivery.event.id, delivery.consumer].due_at = due_at

    async def bury(self, delivery: Delivery, error: str) -> None:
        """See the port."""
        self._deliveries[delivery.event.id, delivery.consumer].status = "dead"

    async def next_due_seconds(self, consumers: Sequence[str]) -> float | None:
        """See the port."""
        due = [waiting.due_at for consumer in consumers for waiting in self._first_waiting(consumer)]
        return (min(due) - self._clock.now()).total_seconds() if due else None

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """See the port."""
        return [event for event in self._events if (event.position or 0) > after][:limit]

    # --- helpers -------------------------------------------------------------------------------------------------

    def _save(self, upload: Upload, event: EventDraft | None = None) -> Upload:
        self._uploads[upload.id] = upload
        if event is not None:
            self._last_position += 1
            self._events.append(
                Event(
                    id=event.id,
                    type=event.type,
                    upload_id=event.upload_id,
                    data=event.data,
                    time=upload.as_of,
                    position=self._last_position,
                )
            )
        return upload

    def _end(self, upload: Upload, status: UploadStatus, event: EventDraft) -> Upload:
        self._cleanups[upload.id] = upload.as_of
        return self._save(replace(upload, status=status, writer=None, ended_at=upload.as_of), event)

    async def _written_by(self, commit: Commit) -> Upload | None:
        upload = await self.get(commit.upload_id)
        return upload if upload is not None and upload.writer == commit.writer else None

    def _first_waiting(self, consumer: str) -> list[_Waiting]:
        """The earliest waiting delivery of each upload."""
        first: dict[str, _Waiting] = {}
        for (_, name), waiting in self._deliveries.items():
            if name == consumer and waiting.status == "waiting":
                first.setdefault(waiting.event.upload_id, waiting)
        return list(first.values())


def _expires_at(now: datetime, created_at: datetime, lifetime: Lifetime | None) -> datetime | None:
    if lifetime is None:
        return None
    idle = now + timedelta(seconds=lifetime.idle_seconds)
    return min(idle, created_at + timedelta(seconds=lifetime.cap_seconds))

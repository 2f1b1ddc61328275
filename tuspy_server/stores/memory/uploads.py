"""Rows of uploads in memory: `ports.UploadStore` and all others about rows, for tests and for trying things."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import timedelta

from tuspy_server.model import GONE, Processing, Upload, UploadStatus, sources_of
from tuspy_server.ports import (
    Claim,
    Claimed,
    Commit,
    DraftEvent,
    Ending,
    EventDraft,
    NewUpload,
)
from tuspy_server.stores.memory.assemblies import MemoryAssemblies
from tuspy_server.stores.memory.catalogue import MemoryCatalogue
from tuspy_server.stores.memory.jobs import MemoryJobs
from tuspy_server.stores.memory.table import expires_at, fenced


class MemoryUploadStore(MemoryAssemblies, MemoryJobs, MemoryCatalogue):
    """All ports of rows. Each method is one step of the event loop, so each is a transaction."""

    async def open(self) -> None:
        """See the port."""
        self.beat(goes_on=True)
        await self.release_writers(frozenset)
        self._release_leases()

    async def close(self) -> None:
        """See the port."""

    async def create(self, new: NewUpload, event: EventDraft) -> Upload:
        """See the port."""
        self._check_new(new)
        return self._insert(new, event)

    async def claim(self, claim: Claim) -> Claimed | None:
        """See the port."""
        upload = await self.get(claim.upload_id)
        if upload is None or upload.status is not UploadStatus.UPLOADING or upload.is_expired:
            return None
        if claim.tenant not in (None, upload.tenant):
            return None
        body_end = claim.upload_offset + claim.body_bytes
        if upload.upload_length is None:
            fits = claim.declared_length is None or body_end <= claim.declared_length
        else:
            fits = body_end <= upload.upload_length and claim.declared_length in (None, upload.upload_length)
        if upload.most_bytes is not None and max(body_end, claim.declared_length or 0) > upload.most_bytes:
            return None
        if upload.upload_offset != claim.upload_offset or not fits:
            return None
        if upload.writer is not None:
            upload = fenced(upload)
        start = 0
        if upload.placement is not None:
            start = upload.upload_offset - upload.upload_offset % upload.placement.part_bytes
        pieces = [piece for piece in self._table.recorded[upload.id].pieces() if piece.start >= start]
        self._table.nodes[upload.id] = self.node
        return Claimed(upload=self._save(replace(upload, writer=claim.writer)), pieces=pieces)

    async def commit(self, commit: Commit) -> Upload | None:
        """See the port."""
        upload = await self._written_by(commit)
        if upload is None or upload.status is not UploadStatus.UPLOADING:
            return None
        upload = self._with_stored(upload, commit)
        if upload.upload_length is not None and upload.upload_offset > upload.upload_length:
            raise ValueError("the offset passes the length")
        return self._save(
            replace(
                upload,
                writer=None if commit.release else upload.writer,
                expires_at=expires_at(upload.as_of, upload.created_at, commit.lifetime, upload.idle_seconds),
            )
        )

    async def finish(self, commit: Commit, event: EventDraft) -> Upload | None:
        """See the port."""
        upload = await self._written_by(commit)
        if upload is None or upload.status not in sources_of(UploadStatus.FINISHED):
            return None
        upload = self._with_stored(upload, commit)
        if self._table.recorded[upload.id].piece_keys or (upload.placement and upload.placement.unsettled):
            self._table.cleanups[upload.id] = self._due(upload, UploadStatus.FINISHED)
        return self._save(
            replace(
                upload,
                status=UploadStatus.FINISHED,
                upload_offset=commit.upload_offset,
                upload_length=commit.upload_offset,
                writer=None,
                expires_at=None,
                ended_at=upload.as_of,
                processing=Processing.WAITING if self._processors() else None,
            ),
            event,
        )

    async def end(self, ending: Ending) -> Upload | None:
        """See the port."""
        upload = await self.get(ending.upload_id)
        if upload is None or upload.status not in sources_of(ending.status):
            return None
        if ending.unfinished and upload.ended_at is not None:
            return None
        if ending.writer not in (None, upload.writer):
            return None
        return self._end(upload, ending.status, ending.event)

    async def expired(self, limit: int) -> Sequence[Upload]:
        """See the port."""
        now = self._clock.now()
        due = [
            upload for upload in self._table.uploads.values() if upload.writer is None and upload.expires_at is not None
        ]
        due = [replace(upload, as_of=now) for upload in due if upload.status is UploadStatus.UPLOADING]
        due = [upload for upload in due if upload.is_expired]
        return sorted(due, key=lambda upload: (upload.expires_at or now, upload.id))[:limit]

    async def expire(self, draft: DraftEvent, limit: int) -> Sequence[Upload]:
        """See the port."""
        due = await self.expired(limit)
        return [self._end(upload, UploadStatus.EXPIRED, draft(upload)) for upload in due]

    async def purge(self, *, gone_seconds: float, event_seconds: float, limit: int) -> int:
        """See the port."""
        now = self._clock.now()
        gone_before, event_before = now - timedelta(seconds=gone_seconds), now - timedelta(seconds=event_seconds)
        gone = [upload for upload in self._table.uploads.values() if upload.status in GONE and upload.ended_at]
        gone = [
            upload for upload in gone if upload.id not in self._table.cleanups and upload.job_id not in self._table.jobs
        ]
        gone = [upload for upload in gone if upload.id not in self._table.cleanups]
        gone = [upload for upload in gone if (upload.ended_at or now) <= gone_before]
        for upload in gone[:limit]:
            self._table.delete(upload.id)
        return len(gone[:limit]) + self._purge_events(event_before, limit)

    async def release_writers(self, held: Callable[[], Set[str]]) -> int:
        """See the port."""
        writing = [upload for upload in self._table.uploads.values() if upload.writer is not None]
        writing = [upload for upload in writing if upload.status is UploadStatus.UPLOADING]
        lost = [upload for upload in writing if self._is_lost(upload, held())]
        for upload in lost:
            self._table.uploads[upload.id] = replace(fenced(upload), writer=None)
        return len(lost)

    async def count_by_status(self) -> Mapping[UploadStatus, int]:
        """See the port."""
        statuses = [upload.status for upload in self._table.uploads.values()]
        return {status: statuses.count(status) for status in set(statuses)}

    async def has_any(self) -> bool:
        """See the port."""
        return bool(self._table.uploads)

    # --- helpers -------------------------------------------------------------------------------------------------

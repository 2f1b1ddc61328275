"""Rows of uploads in memory: `ports.UploadStore` and `ports.Assemblies`, for tests and for trying things."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from copy import copy
from dataclasses import replace
from datetime import timedelta
from typing import Final

from tuspy_server.model import GONE, Upload, UploadStatus, sources_of
from tuspy_server.ports import (
    Assembly,
    Claim,
    Claimed,
    Cleanup,
    Clock,
    Commit,
    DraftEvent,
    Ending,
    EventDraft,
    NewUpload,
)
from tuspy_server.stores.memory.outbox import MemoryOutbox
from tuspy_server.stores.memory.recorded import Recorded
from tuspy_server.stores.memory.table import Due, Table, expires_at, fenced

SETTLED_SECONDS: Final = 900.0
"""After which no storage call that was under way when an upload ended can land any more."""


class MemoryUploadStore(MemoryOutbox):
    """Each method is one step of the event loop, so each is a transaction. One node, unless `for_node` makes others."""

    def __init__(self, clock: Clock, settled_seconds: float = SETTLED_SECONDS) -> None:
        super().__init__(clock)
        self._table = Table()
        self._settled = timedelta(seconds=settled_seconds)
        self.node = "the only one"

    def for_node(self, node: str) -> MemoryUploadStore:
        """The same rows, as another process has them: a node of its own."""
        other = copy(self)
        other.node = node
        return other

    def beat(self, *, goes_on: bool) -> None:
        """The node's heart beats from now on, or is silent: when the process ends, or stands still."""
        if goes_on:
            self._table.silent.pop(self.node, None)
        else:
            self._table.silent.setdefault(self.node, self._clock.now())

    async def open(self) -> None:
        """See the port."""
        self.beat(goes_on=True)
        await self.release_writers(frozenset)
        self._release_leases()

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
            expires_at=expires_at(now, now, new.lifetime),
            ended_at=None,
            as_of=now,
            placement=new.placement,
        )
        if new.id in self._table.uploads:
            raise ValueError("an upload has this id already")
        self._table.recorded[new.id] = Recorded()
        self._table.nodes[new.id] = self.node
        return self._save(upload, event)

    async def get(self, upload_id: str) -> Upload | None:
        """See the port."""
        upload, now = self._table.uploads.get(upload_id), self._clock.now()
        if upload is None:
            return None
        node = self._table.nodes.get(upload_id, self.node) if upload.writer is not None else self.node
        is_peer = node != self.node and self._table.is_alive(node, now)
        return replace(upload, as_of=now, writer_node=node if is_peer else None)

    async def claim(self, claim: Claim) -> Claimed | None:
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
                expires_at=expires_at(upload.as_of, upload.created_at, commit.lifetime),
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
            ),
            event,
        )

    async def complete(self, commit: Commit) -> Upload | None:
        """See the port."""
        upload = await self._written_by(commit)
        if upload is None or upload.status is not UploadStatus.UPLOADING:
            return None
        upload = self._with_stored(upload, commit)
        return self._save(replace(upload, status=UploadStatus.COMPLETING))

    async def assembly(self, upload_id: str) -> Assembly:
        """See the port."""
        recorded = self._table.recorded[upload_id]
        return Assembly(parts=[part for _, part in sorted(recorded.parts.items())], pieces=recorded.pieces())

    async def adopt(self, writer: str, upload_id: str | None, held: Set[str]) -> Upload | None:
        """See the port."""
        for upload in self._table.uploads.values():
            lost = upload.status is UploadStatus.COMPLETING and self._is_lost(upload, held)
            if lost and upload_id in (None, upload.id):
                self._table.nodes[upload.id] = self.node
                return self._save(replace(upload, writer=writer, as_of=self._clock.now()))
        return None

    async def tried(self, upload_id: str, writer: str) -> int:
        """See the port."""
        recorded = self._table.recorded[upload_id]
        recorded.tries += self._table.uploads[upload_id].writer == writer
        return recorded.tries

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

    async def cleanup(self, upload_id: str) -> Cleanup | None:
        """See the port."""
        now, due = self._clock.now(), self._table.cleanups.get(upload_id)
        if due is None or due.at > now:
            return None
        upload = replace(self._table.uploads[upload_id], as_of=now)
        self._table.visited[self.node, upload_id] = due.status
        return Cleanup(upload=upload, piece_keys=self._table.recorded[upload_id].piece_keys)

    async def cleanups(self, limit: int) -> Sequence[Cleanup]:
        """See the port."""
        now = self._clock.now()
        due = [upload_id for upload_id, due in self._table.cleanups.items() if due.at <= now]
        found = [await self.cleanup(upload_id) for upload_id in due[:limit]]
        return [cleanup for cleanup in found if cleanup is not None]

    async def cleaned(self, upload_ids: Sequence[str]) -> None:
        """See the port. A cleanup that has been asked for since it was told (a DELETE behind a finish) stays."""
        for upload_id in upload_ids:
            due = self._table.cleanups.get(upload_id)
            if due is None or self._table.visited.pop((self.node, upload_id), due.status) is not due.status:
                continue
            if due.again_at is not None:
                self._table.cleanups[upload_id] = Due(due.status, due.again_at)
            else:
                del self._table.cleanups[upload_id]
                self._table.recorded[upload_id] = Recorded()

    async def purge(self, *, gone_seconds: float, event_seconds: float, unrelayed: bool, limit: int) -> int:
        """See the port."""
        now = self._clock.now()
        gone_before, event_before = now - timedelta(seconds=gone_seconds), now - timedelta(seconds=event_seconds)
        gone = [upload.id for upload in self._table.uploads.values() if upload.status in GONE and upload.ended_at]
        gone = [
            key
            for key in gone
            if key not in self._table.cleanups and (self._table.uploads[key].ended_at or now) <= gone_before
        ]
        for upload_id in gone[:limit]:
            self._table.delete(upload_id)
        return len(gone[:limit]) + self._purge_events(event_before, limit, unrelayed=unrelayed)

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

    # --- helpers -------------------------------------------------------------------------------------------------

    def _save(self, upload: Upload, event: EventDraft | None = None) -> Upload:
        upload = replace(upload, writer_node=None)
        self._table.uploads[upload.id] = upload
        if event is not None:
            self._add_event(event, upload.as_of)
        return upload

    def _with_stored(self, upload: Upload, commit: Commit) -> Upload:
        """The upload with the length, the multipart upload and the etag that a commit brings; its parts and pieces are
        recorded."""
        if commit.upload_length is not None:
            upload = replace(upload, upload_length=commit.upload_length)
        upload = replace(upload, upload_offset=max(upload.upload_offset, commit.upload_offset))
        placement, stored = upload.placement, commit.stored
        if placement is None:
            return upload
        if stored is not None:
            self._table.recorded[upload.id].add(stored, placement.part_bytes)
            placement = replace(
                placement,
                multipart_id=stored.multipart_id or placement.multipart_id,
                etag=stored.etag or placement.etag,
            )
        upload = replace(upload, placement=placement)
        return fenced(upload) if commit.unsettled else upload

    def _due(self, upload: Upload, status: UploadStatus) -> Due:
        unsettled = upload.placement is not None and upload.placement.unsettled
        return Due(status, upload.as_of, upload.as_of + self._settled if unsettled else None)

    def _is_lost(self, upload: Upload, held: Set[str]) -> bool:
        """Whether nobody stands behind its writer."""
        if upload.writer is None:
            return True
        node = self._table.nodes[upload.id]
        return upload.writer not in held if node == self.node else not self._table.is_alive(node, self._clock.now())

    def _end(self, upload: Upload, status: UploadStatus, event: EventDraft) -> Upload:
        if upload.writer is not None:
            upload = fenced(upload)
        self._table.cleanups[upload.id] = self._due(upload, status)
        return self._save(replace(upload, status=status, writer=None, ended_at=upload.as_of), event)

    async def _written_by(self, commit: Commit) -> Upload | None:
        upload = await self.get(commit.upload_id)
        return upload if upload is not None and upload.writer == commit.writer else None

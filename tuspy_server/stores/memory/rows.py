"""Rows of uploads in memory: what all that is asked of them stands on."""

from __future__ import annotations

from collections.abc import Set
from copy import copy
from dataclasses import replace
from datetime import timedelta
from typing import Final, Self, TypeVar

from tuspy_server.model import Upload, UploadStatus
from tuspy_server.ports import Clock, Commit, EventDraft, NewUpload
from tuspy_server.protocol.errors import IdTaken, JobClosed, JobNotFound
from tuspy_server.stores.memory.outbox import MemoryOutbox
from tuspy_server.stores.memory.recorded import Recorded
from tuspy_server.stores.memory.table import Due, expires_at, fenced

SETTLED_SECONDS: Final = 900.0
"""After which no storage call that was under way when an upload ended can land any more."""

Rows = TypeVar("Rows", bound="MemoryRows")


class MemoryRows(MemoryOutbox):
    """One node, unless `for_node` makes others."""

    def __init__(self, clock: Clock, settled_seconds: float = SETTLED_SECONDS) -> None:
        super().__init__(clock)
        self._settled = timedelta(seconds=settled_seconds)
        self.node = "the only one"

    def for_node(self, node: str) -> Self:
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

    async def get(self, upload_id: str) -> Upload | None:
        """See the port."""
        upload, now = self._table.uploads.get(upload_id), self._clock.now()
        if upload is None:
            return None
        node = self._table.nodes.get(upload_id, self.node) if upload.writer is not None else self.node
        is_peer = node != self.node and self._table.is_alive(node, now)
        return replace(upload, as_of=now, writer_node=node if is_peer else None)

    def _check_new(self, new: NewUpload) -> None:
        """Raise as `ports.NewUpload` says."""
        if new.job_id is not None:
            job = self._table.jobs.get(new.job_id)
            if job is None or job.tenant != new.tenant:
                raise JobNotFound
            if job.cancelled_at is not None:
                raise JobClosed
        if new.id in self._table.uploads or any(event.upload_id == new.id for event in self._log.events):
            raise IdTaken
        if new.placement is not None:
            placements = (upload.placement for upload in self._table.uploads.values())
            taken = {(placement.bucket, placement.key) for placement in placements if placement is not None}
            if (new.placement.bucket, new.placement.key) in taken:
                raise IdTaken

    def _insert(self, new: NewUpload, event: EventDraft) -> Upload:
        now = self._clock.now()
        numbers = [upload.job_number or 0 for upload in self._table.uploads.values() if upload.job_id == new.job_id]
        upload = Upload(
            id=new.id,
            status=UploadStatus.UPLOADING,
            upload_offset=0,
            upload_length=new.upload_length,
            upload_metadata=new.upload_metadata,
            writer=new.writer,
            created_at=now,
            expires_at=expires_at(now, now, new.lifetime, new.idle_seconds),
            ended_at=None,
            as_of=now,
            placement=new.placement,
            tenant=new.tenant,
            job_id=new.job_id,
            job_number=None if new.job_id is None else max(numbers, default=0) + 1,
            trusted_metadata=new.trusted_metadata,
            most_bytes=new.most_bytes,
            idle_seconds=new.idle_seconds,
        )
        self._table.recorded[new.id] = Recorded()
        self._table.nodes[new.id] = self.node
        return self._save(upload, event)

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

"""Uploads in memory whose storage needs calls after their last byte, or after their end: `ports.Assemblies`, and the
cleanups of `ports.UploadStore`."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from tuspy_server.model import Upload, UploadStatus
from tuspy_server.ports import Assembly, Cleanup, Commit
from tuspy_server.stores.memory.recorded import Recorded
from tuspy_server.stores.memory.rows import MemoryRows
from tuspy_server.stores.memory.table import Due, expires_at


class MemoryAssemblies(MemoryRows):
    """See the ports for each method."""

    async def complete(self, commit: Commit) -> Upload | None:
        """See the port."""
        upload = await self._written_by(commit)
        if upload is None or upload.status is not UploadStatus.UPLOADING:
            return None
        upload = self._with_stored(upload, commit)
        expiry = expires_at(upload.as_of, upload.created_at, commit.lifetime, upload.idle_seconds)
        return self._save(replace(upload, status=UploadStatus.COMPLETING, expires_at=expiry))

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

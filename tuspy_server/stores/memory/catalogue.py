"""Questions about many uploads, in memory: `ports.Catalogue`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from tuspy_server.model import EventType, Upload, UploadStatus
from tuspy_server.ports import UploadFilter, UploadSums, file_status
from tuspy_server.stores.memory.rows import MemoryRows


class MemoryCatalogue(MemoryRows):
    """See the port for each method."""

    async def list_uploads(
        self, only: UploadFilter, *, before: tuple[datetime, str] | None, limit: int
    ) -> Sequence[Upload]:
        """See the port."""
        found = [upload for upload in self._of(only) if before is None or (upload.created_at, upload.id) < before]
        return sorted(found, key=lambda upload: (upload.created_at, upload.id), reverse=True)[:limit]

    async def sum_uploads(self, only: UploadFilter) -> UploadSums:
        """See the port."""
        found = self._of(only)
        finished = [upload for upload in found if upload.status is UploadStatus.FINISHED]
        durations = [(upload.ended_at - upload.created_at).total_seconds() for upload in finished if upload.ended_at]
        failed = {upload.id for upload in found if upload.status is UploadStatus.FAILED}
        reasons = {event.upload_id: event.data for event in self._log.events if event.type is EventType.FAILED}
        return UploadSums(
            files=Counter(file_status(upload) for upload in found),
            finished_bytes=sum(upload.upload_offset for upload in finished),
            received_bytes=sum(upload.upload_offset for upload in found),
            finished_seconds=sum(durations),
            duration_seconds=_quantiles(durations),
            lengths=_quantiles([upload.upload_offset for upload in finished]),
            errors=Counter(str(reasons.get(upload_id, {}).get("reason") or "unknown") for upload_id in failed),
        )

    def _of(self, only: UploadFilter) -> list[Upload]:
        now = self._clock.now()
        uploads = [replace(upload, as_of=now) for upload in self._table.uploads.values()]
        return [
            upload
            for upload in uploads
            if only.tenant in (None, upload.tenant)
            and only.job_id in (None, upload.job_id)
            and only.status in (None, file_status(upload))
            and (only.created_from is None or only.created_from <= upload.created_at)
            and (only.created_before is None or upload.created_at < only.created_before)
        ]


def _quantiles(values: Sequence[float]) -> Mapping[str, float]:
    ordered = sorted(values)
    return {name: ordered[math.ceil(float(name) * len(ordered)) - 1] for name in ("0.5", "0.95", "1") if ordered}

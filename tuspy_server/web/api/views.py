"""Rows as the API shows them. `trusted_metadata` is no client's to see, and the tenant is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tuspy_server.jobs.standing import job_status
from tuspy_server.model import Upload
from tuspy_server.ports import FileStatus, Job, JobCounts, UploadSums, file_status
from tuspy_server.protocol.metadata import metadata_text
from tuspy_server.web.api.models import BytesShown, JobSummary, QuantilesShown, StatsShown, UploadShown

BREATH: Final = 200
"""Uploads after which other requests have their turn."""

_DECIDED: Final = (FileStatus.COMPLETED, FileStatus.FAILED, FileStatus.EXPIRED)


def show_upload(upload: Upload, url: Callable[[str], str]) -> UploadShown:
    """One upload; `url` makes its URL of its id."""
    metadata = metadata_text(upload.upload_metadata)
    # Past its expiry, swept or not, its expiry is its end.
    return UploadShown.model_construct(
        id=upload.id,
        url=url(upload.id),
        job_id=upload.job_id,
        number=upload.job_number,
        name=metadata.get("filename") or metadata.get("name"),
        type=metadata.get("filetype") or metadata.get("type"),
        metadata=metadata,
        status=file_status(upload),
        offset=upload.upload_offset,
        length=upload.upload_length,
        created_at=upload.created_at,
        expires_at=upload.expires_at,
        ended_at=upload.ended_at,
    )


async def show_uploads(uploads: Sequence[Upload], url: Callable[[str], str]) -> list[UploadShown]:
    """Several, without holding up other requests."""
    shown = []
    for number, upload in enumerate(uploads):
        shown.append(show_upload(upload, url))
        if number % BREATH == BREATH - 1:
            await asyncio.sleep(0)
    return shown


def show_job(job: Job, counts: JobCounts, url: str) -> JobSummary:
    """One job, without its files."""
    return JobSummary(
        id=job.id,
        url=url,
        status=job_status(job, counts),
        created_at=job.created_at,
        cancelled_at=job.cancelled_at,
        bytes=BytesShown(uploaded=counts.upload_offset, total=counts.upload_length),
        **_counts(counts.files),
    )


def show_sums(sums: UploadSums) -> StatsShown:
    """Sums, with what follows from them."""
    decided = sum(sums.files.get(status, 0) for status in _DECIDED)
    return StatsShown(
        success_rate=sums.files.get(FileStatus.COMPLETED, 0) / decided if decided else None,
        received_bytes=sums.received_bytes,
        finished_bytes=sums.finished_bytes,
        bytes_per_second=sums.finished_bytes / sums.finished_seconds if sums.finished_seconds else None,
        length=_quantiles(sums.lengths),
        duration_seconds=_quantiles(sums.duration_seconds),
        errors=dict(sums.errors),
        **_counts(sums.files),
    )


def _counts(files: Mapping[FileStatus, int]) -> dict[str, int]:
    named = {f"{status.value.lower()}_count": files.get(status, 0) for status in FileStatus}
    return {"total_count": sum(files.values()), **named}


def _quantiles(found: Mapping[str, float]) -> QuantilesShown:
    return QuantilesShown(median=found.get("0.5"), p95=found.get("0.95"), max=found.get("1"))

"""Batches of uploads, and what is asked about many uploads at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from tuspy_server.model import Processing, Upload, UploadStatus
from tuspy_server.ports.records import EventDraft, NewUpload


class FileStatus(StrEnum):
    """How one file of a job stands, as people see it."""

    QUEUED = "QUEUED"
    UPLOADING = "UPLOADING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


_ENDED: Final = {
    UploadStatus.FAILED: FileStatus.FAILED,
    UploadStatus.TERMINATED: FileStatus.CANCELLED,
    UploadStatus.EXPIRED: FileStatus.EXPIRED,
}
_FINISHED: Final = {Processing.WAITING: FileStatus.PROCESSING, Processing.FAILED: FileStatus.FAILED}


def file_status(upload: Upload) -> FileStatus:
    """Of one upload. Adapters count by the same rule in SQL; a test compares them."""
    if upload.is_expired:
        return FileStatus.EXPIRED
    if upload.status in _ENDED:
        return _ENDED[upload.status]
    if upload.status is UploadStatus.FINISHED:
        return (
            FileStatus.COMPLETED
            if upload.processing is None
            else _FINISHED.get(upload.processing, FileStatus.COMPLETED)
        )
    untouched = upload.status is UploadStatus.UPLOADING and upload.upload_offset == 0 and upload.writer is None
    return FileStatus.QUEUED if untouched else FileStatus.UPLOADING


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A batch of uploads. `cancelled_at`: since when it takes no more files, and its unfinished ones are terminated."""

    id: str
    tenant: str | None
    created_at: datetime
    cancelled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCounts:
    """Sums over the files of a job.

    Attributes:
        files: how many of each status; those without may be absent.
        upload_offset: bytes that have arrived, of all files.
        upload_length: bytes of all files whose length is known.
    """

    files: Mapping[FileStatus, int]
    upload_offset: int
    upload_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """One upload of a job, with its event."""

    new: NewUpload
    event: EventDraft


class JobStore(Protocol):
    """Batches, in the same database as the uploads. Every method is one transaction; raises as `UploadStore`."""

    async def create_job(
        self, job_id: str, tenant: str | None, files: Sequence[NewFile]
    ) -> tuple[Job, Sequence[Upload]]:
        """A job with its uploads and their events, all or nothing, in the order given. They take the job's id and its
        tenant, whatever `files` says. Raises IdTaken (409)."""
        ...

    async def add_files(self, job_id: str, tenant: str | None, files: Sequence[NewFile]) -> Sequence[Upload]:
        """More uploads, behind those that it has; they take its id and its tenant. `tenant`: only a job of this tenant;
        None for any.

        Raises:
            JobNotFound: 404. JobClosed: 409, it was cancelled. IdTaken: 409.
        """
        ...

    async def job(self, job_id: str, tenant: str | None) -> tuple[Job, JobCounts] | None:
        """A job with its counts; None where there is none of this tenant (None: of any)."""
        ...

    async def jobs(
        self, tenant: str | None, *, before: tuple[datetime, str] | None, limit: int
    ) -> Sequence[tuple[Job, JobCounts]]:
        """The newest first; `before`: creation and id of the last one seen."""
        ...

    async def job_files(self, job_id: str, *, after: int, limit: int) -> Sequence[Upload]:
        """Its uploads by `job_number`, those above `after`."""
        ...

    async def cancel_job(self, job_id: str, tenant: str | None) -> Job | None:
        """Take no more files. Its uploads are ended one by one by whoever calls. None as in `job`; a job that was
        cancelled already stays as it is."""
        ...

    async def left_files(self, limit: int) -> Sequence[Upload]:
        """Uploading files that no client will bring to their end, oldest first: those of jobs that were cancelled, and
        those of length 0 that no writer holds. A crash has left them; changes nothing."""
        ...

    async def purge_jobs(self, *, ended_seconds: float, limit: int) -> int:
        """Forget jobs that were made this long ago and none of whose files is uploading, completing or being processed.
        Rows of gone uploads of a job are kept for as long as the job is. Returns how many."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadFilter:
    """Which uploads: all that is given must hold; None for any.

    Attributes:
        created_from, created_before: half-open interval of the creation.
    """

    tenant: str | None = None
    job_id: str | None = None
    status: FileStatus | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSums:
    """Sums over uploads.

    Attributes:
        files: how many of each status.
        finished_bytes: of all finished ones.
        received_bytes: of all, as far as they came.
        finished_seconds: from creation to finish, summed over all finished ones.
        duration_seconds: quantiles `"0.5"`, `"0.95"` and `"1"` (the nearest rank: values that occur) of the time from
            creation to finish; empty without a finished one.
        lengths: quantiles 0.5, 0.95 and 1 of the lengths of finished ones.
        errors: failed uploads by reason, as their event says; `"unknown"` where that is gone or says none.
    """

    files: Mapping[FileStatus, int]
    finished_bytes: int
    received_bytes: int
    finished_seconds: float
    duration_seconds: Mapping[str, float]
    lengths: Mapping[str, float]
    errors: Mapping[str, int]


class Catalogue(Protocol):
    """Questions about many uploads. Every method is one statement, or one snapshot, that no upload waits for."""

    async def list_uploads(
        self, only: UploadFilter, *, before: tuple[datetime, str] | None, limit: int
    ) -> Sequence[Upload]:
        """The newest first; `before`: creation and id of the last one seen."""
        ...

    async def sum_uploads(self, only: UploadFilter) -> UploadSums:
        """Sums over all that `only` lets pass."""
        ...


class Batches(JobStore, Catalogue, Protocol):
    """Jobs, and questions about many uploads: what the API reads and writes."""

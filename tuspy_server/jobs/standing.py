"""How a job stands as a whole."""

from __future__ import annotations

from enum import StrEnum

from tuspy_server.ports import FileStatus, Job, JobCounts


class JobStatus(StrEnum):
    """What the statuses of its files come to."""

    QUEUED = "QUEUED"
    """Nothing has come yet, or it has no files."""
    UPLOADING = "UPLOADING"
    """Something has come or ended, and something is still to come."""
    PROCESSING = "PROCESSING"
    """All have been uploaded, or given up, and some are being processed."""
    COMPLETED = "COMPLETED"
    """All of them."""
    PARTIAL = "PARTIAL"
    """All have ended, and some of them well."""
    FAILED = "FAILED"
    """All have ended, none of them well."""
    CANCELLED = "CANCELLED"
    """It was cancelled before all of its files were completed; those that were stay as they are."""
    EXPIRED = "EXPIRED"
    """All of them."""


def job_status(job: Job, counts: JobCounts) -> JobStatus:
    """Of a job with these counts."""
    files = {status for status, count in counts.files.items() if count}
    if job.cancelled_at is not None and files != {FileStatus.COMPLETED}:
        return JobStatus.CANCELLED
    if len(files) <= 1:
        return JobStatus(next(iter(files), FileStatus.QUEUED).value)
    if files & {FileStatus.QUEUED, FileStatus.UPLOADING}:
        return JobStatus.UPLOADING
    if FileStatus.PROCESSING in files:
        return JobStatus.PROCESSING
    return JobStatus.PARTIAL if FileStatus.COMPLETED in files else JobStatus.FAILED

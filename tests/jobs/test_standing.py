"""How a job stands, by the statuses of its files."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuspy_server.jobs.standing import JobStatus, job_status
from tuspy_server.ports import FileStatus, Job, JobCounts

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUEUED, UPLOADING, PROCESSING, COMPLETED, FAILED, CANCELLED, EXPIRED = FileStatus
STILL_OPEN = {QUEUED, UPLOADING, PROCESSING}


def standing(*files: FileStatus, cancelled: bool = False) -> JobStatus:
    job = Job(id="j", tenant=None, created_at=NOW, cancelled_at=NOW if cancelled else None)
    # Statuses without files may be there, or not.
    counts = dict.fromkeys((FAILED, EXPIRED), 0) | Counter(files)
    return job_status(job, JobCounts(files=counts, upload_offset=0, upload_length=0))


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ((), JobStatus.QUEUED),
        ((QUEUED, QUEUED), JobStatus.QUEUED),
        ((QUEUED, COMPLETED), JobStatus.UPLOADING),
        ((QUEUED, EXPIRED), JobStatus.UPLOADING),
        ((QUEUED, UPLOADING), JobStatus.UPLOADING),
        ((PROCESSING, UPLOADING), JobStatus.UPLOADING),
        ((PROCESSING, QUEUED), JobStatus.UPLOADING),
        ((PROCESSING, COMPLETED), JobStatus.PROCESSING),
        ((PROCESSING, FAILED), JobStatus.PROCESSING),
        ((COMPLETED, COMPLETED), JobStatus.COMPLETED),
        ((COMPLETED, FAILED), JobStatus.PARTIAL),
        ((COMPLETED, EXPIRED, CANCELLED), JobStatus.PARTIAL),
        ((FAILED, FAILED), JobStatus.FAILED),
        ((FAILED, EXPIRED), JobStatus.FAILED),
        ((CANCELLED, CANCELLED), JobStatus.CANCELLED),
        ((CANCELLED, EXPIRED), JobStatus.FAILED),
        ((EXPIRED,), JobStatus.EXPIRED),
    ],
)
def test_what_the_files_come_to(files: tuple[FileStatus, ...], status: JobStatus) -> None:
    assert standing(*files) is status


def test_a_cancelled_job_is_cancelled_unless_all_of_it_was_there() -> None:
    assert standing(COMPLETED, COMPLETED, cancelled=True) is JobStatus.COMPLETED
    for files in ((), (QUEUED,), (COMPLETED, CANCELLED), (PROCESSING,), (UPLOADING, COMPLETED)):
        assert standing(*files, cancelled=True) is JobStatus.CANCELLED


@given(files=st.lists(st.sampled_from(FileStatus), max_size=6))
def test_a_job_is_over_when_no_file_is_open(files: list[FileStatus]) -> None:
    over = standing(*files) not in {JobStatus.QUEUED, JobStatus.UPLOADING, JobStatus.PROCESSING}
    assert over is (bool(files) and not STILL_OPEN & set(files))

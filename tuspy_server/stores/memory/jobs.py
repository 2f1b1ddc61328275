"""Batches of uploads in memory: `ports.JobStore`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from tuspy_server.model import Processing, Upload, UploadStatus
from tuspy_server.ports import Job, JobCounts, NewFile, file_status
from tuspy_server.protocol.errors import IdTaken, JobClosed, JobNotFound
from tuspy_server.stores.memory.rows import MemoryRows


class MemoryJobs(MemoryRows):
    """See the port for each method."""

    async def create_job(
        self, job_id: str, tenant: str | None, files: Sequence[NewFile]
    ) -> tuple[Job, Sequence[Upload]]:
        """See the port."""
        if job_id in self._table.jobs or any(upload.job_id == job_id for upload in self._table.uploads.values()):
            raise IdTaken
        job = Job(id=job_id, tenant=tenant, created_at=self._clock.now(), cancelled_at=None)
        self._table.jobs[job_id] = job
        try:
            return job, self._add_files(job, files)
        except BaseException:
            del self._table.jobs[job_id]
            raise

    async def add_files(self, job_id: str, tenant: str | None, files: Sequence[NewFile]) -> Sequence[Upload]:
        """See the port."""
        job = self._job(job_id, tenant)
        if job is None:
            raise JobNotFound
        if job.cancelled_at is not None:
            raise JobClosed
        return self._add_files(job, files)

    async def job(self, job_id: str, tenant: str | None) -> tuple[Job, JobCounts] | None:
        """See the port."""
        job = self._job(job_id, tenant)
        return None if job is None else (job, self._counts(job_id))

    async def jobs(
        self, tenant: str | None, *, before: tuple[datetime, str] | None, limit: int
    ) -> Sequence[tuple[Job, JobCounts]]:
        """See the port."""
        found = [job for job in self._table.jobs.values() if tenant in (None, job.tenant)]
        found = [job for job in found if before is None or (job.created_at, job.id) < before]
        found.sort(key=lambda job: (job.created_at, job.id), reverse=True)
        return [(job, self._counts(job.id)) for job in found[:limit]]

    async def job_files(self, job_id: str, *, after: int, limit: int) -> Sequence[Upload]:
        """See the port."""
        found = [upload for upload in self._files(job_id) if (upload.job_number or 0) > after]
        return sorted(found, key=lambda upload: upload.job_number or 0)[:limit]

    async def cancel_job(self, job_id: str, tenant: str | None) -> Job | None:
        """See the port."""
        job = self._job(job_id, tenant)
        if job is None:
            return None
        job = replace(job, cancelled_at=job.cancelled_at or self._clock.now())
        self._table.jobs[job_id] = job
        return job

    async def left_files(self, limit: int) -> Sequence[Upload]:
        """See the port."""
        now = self._clock.now()
        left = [
            replace(upload, as_of=now)
            for upload in self._table.uploads.values()
            if upload.status is UploadStatus.UPLOADING and upload.job_id is not None and self._is_left(upload)
        ]
        return sorted(left, key=lambda upload: (upload.created_at, upload.id))[:limit]

    async def purge_jobs(self, *, ended_seconds: float, limit: int) -> int:
        """See the port."""
        created_before = self._clock.now() - timedelta(seconds=ended_seconds)
        old = [job for job in self._table.jobs.values() if job.created_at <= created_before]
        old = [job for job in old if not any(_is_busy(upload) for upload in self._files(job.id))][:limit]
        for job in old:
            del self._table.jobs[job.id]
        return len(old)

    # --- helpers -------------------------------------------------------------------------------------------------

    def _job(self, job_id: str, tenant: str | None) -> Job | None:
        job = self._table.jobs.get(job_id)
        return job if job is not None and tenant in (None, job.tenant) else None

    def _add_files(self, job: Job, files: Sequence[NewFile]) -> list[Upload]:
        if len({file.new.id for file in files}) < len(files):
            raise IdTaken
        news = [replace(file.new, job_id=job.id, tenant=job.tenant) for file in files]
        for new in news:
            self._check_new(new)
        events = [replace(file.event, job_id=job.id, tenant=job.tenant) for file in files]
        return [self._insert(new, event) for new, event in zip(news, events, strict=True)]

    def _files(self, job_id: str) -> list[Upload]:
        now = self._clock.now()
        return [replace(upload, as_of=now) for upload in self._table.uploads.values() if upload.job_id == job_id]

    def _counts(self, job_id: str) -> JobCounts:
        files = self._files(job_id)
        return JobCounts(
            files=Counter(file_status(upload) for upload in files),
            upload_offset=sum(upload.upload_offset for upload in files),
            upload_length=sum(upload.upload_length or 0 for upload in files),
        )

    def _is_left(self, upload: Upload) -> bool:
        job = self._table.jobs.get(upload.job_id or "")
        cancelled = job is not None and job.cancelled_at is not None
        return cancelled or (upload.upload_length == 0 and upload.writer is None)


def _is_busy(upload: Upload) -> bool:
    processed = upload.status is UploadStatus.FINISHED and upload.processing is Processing.WAITING
    return upload.status in {UploadStatus.UPLOADING, UploadStatus.COMPLETING} or processed

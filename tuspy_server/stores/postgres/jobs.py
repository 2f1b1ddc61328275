"""Batches of uploads, and questions about many, in PostgreSQL: `ports.JobStore` and `ports.Catalogue`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg

from tuspy_server.model import Upload
from tuspy_server.ports import FileStatus, Job, JobCounts, NewFile, UploadFilter, UploadSums
from tuspy_server.protocol.errors import IdTaken, JobClosed, JobNotFound
from tuspy_server.stores.postgres.errors import inserted
from tuspy_server.stores.postgres.nodes import Node
from tuspy_server.stores.postgres.pool import Pool
from tuspy_server.stores.postgres.rows import creation, to_upload
from tuspy_server.stores.postgres.rows import event as event_columns
from tuspy_server.stores.postgres.schema import statements

SQL: Final = statements()
QUANTILES: Final = ("0.5", "0.95", "1")
CREATION_COLUMNS: Final = 12
EVENT_COLUMNS: Final = 4
"""A file's event takes its tenant and job from the job."""


class PostgresJobs:
    """See `ports.JobStore` and `ports.Catalogue` for each method. On the same pool as the upload store."""

    def __init__(self, pool: Pool, node: Node) -> None:
        self._pool = pool
        self._node = node

    # --- ports.JobStore ------------------------------------------------------------------------------------------

    async def create_job(
        self, job_id: str, tenant: str | None, files: Sequence[NewFile]
    ) -> tuple[Job, Sequence[Upload]]:
        """See the port."""
        rows = await inserted(self._pool.fetch(SQL["create_job"], job_id, tenant, *self._columns(files)))
        if not rows:
            raise IdTaken
        job = Job(id=job_id, tenant=tenant, created_at=rows[0]["job_created_at"], cancelled_at=None)
        return job, _uploads(rows)

    async def add_files(self, job_id: str, tenant: str | None, files: Sequence[NewFile]) -> Sequence[Upload]:
        """See the port."""
        rows = await inserted(self._pool.fetch(SQL["add_files"], job_id, tenant, *self._columns(files)))
        if rows:
            return _uploads(rows)
        if await self._pool.fetch_row(SQL["job_row"], job_id, tenant, repeatable=True) is None:
            raise JobNotFound
        raise JobClosed

    async def job(self, job_id: str, tenant: str | None) -> tuple[Job, JobCounts] | None:
        """See the port."""
        row = await self._pool.fetch_row(SQL["job"], job_id, tenant, repeatable=True)
        return None if row is None else (_job(row), _counts(row))

    async def jobs(
        self, tenant: str | None, *, before: tuple[datetime, str] | None, limit: int
    ) -> Sequence[tuple[Job, JobCounts]]:
        """See the port."""
        values: tuple[Any, ...] = (*(before or (None, None)), limit)
        if tenant is None:
            rows = await self._pool.fetch(SQL["jobs"], *values, repeatable=True)
        else:
            rows = await self._pool.fetch(SQL["jobs_of_tenant"], *values, tenant, repeatable=True)
        return [(_job(row), _counts(row)) for row in rows]

    async def job_files(self, job_id: str, *, after: int, limit: int) -> Sequence[Upload]:
        """See the port."""
        rows = await self._pool.fetch(SQL["job_files"], job_id, after, limit, repeatable=True)
        return [to_upload(row) for row in rows]

    async def cancel_job(self, job_id: str, tenant: str | None) -> Job | None:
        """See the port."""
        row = await self._pool.fetch_row(SQL["cancel_job"], job_id, tenant, repeatable=True)
        return None if row is None else _job(row)

    async def left_files(self, limit: int) -> Sequence[Upload]:
        """See the port."""
        return [to_upload(row) for row in await self._pool.fetch(SQL["left_files"], limit, repeatable=True)]

    async def purge_jobs(self, *, ended_seconds: float, limit: int) -> int:
        """See the port."""
        return int(await self._pool.fetch_value(SQL["purge_jobs"], timedelta(seconds=ended_seconds), limit))

    def _columns(self, files: Sequence[NewFile]) -> tuple[Any, ...]:
        """$3 to $20 of a statement with `new_files`."""
        new = [creation(file.new) for file in files]
        events = [event_columns(file.event)[:EVENT_COLUMNS] for file in files]
        return (
            len(files),
            self._node.id,
            *([row[place] for row in new] for place in range(CREATION_COLUMNS)),
            *([row[place] for row in events] for place in range(EVENT_COLUMNS)),
        )

    # --- ports.Catalogue -----------------------------------------------------------------------------------------

    async def list_uploads(
        self, only: UploadFilter, *, before: tuple[datetime, str] | None, limit: int
    ) -> Sequence[Upload]:
        """See the port."""
        name = "list_uploads"
        if only.job_id is not None:
            name = "list_uploads_of_job"
        elif only.tenant is not None:
            name = "list_uploads_of_tenant"
        values = (*_those(only), *(before or (None, None)), limit)
        return [to_upload(row) for row in await self._pool.fetch(SQL[name], *values, repeatable=True)]

    async def sum_uploads(self, only: UploadFilter) -> UploadSums:
        """See the port."""
        row = await self._pool.fetch_row(SQL["sum_uploads"], *_those(only), repeatable=True)
        if row is None:
            raise AssertionError("an aggregate has one row")
        return UploadSums(
            files=_files(row["files"]),
            finished_bytes=int(row["finished_bytes"]),
            received_bytes=int(row["received_bytes"]),
            finished_seconds=row["finished_seconds"],
            duration_seconds=_quantiles(row["durations"]),
            lengths=_quantiles(row["lengths"]),
            errors=json.loads(row["errors"] or "{}"),
        )


def _those(only: UploadFilter) -> tuple[Any, ...]:
    return only.tenant, only.job_id, only.status, only.created_from, only.created_before


def _uploads(rows: Sequence[asyncpg.Record]) -> Sequence[Upload]:
    """Of a job with no files there is one row, without an upload."""
    return [to_upload(row) for row in rows if row["id"] is not None]


def _job(row: asyncpg.Record) -> Job:
    return Job(id=row["id"], tenant=row["tenant"], created_at=row["created_at"], cancelled_at=row["cancelled_at"])


def _counts(row: asyncpg.Record) -> JobCounts:
    return JobCounts(
        files=_files(row["files"]),
        upload_offset=int(row["upload_offset"] or 0),
        upload_length=int(row["upload_length"] or 0),
    )


def _files(text: str | None) -> Mapping[FileStatus, int]:
    return {FileStatus(status): count for status, count in json.loads(text or "{}").items()}


def _quantiles(values: Sequence[float | None] | None) -> Mapping[str, float]:
    if not values or values[0] is None:
        return {}
    return dict(zip(QUANTILES, map(float, values), strict=True))  # type: ignore[arg-type]

"""Batches of uploads in SQLite: `ports.JobStore`, and with it `ports.Catalogue`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from tuspy_server.model import Upload
from tuspy_server.ports import FileStatus, Job, JobCounts, NewFile
from tuspy_server.protocol.errors import IdTaken, JobClosed, JobNotFound
from tuspy_server.stores.sqlite.catalogue import SqliteCatalogue
from tuspy_server.stores.sqlite.rows import (
    FILE_STATUS,
    SQL,
    add_upload,
    before_values,
    from_microseconds,
    seconds,
    to_instant,
    to_json,
    total,
    upload_of,
)


class SqliteJobs(SqliteCatalogue):
    """See `ports.JobStore` for each method. Opened and closed with the upload store on the same database."""

    async def create_job(
        self, job_id: str, tenant: str | None, files: Sequence[NewFile]
    ) -> tuple[Job, Sequence[Upload]]:
        """See the port."""
        now = self._now()

        def create(connection: sqlite3.Connection) -> tuple[Job, Sequence[Upload]]:
            rows = connection.execute(SQL["create_job"], {"id": job_id, "tenant": tenant, "now": now}).fetchall()
            if not rows:
                raise IdTaken
            job = _job(rows[0])
            return job, _add_files(connection, job, files, now)

        return await self._database.write(create)

    async def add_files(self, job_id: str, tenant: str | None, files: Sequence[NewFile]) -> Sequence[Upload]:
        """See the port."""
        now = self._now()

        def add(connection: sqlite3.Connection) -> Sequence[Upload]:
            row = connection.execute(SQL["get_job"], {"id": job_id, "tenant": tenant}).fetchone()
            if row is None:
                raise JobNotFound
            job = _job(row)
            if job.cancelled_at is not None:
                raise JobClosed
            return _add_files(connection, job, files, now)

        return await self._database.write(add)

    async def job(self, job_id: str, tenant: str | None) -> tuple[Job, JobCounts] | None:
        """See the port."""
        now = self._now()

        def select(connection: sqlite3.Connection) -> tuple[Job, JobCounts] | None:
            rows = connection.execute(SQL["get_job"], {"id": job_id, "tenant": tenant}).fetchall()
            found = _with_counts(connection, rows, now)
            return found[0] if found else None

        return await self._database.survey(select)

    async def jobs(
        self, tenant: str | None, *, before: tuple[datetime, str] | None, limit: int
    ) -> Sequence[tuple[Job, JobCounts]]:
        """See the port."""
        now = self._now()
        name = "list_jobs" if tenant is None else "list_jobs_of_tenant"
        values = {"tenant": tenant, "limit": limit, **before_values(before)}

        def select(connection: sqlite3.Connection) -> list[tuple[Job, JobCounts]]:
            return _with_counts(connection, connection.execute(SQL[name], values).fetchall(), now)

        return await self._database.survey(select)

    async def job_files(self, job_id: str, *, after: int, limit: int) -> Sequence[Upload]:
        """See the port."""
        return await self._select("job_files", {"job_id": job_id, "after": after, "limit": limit})

    async def cancel_job(self, job_id: str, tenant: str | None) -> Job | None:
        """See the port."""
        values = {"id": job_id, "tenant": tenant, "now": self._now()}
        rows = await self._database.write(lambda connection: connection.execute(SQL["cancel_job"], values).fetchall())
        return _job(rows[0]) if rows else None

    async def left_files(self, limit: int) -> Sequence[Upload]:
        """See the port."""
        return await self._select("left_files", {"limit": limit})

    async def purge_jobs(self, *, ended_seconds: float, limit: int) -> int:
        """See the port."""
        values = {"created_before": self._now() - seconds(ended_seconds), "limit": limit}
        return await self._database.write(
            lambda connection: connection.execute(SQL["purge_jobs"], values).rowcount, frees_space=True
        )

    async def _select(self, name: str, values: dict[str, Any]) -> Sequence[Upload]:
        now = self._now()

        def select(connection: sqlite3.Connection) -> list[Upload]:
            return [upload_of(row, now) for row in connection.execute(SQL[name], values)]

        return await self._database.read(select)


def _add_files(connection: sqlite3.Connection, job: Job, files: Iterable[NewFile], now: int) -> list[Upload]:
    added: list[Upload] = []
    for file in files:
        new = replace(file.new, job_id=job.id, tenant=job.tenant)
        event = replace(file.event, job_id=job.id, tenant=job.tenant)
        added.append(upload_of(add_upload(connection, new, event, now), now))
    return added


def _with_counts(connection: sqlite3.Connection, rows: Sequence[sqlite3.Row], now: int) -> list[tuple[Job, JobCounts]]:
    jobs = [_job(row) for row in rows]
    text = SQL["count_files"].replace("{file_status}", FILE_STATUS)
    values = {"job_ids": to_json([job.id for job in jobs]), "now": now}
    counted: dict[str, list[sqlite3.Row]] = {job.id: [] for job in jobs}
    for row in connection.execute(text, values):
        counted[row["job_id"]].append(row)
    return [(job, _counts(counted[job.id])) for job in jobs]


def _counts(rows: Sequence[sqlite3.Row]) -> JobCounts:
    return JobCounts(
        files={FileStatus(row["file_status"]): row["files"] for row in rows},
        upload_offset=sum(total(row, "upload_offset") for row in rows),
        upload_length=sum(total(row, "upload_length") for row in rows),
    )


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        tenant=row["tenant"],
        created_at=from_microseconds(row["created_at"]),
        cancelled_at=to_instant(row["cancelled_at"]),
    )

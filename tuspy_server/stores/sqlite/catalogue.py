"""Questions about many uploads, in SQLite: `ports.Catalogue`."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tuspy_server.model import Upload
from tuspy_server.ports import Clock, FileStatus, UploadFilter, UploadSums
from tuspy_server.stores.sqlite.database import Database
from tuspy_server.stores.sqlite.rows import FILE_STATUS, SQL, before_values, to_microseconds, total, upload_of


class SqliteCatalogue:
    """See `ports.Catalogue` for each method. Opened and closed with the upload store on the same database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def list_uploads(
        self, only: UploadFilter, *, before: tuple[datetime, str] | None, limit: int
    ) -> Sequence[Upload]:
        """See the port."""
        now = self._now()
        condition, values = _chosen(only, now)
        text = SQL["list_uploads"].replace("{condition}", condition)
        values |= {"limit": limit, **before_values(before)}

        def select(connection: sqlite3.Connection) -> list[Upload]:
            return [upload_of(row, now) for row in connection.execute(text, values)]

        return await self._database.survey(select)

    async def sum_uploads(self, only: UploadFilter) -> UploadSums:
        """See the port."""
        condition, values = _chosen(only, self._now())

        def query(connection: sqlite3.Connection, name: str, **more: object) -> Sequence[sqlite3.Row]:
            text = SQL[name].replace("{file_status}", FILE_STATUS).replace("{condition}", condition)
            return connection.execute(text, {**values, **more}).fetchall()

        def add_up(connection: sqlite3.Connection) -> UploadSums:
            rows = query(connection, "sum_uploads")
            count = sum(row["finished"] for row in rows)
            places = {name: math.ceil(float(name) * count) - 1 for name in ("0.5", "0.95", "1") if count}

            def quantiles(name: str) -> Mapping[str, Any]:
                return {at: query(connection, name, place=place)[0]["value"] for at, place in places.items()}

            return UploadSums(
                files={FileStatus(row["file_status"]): row["files"] for row in rows},
                finished_bytes=sum(total(row, "finished_bytes") for row in rows),
                received_bytes=sum(total(row, "upload_offset") for row in rows),
                finished_seconds=sum(row["finished_seconds"] or 0.0 for row in rows),
                duration_seconds=quantiles("quantile_of_durations"),
                lengths=quantiles("quantile_of_lengths"),
                errors={row["reason"]: row["uploads"] for row in query(connection, "count_errors")},
            )

        return await self._database.survey(add_up)

    def _now(self) -> int:
        return to_microseconds(self._clock.now())


def _chosen(only: UploadFilter, now: int) -> tuple[str, dict[str, Any]]:
    """A condition on uploads, and its values."""
    conditions: dict[str, tuple[str, Any]] = {
        "tenant": ("uploads.tenant = :tenant", only.tenant),
        "job_id": ("uploads.job_id = :job_id", only.job_id),
        "file_status": (f"{FILE_STATUS} = :file_status", only.status),
        "created_from": ("uploads.created_at >= :created_from", only.created_from),
        "created_before": ("uploads.created_at < :created_before", only.created_before),
    }
    given = {name: (text, value) for name, (text, value) in conditions.items() if value is not None}
    values = {
        name: to_microseconds(value) if isinstance(value, datetime) else value for name, (_, value) in given.items()
    }
    return " AND ".join(text for text, _ in given.values()) or "true", {**values, "now": now}

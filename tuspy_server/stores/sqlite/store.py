"""Rows of uploads, and their events, in SQLite: `ports.UploadStore`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tuspy_server.model import Upload, UploadStatus
from tuspy_server.ports import (
    Claim,
    Claimed,
    Cleanup,
    Clock,
    Commit,
    DraftEvent,
    Ending,
    EventDraft,
    Lifetime,
    NewUpload,
)
from tuspy_server.stores.sqlite.database import Database
from tuspy_server.stores.sqlite.schema import migrate, statements

SQL: Final = statements()

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_microseconds(instant: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (instant - _EPOCH) // _MICROSECOND


def to_instant(microseconds: int | None) -> datetime | None:
    """The inverse of `to_microseconds`; None stays None."""
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


def seconds(duration_seconds: float) -> int:
    """A duration in the unit of the columns."""
    return round(duration_seconds * 1_000_000)


class SqliteUploadStore:
    """See `ports.UploadStore` for each method. Times are those of `clock`, in the one process that holds the file."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def open(self) -> None:
        """See the port."""
        await self._database.open()
        now = self._now()

        def recover(connection: sqlite3.Connection) -> None:
            migrate(connection)
            connection.execute(SQL["forget_writers"])
            connection.execute(SQL["release_leases"], {"now": now})

        await self._database.write(recover, frees_space=True)

    async def open_to_look(self) -> None:
        """Open for the methods that change nothing, beside a process that serves the same file."""
        await self._database.open_to_look()

    async def close(self) -> None:
        """See the port."""
        await self._database.close()

    async def create(self, new: NewUpload, event: EventDraft) -> Upload:
        """See the port."""
        now = self._now()
        values = {
            "id": new.id,
            "upload_length": new.upload_length,
            "upload_metadata": new.upload_metadata,
            "writer": new.writer,
            **_lifetime(new.lifetime),
        }
        upload = await self._change("create", values, now, event)
        if upload is None:
            raise AssertionError("INSERT … RETURNING returns its row")
        return upload

    async def get(self, upload_id: str) -> Upload | None:
        """See the port."""

        def select(connection: sqlite3.Connection) -> sqlite3.Row | None:
            row: sqlite3.Row | None = connection.execute(SQL["get"], {"id": upload_id}).fetchone()
            return row

        row = await self._database.read(select)
        return None if row is None else _upload(row, self._now())

    async def claim(self, claim: Claim) -> Claimed | None:
        """See the port."""
        values = {
            "id": claim.upload_id,
            "writer": claim.writer,
            "upload_offset": claim.upload_offset,
            "body_bytes": claim.body_bytes,
            "declared_length": claim.declared_length,
        }
        # Not synced: the start forgets all writers anyway.
        upload = await self._change("claim", values, self._now(), synced=False)
        return None if upload is None else Claimed(upload=upload)

    async def commit(self, commit: Commit) -> Upload | None:
        """See the port."""
        return await self._change("commit", _commit(commit), self._now())

    async def finish(self, commit: Commit, event: EventDraft) -> Upload | None:
        """See the port."""
        return await self._change("finish", _commit(commit), self._now(), event)

    async def end(self, ending: Ending) -> Upload | None:
        """See the port."""
        name = {UploadStatus.TERMINATED: "terminate", UploadStatus.FAILED: "fail"}[ending.status]
        values = {"id": ending.upload_id, "writer": ending.writer}
        return await self._change(name, values, self._now(), ending.event, cleanup=True)

    async def expired(self, limit: int) -> Sequence[Upload]:
        """See the port."""
        now = self._now()

        def select(connection: sqlite3.Connection) -> list[Upload]:
            rows = connection.execute(SQL["expired"], {"now": now, "limit": limit})
            return [_upload(row, now) for row in rows]

        return await self._database.read(select)

    async def expire(self, draft: DraftEvent, limit: int) -> Sequence[Upload]:
        """See the port."""
        now = self._now()

        def expire(connection: sqlite3.Connection) -> list[Upload]:
            rows = connection.execute(SQL["expire"], {"now": now, "limit": limit}).fetchall()
            uploads = [_upload(row, now) for row in rows]
            for upload in uploads:
                connection.execute(SQL["add_cleanup"], {"id": upload.id, "now": now})
                _add_event(connection, draft(upload), now)
            return uploads

        return await self._database.write(expire, frees_space=True)

    async def cleanups(self, limit: int) -> Sequence[Cleanup]:
        """See the port."""
        now = self._now()

        def select(connection: sqlite3.Connection) -> list[Cleanup]:
            rows = connection.execute(SQL["cleanups"], {"limit": limit})
            return [Cleanup(upload=_upload(row, now)) for row in rows]

        return await self._database.read(select)

    async def cleaned(self, upload_ids: Sequence[str]) -> None:
        """See the port."""

        def delete(connection: sqlite3.Connection) -> None:
            connection.executemany(SQL["cleaned"], [{"id": upload_id} for upload_id in upload_ids])

        await self._database.write(delete, synced=False, frees_space=True)

    async def purge(self, *, gone_seconds: float, event_seconds: float, unrelayed: bool, limit: int) -> int:
        """See the port."""
        now = self._now()
        gone = {"gone_before": now - seconds(gone_seconds), "limit": limit}
        old = {"event_before": now - seconds(event_seconds), "unrelayed": unrelayed, "limit": limit}

        def delete(connection: sqlite3.Connection) -> int:
            purged = connection.execute(SQL["purge_uploads"], gone).rowcount
            connection.execute(SQL["purge_deliveries"], old)
            return purged + connection.execute(SQL["purge_events"], old).rowcount

        return await self._database.write(delete, frees_space=True)

    async def release_writers(self, held: Callable[[], Set[str]]) -> int:
        """See the port."""

        def select(connection: sqlite3.Connection) -> set[str]:
            return {row["writer"] for row in connection.execute(SQL["writers"])}

        lost = await self._database.read(select) - held()
        if not lost:
            return 0
        values = {"lost": json.dumps(sorted(lost))}
        return await self._database.write(
            lambda connection: connection.execute(SQL["release_writers"], values).rowcount
        )

    async def count_by_status(self) -> Mapping[UploadStatus, int]:
        """See the port."""

        def select(connection: sqlite3.Connection) -> dict[UploadStatus, int]:
            return {UploadStatus(row["status"]): row["uploads"] for row in connection.execute(SQL["count_by_status"])}

        return await self._database.read(select)

    def _now(self) -> int:
        return to_microseconds(self._clock.now())

    async def _change(
        self,
        name: str,
        values: Mapping[str, Any],
        now: int,
        event: EventDraft | None = None,
        *,
        cleanup: bool = False,
        synced: bool = True,
    ) -> Upload | None:
        """One statement on one row; its event and cleanup row only if it changed that row."""

        def change(connection: sqlite3.Connection) -> Upload | None:
            rows = connection.execute(SQL[name], {**values, "now": now}).fetchall()
            if not rows:
                return None
            if cleanup:
                connection.execute(SQL["add_cleanup"], {"id": values["id"], "now": now})
            if event is not None:
                _add_event(connection, event, now)
            return _upload(rows[0], now)

        # Only endings leave a cleanup row, and only they lead to space.
        return await self._database.write(change, synced=synced, frees_space=cleanup)


def _add_event(connection: sqlite3.Connection, event: EventDraft, now: int) -> None:
    values = {
        "id": event.id,
        "type": event.type,
        "upload_id": event.upload_id,
        "data": json.dumps(dict(event.data), ensure_ascii=False, separators=(",", ":")),
        "now": now,
    }
    connection.execute(SQL["add_event"], values)


def _commit(commit: Commit) -> dict[str, Any]:
    return {
        "id": commit.upload_id,
        "writer": commit.writer,
        "upload_offset": commit.upload_offset,
        "upload_length": commit.upload_length,
        "release": commit.release,
        **_lifetime(commit.lifetime),
    }


def _lifetime(lifetime: Lifetime | None) -> dict[str, int | None]:
    if lifetime is None:
        return {"idle": None, "cap": None}
    return {"idle": seconds(lifetime.idle_seconds), "cap": seconds(lifetime.cap_seconds)}


def _upload(row: sqlite3.Row, now: int) -> Upload:
    as_of = to_instant(now)
    created_at = to_instant(row["created_at"])
    if as_of is None or created_at is None:
        raise AssertionError("both columns are NOT NULL")
    return Upload(
        id=row["id"],
        status=UploadStatus(row["status"]),
        upload_offset=row["upload_offset"],
        upload_length=row["upload_length"],
        upload_metadata=row["upload_metadata"],
        writer=row["writer"],
        created_at=created_at,
        expires_at=to_instant(row["expires_at"]),
        ended_at=to_instant(row["ended_at"]),
        as_of=as_of,
    )

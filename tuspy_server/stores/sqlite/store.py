"""Rows of uploads, and their events, in SQLite: `ports.UploadStore`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

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
    NewUpload,
)
from tuspy_server.stores.sqlite.database import Database
from tuspy_server.stores.sqlite.opening import refuse_a_stranger
from tuspy_server.stores.sqlite.rows import SQL, add_event, add_upload, seconds, to_microseconds, upload_of
from tuspy_server.stores.sqlite.schema import migrate


class SqliteUploadStore:
    """See `ports.UploadStore` for each method. Times are those of `clock`, in the one process that holds the file."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def open(self) -> None:
        """See the port."""
        now = self._now()

        def recover(connection: sqlite3.Connection) -> None:
            refuse_a_stranger(connection, self._database.path)
            migrate(connection)
            connection.execute(SQL["forget_writers"])
            connection.execute(SQL["release_leases"], {"now": now})

        await self._database.open(recover)

    async def open_to_look(self) -> None:
        """Open for the methods that change nothing, beside a process that serves the same file."""
        await self._database.open_to_look()

    async def close(self) -> None:
        """See the port."""
        await self._database.close()

    async def create(self, new: NewUpload, event: EventDraft) -> Upload:
        """See the port."""
        now = self._now()

        def insert(connection: sqlite3.Connection) -> Upload:
            return upload_of(add_upload(connection, new, event, now), now)

        return await self._database.write(insert)

    async def get(self, upload_id: str) -> Upload | None:
        """See the port."""

        def select(connection: sqlite3.Connection) -> sqlite3.Row | None:
            row: sqlite3.Row | None = connection.execute(SQL["get"], {"id": upload_id}).fetchone()
            return row

        row = await self._database.read(select)
        return None if row is None else upload_of(row, self._now())

    async def claim(self, claim: Claim) -> Claimed | None:
        """See the port."""
        values = {
            "id": claim.upload_id,
            "writer": claim.writer,
            "upload_offset": claim.upload_offset,
            "body_bytes": claim.body_bytes,
            "declared_length": claim.declared_length,
            "tenant": claim.tenant,
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
        values = {"id": ending.upload_id, "writer": ending.writer, "unfinished": ending.unfinished}
        return await self._change(name, values, self._now(), ending.event, cleanup=True)

    async def expired(self, limit: int) -> Sequence[Upload]:
        """See the port."""
        now = self._now()

        def select(connection: sqlite3.Connection) -> list[Upload]:
            rows = connection.execute(SQL["expired"], {"now": now, "limit": limit})
            return [upload_of(row, now) for row in rows]

        return await self._database.read(select)

    async def expire(self, draft: DraftEvent, limit: int) -> Sequence[Upload]:
        """See the port."""
        now = self._now()

        def expire(connection: sqlite3.Connection) -> list[Upload]:
            rows = connection.execute(SQL["expire"], {"now": now, "limit": limit}).fetchall()
            uploads = [upload_of(row, now) for row in rows]
            for upload in uploads:
                connection.execute(SQL["add_cleanup"], {"id": upload.id, "now": now})
                add_event(connection, draft(upload), now)
            return uploads

        return await self._database.write(expire, frees_space=True)

    async def cleanups(self, limit: int) -> Sequence[Cleanup]:
        """See the port."""
        now = self._now()

        def select(connection: sqlite3.Connection) -> list[Cleanup]:
            rows = connection.execute(SQL["cleanups"], {"limit": limit})
            return [Cleanup(upload=upload_of(row, now)) for row in rows]

        return await self._database.read(select)

    async def cleaned(self, upload_ids: Sequence[str]) -> None:
        """See the port."""

        def delete(connection: sqlite3.Connection) -> None:
            connection.executemany(SQL["cleaned"], [{"id": upload_id} for upload_id in upload_ids])

        await self._database.write(delete, synced=False, frees_space=True)

    async def purge(self, *, gone_seconds: float, event_seconds: float, limit: int) -> int:
        """See the port."""
        now = self._now()
        gone = {"gone_before": now - seconds(gone_seconds), "limit": limit}
        old = {"event_before": now - seconds(event_seconds), "limit": limit}

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

    async def has_any(self) -> bool:
        """See the port."""
        return await self._database.read(lambda connection: connection.execute(SQL["has_any"]).fetchone() is not None)

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
                add_event(connection, event, now)
            return upload_of(rows[0], now)

        # Only endings leave a cleanup row, and only they lead to space.
        return await self._database.write(change, synced=synced, frees_space=cleanup)


def _commit(commit: Commit) -> dict[str, Any]:
    lifetime = commit.lifetime
    return {
        "id": commit.upload_id,
        "writer": commit.writer,
        "upload_offset": commit.upload_offset,
        "upload_length": commit.upload_length,
        "release": commit.release,
        "idle": None if lifetime is None else seconds(lifetime.idle_seconds),
        "cap": None if lifetime is None else seconds(lifetime.cap_seconds),
    }

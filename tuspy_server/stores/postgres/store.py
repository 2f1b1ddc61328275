"""Rows of uploads, and their events, in PostgreSQL: `ports.UploadStore` and `ports.Assemblies`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import timedelta
from typing import Final

from tuspy_server.model import EventType, Upload, UploadStatus, event_id
from tuspy_server.ports import Claim, Claimed, Cleanup, Commit, DraftEvent, Ending, EventDraft, NewUpload
from tuspy_server.protocol.errors import JobClosed, JobNotFound
from tuspy_server.stores.postgres.assemblies import PostgresAssemblies, fenced
from tuspy_server.stores.postgres.errors import inserted
from tuspy_server.stores.postgres.nodes import Node
from tuspy_server.stores.postgres.pool import Pool
from tuspy_server.stores.postgres.rows import creation, lifetime, piece_columns, recording, to_pieces, to_upload
from tuspy_server.stores.postgres.rows import event as event_columns
from tuspy_server.stores.postgres.schema import migrate, statements

SQL: Final = statements()
DEAD_BATCH: Final = 100


class PostgresUploadStore(PostgresAssemblies):
    """See `ports.UploadStore` for each method. Times are the database's, and each method is one call of it."""

    def __init__(self, pool: Pool, node: Node) -> None:
        super().__init__(pool, node)
        self._settled = timedelta(seconds=pool.options.settled_seconds)

    async def open(self) -> None:
        """See the port; connects, and starts this node's heart."""
        await self._pool.open()
        try:
            await migrate(self._pool)
            await self._pool.fill()
            await self._node.start()
            await self._release_dead(batches=1)  # the rest is for the sweeps: there may be 100,000
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """See the port. What this node still holds is free for the others."""
        await self._node.stop()
        await self._pool.close()

    async def create(self, new: NewUpload, event: EventDraft) -> Upload:
        """See the port."""
        row = await inserted(
            self._pool.fetch_row(
                SQL["create"], self._node.id, *creation(new), *event_columns(event), new.tenant, new.job_id
            )
        )
        if row is not None:
            return to_upload(row)
        job = await self._pool.fetch_row(SQL["job_row"], new.job_id, None, repeatable=True)
        if job is None or job["tenant"] != new.tenant:
            raise JobNotFound
        raise JobClosed

    async def get(self, upload_id: str) -> Upload | None:
        """See the port."""
        row = await self._pool.fetch_row(SQL["get"], upload_id, self._node.id, self._node.alive, repeatable=True)
        return None if row is None else to_upload(row)

    async def claim(self, claim: Claim) -> Claimed | None:
        """See the port."""
        row = await self._pool.fetch_row(
            SQL["claim"],
            claim.upload_id,
            claim.writer,
            self._node.id,
            claim.upload_offset,
            claim.body_bytes,
            claim.declared_length,
            claim.tenant,
        )
        return None if row is None else Claimed(upload=to_upload(row), pieces=to_pieces(row["pieces"]))

    async def commit(self, commit: Commit) -> Upload | None:
        """See the port."""
        row = await self._pool.fetch_row(
            SQL["commit"], *fenced(commit), *recording(commit), commit.release, *lifetime(commit.lifetime)
        )
        return None if row is None else to_upload(row)

    async def finish(self, commit: Commit, event: EventDraft) -> Upload | None:
        """See the port."""
        stored = commit.stored
        row = await self._pool.fetch_row(
            SQL["finish"],
            commit.upload_id,
            commit.writer,
            commit.upload_offset,
            commit.unsettled,
            stored.multipart_id if stored else None,
            stored.etag if stored else None,
            *event_columns(event),
            event_id(commit.upload_id, EventType.PROCESSED),
            event_id(commit.upload_id, EventType.PROCESSING_FAILED),
            self._settled,
            *piece_columns(commit),
        )
        return None if row is None else to_upload(row)

    async def end(self, ending: Ending) -> Upload | None:
        """See the port."""
        name = {UploadStatus.TERMINATED: "terminate", UploadStatus.FAILED: "fail"}[ending.status]
        event = event_columns(ending.event)
        values = (ending.upload_id, ending.writer, *event, self._settled)
        unfinished = () if name == "fail" else (ending.unfinished,)
        row = await self._pool.fetch_row(SQL[name], *values, *unfinished)
        return None if row is None else to_upload(row)

    async def expired(self, limit: int) -> Sequence[Upload]:
        """See the port."""
        rows = await self._pool.fetch(SQL["expired"], limit, repeatable=True)
        return [to_upload(row) for row in rows]

    async def expire(self, draft: DraftEvent, limit: int) -> Sequence[Upload]:
        """See the port. No row is locked while `draft` runs; what another sweep has taken meanwhile is not counted, and
        more is looked for."""
        done: list[Upload] = []
        while found := await self.expired(limit - len(done)):
            ended = [replace(upload, status=UploadStatus.EXPIRED, ended_at=upload.as_of) for upload in found]
            events = [event_columns(draft(upload)) for upload in ended]
            columns = [list(column) for column in zip(*events, strict=True)]
            rows = await self._pool.fetch(SQL["expire"], [upload.id for upload in ended], *columns, self._settled)
            done += [to_upload(row) for row in rows]
            if len(done) == limit:
                break
        return done

    async def cleanups(self, limit: int) -> Sequence[Cleanup]:
        """See the port."""
        rows = await self._pool.fetch(SQL["cleanups"], limit, repeatable=True)
        self._visited = {row["id"]: row["status"] for row in rows}
        return [Cleanup(upload=to_upload(row), piece_keys=row["piece_keys"]) for row in rows]

    async def cleaned(self, upload_ids: Sequence[str]) -> None:
        """See the port. A cleanup that has been asked for since it was told (a DELETE behind a finish) stays."""
        visited = [self._visited.pop(upload_id, None) for upload_id in upload_ids]
        await self._pool.fetch(SQL["cleaned"], list(upload_ids), visited)

    async def purge(self, *, gone_seconds: float, event_seconds: float, limit: int) -> int:
        """See the port."""
        gone, old = timedelta(seconds=gone_seconds), timedelta(seconds=event_seconds)
        purged: int = await self._pool.fetch_value(SQL["purge"], gone, old, limit)
        return purged

    async def release_writers(self, held: Callable[[], Set[str]]) -> int:
        """See the port."""
        rows = await self._pool.fetch(SQL["own_writers"], self._node.id, repeatable=True)
        lost = {row["writer"] for row in rows} - held()
        released = 0
        if lost:
            values = (self._node.id, sorted(lost))
            released = len(await self._pool.fetch(SQL["release_writers"], *values, repeatable=True))
        return released + await self._release_dead()

    async def count_by_status(self) -> Mapping[UploadStatus, int]:
        """See the port."""
        rows = await self._pool.fetch(SQL["count_by_status"], repeatable=True)
        return {UploadStatus(row["status"]): row["uploads"] for row in rows}

    async def has_any(self) -> bool:
        """See the port."""
        return await self._pool.fetch_row(SQL["has_any"], repeatable=True) is not None

    async def _release_dead(self, batches: int | None = None) -> int:
        # A node that has been killed is dead only when its heart has been silent for long enough, often after the start
        # of the one that takes its place.
        await self._pool.fetch(SQL["release_leases"], self._node.alive, repeatable=True)
        released = 0
        for _ in itertools.count() if batches is None else range(batches):
            values = (self._node.id, self._node.alive, DEAD_BATCH)
            row = await self._pool.fetch_row(SQL["release_dead"], *values, repeatable=True)
            if row is None:
                raise AssertionError("an aggregate has one row")
            seen, cleared = int(row["seen"]), int(row["released"])
            released += cleared
            if seen < DEAD_BATCH:
                break
        return released

"""Uploads in status completing: `ports.Assemblies`, the part of the store that only an object store needs."""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from tuspy_server.model import Upload
from tuspy_server.ports import Assembly, Cleanup, Commit, StoredPart, StoredPiece
from tuspy_server.stores.postgres.nodes import Node
from tuspy_server.stores.postgres.pool import Pool
from tuspy_server.stores.postgres.rows import in_order, lifetime, recording, to_upload
from tuspy_server.stores.postgres.schema import statements

SQL: Final = statements()


class PostgresAssemblies:
    """See `ports.Assemblies` for each method."""

    def __init__(self, pool: Pool, node: Node) -> None:
        self._pool = pool
        self._node = node
        self._visited: dict[str, str] = {}
        """What the cleanups were for that have been told last, by upload."""

    async def complete(self, commit: Commit) -> Upload | None:
        """See the port."""
        row = await self._pool.fetch_row(
            SQL["complete"], *fenced(commit), *recording(commit), *lifetime(commit.lifetime)
        )
        return None if row is None else to_upload(row)

    async def assembly(self, upload_id: str) -> Assembly:
        """See the port."""
        rows = await self._pool.fetch(SQL["assembly"], upload_id, repeatable=True)
        parts = [
            StoredPart(part_number=row["first"], part_bytes=row["second"], etag=row["name"], crc32c=row["crc32c"])
            for row in rows
            if row["kind"] == "part"
        ]
        pieces = in_order(
            StoredPiece(
                start=row["first"], stop=row["second"], key=row["name"], crc32c=row["crc32c"], level=row["level"]
            )
            for row in rows
            if row["kind"] == "piece"
        )
        return Assembly(parts=sorted(parts, key=lambda part: part.part_number), pieces=pieces)

    async def adopt(self, writer: str, upload_id: str | None, held: Set[str]) -> Upload | None:
        """See the port."""
        node = self._node
        row = await self._pool.fetch_row(SQL["adopt"], writer, node.id, upload_id, sorted(held), node.alive)
        return None if row is None else to_upload(row)

    async def cleanup(self, upload_id: str) -> Cleanup | None:
        """See the port."""
        row = await self._pool.fetch_row(SQL["cleanup"], upload_id, repeatable=True)
        if row is None:
            return None
        self._visited[upload_id] = row["status"]
        return Cleanup(upload=to_upload(row), piece_keys=row["piece_keys"])

    async def tried(self, upload_id: str, writer: str) -> int:
        """See the port. 0 for one who is not at it any more."""
        return await self._pool.fetch_value(SQL["tried"], upload_id, writer) or 0


def fenced(commit: Commit) -> tuple[object, ...]:
    """$1 to $7 of `commit` and `complete`."""
    stored = commit.stored
    return (
        commit.upload_id,
        commit.writer,
        commit.upload_offset,
        commit.upload_length,
        commit.unsettled,
        stored.multipart_id if stored else None,
        stored.etag if stored else None,
    )

"""Records of the driver and those of the ports, one from the other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import asyncpg

from tuspy_server.model import Placement, Upload, UploadStatus
from tuspy_server.ports import Commit, EventDraft, Lifetime, StoredPiece


def to_upload(row: asyncpg.Record) -> Upload:
    """A row of `columns` and `as_of`, and `writer_node` where a statement tells it."""
    placement = None
    if row["object_key"] is not None:
        placement = Placement(
            key=row["object_key"],
            part_bytes=row["part_bytes"],
            multipart_id=row["multipart_id"],
            contested_to=row["contested_to"],
            unsettled=row["unsettled"],
            etag=row["etag"],
        )
    return Upload(
        id=row["id"],
        status=UploadStatus(row["status"]),
        upload_offset=row["upload_offset"],
        upload_length=row["upload_length"],
        upload_metadata=row["upload_metadata"],
        writer=row["writer"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        ended_at=row["ended_at"],
        as_of=row["as_of"],
        writer_node=row.get("writer_node"),
        placement=placement,
    )


def to_pieces(text: str | None) -> Sequence[StoredPiece]:
    """The pieces that a statement gives as JSON."""
    rows: list[tuple[int, int, str, int, int]] = json.loads(text) if text else []
    return in_order(
        StoredPiece(start=start, stop=stop, key=key, crc32c=crc32c, level=level)
        for start, stop, key, crc32c, level in rows
    )


def in_order(pieces: Iterable[StoredPiece]) -> Sequence[StoredPiece]:
    """By where they start."""
    return sorted(pieces, key=lambda piece: (piece.start, piece.stop))


def recording(commit: Commit) -> tuple[Any, ...]:
    """$8 to $16 of a statement that records parts and pieces."""
    return (*_parts(commit), *piece_columns(commit))


def piece_columns(commit: Commit) -> tuple[Any, ...]:
    """The pieces of a commit, column by column."""
    new = commit.stored.pieces if commit.stored else ()
    return (
        [piece.start for piece in new],
        [piece.stop for piece in new],
        [piece.key for piece in new],
        [piece.crc32c for piece in new],
        [piece.level for piece in new],
    )


def _parts(commit: Commit) -> tuple[Any, ...]:
    new = commit.stored.parts if commit.stored else ()
    return (
        [part.part_number for part in new],
        [part.part_bytes for part in new],
        [part.etag for part in new],
        [part.crc32c for part in new],
    )


def lifetime(of: Lifetime | None) -> tuple[timedelta | None, timedelta | None]:
    """As intervals."""
    if of is None:
        return None, None
    return timedelta(seconds=of.idle_seconds), timedelta(seconds=of.cap_seconds)


def event(draft: EventDraft) -> tuple[str, str, str, str]:
    """The columns that a transaction does not know by itself."""
    data = json.dumps(dict(draft.data), ensure_ascii=False, separators=(",", ":"))
    return draft.id, draft.type.value, draft.upload_id, data

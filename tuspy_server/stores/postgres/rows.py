"""Records of the driver and those of the ports, one from the other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import asyncpg

from tuspy_server.model import Event, EventType, Placement, Processing, Upload, UploadStatus
from tuspy_server.ports import Commit, EventDraft, Lifetime, NewUpload, StoredPiece


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
            bucket=row["object_bucket"],
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
        tenant=row["tenant"],
        job_id=row["job_id"],
        job_number=row["job_number"],
        trusted_metadata=json.loads(row["trusted_metadata"]) if row["trusted_metadata"] else {},
        most_bytes=row["most_bytes"],
        idle_seconds=row["idle_seconds"],
        processing=Processing(row["processing"]) if row["processing"] else None,
    )


def to_event(row: asyncpg.Record) -> Event:
    """A row of `event_columns`."""
    return Event(
        id=row["id"],
        type=EventType(row["type"]),
        upload_id=row["upload_id"],
        data=json.loads(row["data"]),
        time=row["time"],
        position=row["position"],
        tenant=row["tenant"],
        job_id=row["job_id"],
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


def event(draft: EventDraft) -> tuple[str, str, str, str, str | None, str | None]:
    """The columns that a transaction does not know by itself."""
    return draft.id, draft.type.value, draft.upload_id, to_json(draft.data), draft.tenant, draft.job_id


def creation(new: NewUpload) -> tuple[Any, ...]:
    """What a row begins with, but for the node and the job: id, length, metadata, writer, lifetime (2), object (3),
    trusted metadata, most bytes, idle seconds."""
    placement = new.placement
    return (
        new.id,
        new.upload_length,
        new.upload_metadata,
        new.writer,
        *lifetime(new.lifetime),
        placement.bucket if placement else None,
        placement.key if placement else None,
        placement.part_bytes if placement else None,
        to_json(new.trusted_metadata) if new.trusted_metadata else None,
        new.most_bytes,
        new.idle_seconds,
    )


def to_json(data: Mapping[str, Any]) -> str:
    """As the columns of type json take it."""
    return json.dumps(dict(data), ensure_ascii=False, separators=(",", ":"))

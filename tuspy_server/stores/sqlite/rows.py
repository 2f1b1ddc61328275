"""Rows as the ports know them, and back: the unit of the time columns, JSON, and the named statements."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tuspy_server.model import Event, EventType, Processing, Upload, UploadStatus
from tuspy_server.ports import EventDraft, NewUpload
from tuspy_server.protocol.errors import IdTaken, JobClosed, JobNotFound
from tuspy_server.stores.sqlite.schema import statements

SQL: Final = statements()

FILE_STATUS: Final = """
CASE WHEN status = 'expired' OR (status = 'uploading' AND expires_at <= :now) THEN 'EXPIRED'
     WHEN status = 'failed' THEN 'FAILED'
     WHEN status = 'terminated' THEN 'CANCELLED'
     WHEN status = 'finished' THEN
          CASE processing WHEN 'waiting' THEN 'PROCESSING' WHEN 'failed' THEN 'FAILED' ELSE 'COMPLETED' END
     WHEN status = 'uploading' AND upload_offset = 0 AND writer IS NULL THEN 'QUEUED'
     ELSE 'UPLOADING' END
"""
"""`ports.file_status` of a row of uploads; a test compares the two."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_microseconds(instant: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (instant - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """The inverse of `to_microseconds`."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_instant(microseconds: int | None) -> datetime | None:
    """As `from_microseconds`; None stays None."""
    return None if microseconds is None else from_microseconds(microseconds)


def seconds(duration_seconds: float) -> int:
    """A duration in the unit of the columns."""
    return round(duration_seconds * 1_000_000)


def to_json(value: object) -> str:
    """Compact."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def add_upload(connection: sqlite3.Connection, new: NewUpload, event: EventDraft, now: int) -> sqlite3.Row:
    """Insert an upload and its event; raises as `ports.NewUpload` says."""
    lifetime = new.lifetime
    idle_seconds = new.idle_seconds if lifetime is None or new.idle_seconds is not None else lifetime.idle_seconds
    values = {
        "id": new.id,
        "upload_length": new.upload_length,
        "upload_metadata": new.upload_metadata,
        "writer": new.writer,
        "idle": None if idle_seconds is None else seconds(idle_seconds),
        "cap": None if lifetime is None else seconds(lifetime.cap_seconds),
        "tenant": new.tenant,
        "job_id": new.job_id,
        "trusted_metadata": to_json(dict(new.trusted_metadata)) if new.trusted_metadata else None,
        "most_bytes": new.most_bytes,
        "idle_seconds": new.idle_seconds,
        "now": now,
    }
    rows: list[sqlite3.Row] = connection.execute(SQL["create"], values).fetchall()
    if not rows:
        raise _why_not_created(connection, new)
    add_event(connection, event, now)
    return rows[0]


def _why_not_created(connection: sqlite3.Connection, new: NewUpload) -> Exception:
    if new.job_id is None:
        return IdTaken()
    job = connection.execute(SQL["get_job"], {"id": new.job_id, "tenant": None}).fetchone()
    if job is None or job["tenant"] != new.tenant:
        return JobNotFound()
    return IdTaken() if job["cancelled_at"] is None else JobClosed()


def add_event(connection: sqlite3.Connection, event: EventDraft, now: int) -> None:
    """Insert an event of the transaction under way."""
    values = {
        "id": event.id,
        "type": event.type,
        "upload_id": event.upload_id,
        "data": to_json(dict(event.data)),
        "now": now,
        "tenant": event.tenant,
        "job_id": event.job_id,
    }
    connection.execute(SQL["add_event"], values)


def upload_of(row: sqlite3.Row, now: int) -> Upload:
    """A row of uploads, read at `now`."""
    trusted: Mapping[str, Any] = json.loads(row["trusted_metadata"]) if row["trusted_metadata"] else {}
    return Upload(
        id=row["id"],
        status=UploadStatus(row["status"]),
        upload_offset=row["upload_offset"],
        upload_length=row["upload_length"],
        upload_metadata=row["upload_metadata"],
        writer=row["writer"],
        created_at=from_microseconds(row["created_at"]),
        expires_at=to_instant(row["expires_at"]),
        ended_at=to_instant(row["ended_at"]),
        as_of=from_microseconds(now),
        tenant=row["tenant"],
        job_id=row["job_id"],
        job_number=row["job_number"],
        trusted_metadata=trusted,
        most_bytes=row["most_bytes"],
        idle_seconds=row["idle_seconds"],
        processing=Processing(row["processing"]) if row["processing"] else None,
    )


def event_of(row: sqlite3.Row) -> Event:
    """A row of events."""
    return Event(
        id=row["id"],
        type=EventType(row["type"]),
        upload_id=row["upload_id"],
        data=json.loads(row["data"]),
        time=from_microseconds(row["time"]),
        position=row["position"],
        tenant=row["tenant"],
        job_id=row["job_id"],
    )


def before_values(before: tuple[datetime, str] | None) -> dict[str, Any]:
    """Values for a list that goes on before a creation and an id; None for its beginning."""
    if before is None:
        return {"before_created_at": 2**63 - 1, "before_id": ""}
    return {"before_created_at": to_microseconds(before[0]), "before_id": before[1]}


def total(row: sqlite3.Row, name: str) -> int:
    """A sum that comes in two halves, because it may be beyond the integers of SQLite."""
    return ((row[f"{name}_high"] or 0) << 32) + (row[f"{name}_low"] or 0)

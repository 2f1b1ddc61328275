"""Rows and drafts that the contract suites make, so that each test names only what it is about."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from tuspy_server.model import EventType, Placement, Upload, UploadStatus, event_id
from tuspy_server.ports import Claim, Commit, Ending, EventDraft, Lifetime, NewFile, NewUpload, Outbox, UploadStore

HOUR = Lifetime(idle_seconds=3600, cap_seconds=10 * 3600)


def new_id() -> str:
    return secrets.token_hex(16)


def a_row(
    upload_id: str,
    status: UploadStatus = UploadStatus.UPLOADING,
    *,
    upload_offset: int = 0,
    upload_length: int | None = None,
    placement: Placement | None = None,
) -> Upload:
    """A row as a store would give it, for those that ask no store."""
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return Upload(
        id=upload_id,
        status=status,
        upload_offset=upload_offset,
        upload_length=upload_length,
        upload_metadata=None,
        writer="writer",
        created_at=now,
        expires_at=None,
        ended_at=None,
        as_of=now,
        placement=placement,
    )


def draft(
    event_type: EventType, upload_id: str, *, tenant: str | None = None, job_id: str | None = None, **facts: Any
) -> EventDraft:
    """`facts`: more of its data."""
    return EventDraft(
        id=event_id(upload_id, event_type),
        type=event_type,
        upload_id=upload_id,
        data={"upload_id": upload_id, **facts},
        tenant=tenant,
        job_id=job_id,
    )


def expiry_of(upload: Upload) -> EventDraft:
    return draft(EventType.EXPIRED, upload.id)


def new_upload(upload_id: str | None = None, *, length: int | None = 10, **fields: Any) -> NewUpload:
    """`fields`: of `NewUpload`."""
    given: dict[str, Any] = {"upload_metadata": None, "writer": None, "lifetime": None, **fields}
    return NewUpload(id=upload_id or new_id(), upload_length=length, **given)


def new_file(upload_id: str | None = None, *, length: int | None = 10, **fields: Any) -> NewFile:
    """One file of a job, with its event."""
    new = new_upload(upload_id, length=length, **fields)
    return NewFile(new=new, event=draft(EventType.CREATED, new.id, tenant=new.tenant, job_id=new.job_id))


async def create(
    store: UploadStore,
    *,
    length: int | None = 10,
    metadata: str | None = None,
    **fields: Any,
) -> Upload:
    file = new_file(length=length, upload_metadata=metadata, **fields)
    return await store.create(file.new, file.event)


async def claim(
    store: UploadStore,
    upload: Upload,
    *,
    offset: int | None = None,
    body: int = 0,
    length: int | None = None,
    writer: str | None = None,
) -> Upload | None:
    granted = await store.claim(
        Claim(
            upload_id=upload.id,
            writer=writer or new_id(),
            upload_offset=upload.upload_offset if offset is None else offset,
            body_bytes=body,
            declared_length=length,
        )
    )
    return None if granted is None else granted.upload


async def claimed(store: UploadStore, upload: Upload) -> Upload:
    row = await claim(store, upload)
    assert row is not None
    return row


def commit(
    row: Upload,
    offset: int,
    *,
    length: int | None = None,
    release: bool = False,
    lifetime: Lifetime | None = None,
) -> Commit:
    assert row.writer is not None
    return Commit(
        upload_id=row.id,
        writer=row.writer,
        upload_offset=offset,
        upload_length=length,
        release=release,
        lifetime=lifetime,
    )


async def finish(store: UploadStore, row: Upload, length: int) -> Upload | None:
    event = draft(EventType.FINISHED, row.id, tenant=row.tenant, job_id=row.job_id)
    return await store.finish(commit(row, length, length=length, release=True), event)


async def finished(store: UploadStore, *, length: int = 10, **fields: Any) -> Upload:
    row = await create(store, length=length, writer=new_id(), **fields)
    done = await finish(store, row, length)
    assert done is not None
    return done


async def terminate(store: UploadStore, upload: Upload, *, writer: str | None = None) -> Upload | None:
    event = draft(EventType.TERMINATED, upload.id)
    return await store.end(Ending(upload_id=upload.id, status=UploadStatus.TERMINATED, event=event, writer=writer))


async def fail(store: UploadStore, upload: Upload, *, writer: str | None = None, **facts: Any) -> Upload | None:
    event = draft(EventType.FAILED, upload.id, **facts)
    return await store.end(Ending(upload_id=upload.id, status=UploadStatus.FAILED, event=event, writer=writer))


async def event_types(outbox: Outbox, upload_id: str) -> list[EventType]:
    """The types of an upload's committed events, in their order."""
    while await outbox.relay(100):
        pass
    return [event.type for event in await outbox.events(0, 1000) if event.upload_id == upload_id]

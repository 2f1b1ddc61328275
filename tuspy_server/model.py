"""What an upload and an event are: frozen rows, and the table of the states an upload can be in.

This module imports nothing of ours; every other layer may import it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final


class UploadStatus(StrEnum):
    """Where an upload stands. Only `UPLOADING` takes bytes; only `FINISHED` can be downloaded."""

    UPLOADING = "uploading"
    COMPLETING = "completing"
    FINISHED = "finished"
    FAILED = "failed"
    TERMINATED = "terminated"
    EXPIRED = "expired"


TRANSITIONS: Final[Mapping[UploadStatus, frozenset[UploadStatus]]] = MappingProxyType(
    {
        UploadStatus.UPLOADING: frozenset(
            {
                UploadStatus.COMPLETING,
                UploadStatus.FINISHED,
                UploadStatus.FAILED,
                UploadStatus.TERMINATED,
                UploadStatus.EXPIRED,
            }
        ),
        # DELETE waits for the end of `completing`; a finisher ends it one way or the other.
        UploadStatus.COMPLETING: frozenset({UploadStatus.FINISHED, UploadStatus.FAILED}),
        UploadStatus.FINISHED: frozenset({UploadStatus.TERMINATED}),
        UploadStatus.FAILED: frozenset(),
        UploadStatus.TERMINATED: frozenset(),
        UploadStatus.EXPIRED: frozenset(),
    }
)
"""Every transition there is. Adapters and the lifecycle obey it; a test compares their statements with it."""

UPLOAD_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What an id of an upload looks like: safe in a URL, as a file's name, and in a key. Ours are 32 hex digits, 128 random
bits; a hook may choose others, and whoever can guess one of those can ask for it."""

GONE: Final[frozenset[UploadStatus]] = frozenset({UploadStatus.FAILED, UploadStatus.TERMINATED, UploadStatus.EXPIRED})
"""States that answer 410 until the row is purged, and 404 after."""


def sources_of(target: UploadStatus) -> frozenset[UploadStatus]:
    """The states from which `target` may be reached."""
    return frozenset(source for source, targets in TRANSITIONS.items() if target in targets)


class Processing(StrEnum):
    """What has become of a finished upload with those who process it: hooks and webhooks that say so of themselves."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    """One of them has given it up."""


PARTS_IN_FLIGHT: Final = 6
"""Parts of one upload that may be on their way to an object store at once, and how far past what is counted: so many a
claim over another writer contests. A row keeps the number of the node that has claimed it, as that of the next one's
release may differ; a part that is sent, and not contested, may replace one of the next writer's that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the bytes of an upload lie in an object store, and on which grid of parts.

    Part `n` is always the bytes `[(n-1)·part_bytes, n·part_bytes)`, so that a part that is sent again is the same bytes
    from any node.

    Attributes:
        key: of the finished object.
        part_bytes: the same for the whole life of the upload.
        multipart_id: of the multipart upload; None until the first part is stored.
        contested_to: a part number: a fenced writer's UploadPart of it, or of one before it, may still land. Such parts
            are stored as pieces until the upload is put together. 0 where none is contested.
        unsettled: whether the storage may hold what no row names: a writer was fenced before it had let go, or a
            call's outcome was never learned.
        etag: of the finished object; None before.
        bucket: where `key` is; None for the bucket of the settings.
    """

    key: str
    part_bytes: int
    multipart_id: str | None = None
    contested_to: int = 0
    unsettled: bool = False
    etag: str | None = None
    bucket: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One upload as the store last committed it.

    Attributes:
        id: see `UPLOAD_ID`.
        status: see `UploadStatus`.
        upload_offset: bytes that are durable and counted, `0 <= upload_offset <= upload_length`; equal to the
            length only when `status` is finished.
        upload_length: bytes of the whole upload; None while deferred.
        upload_metadata: the raw `Upload-Metadata` value exactly as sent; None when the header was absent.
        writer: random id of the request that may append, or that puts the upload together; None when none does.
        writer_node: the node whose request that is, where it is another than this one and its heart beats: whom to
            ask for what it holds. None otherwise.
        created_at: when the row was made, by the store's clock.
        expires_at: when an unfinished upload may be removed; None for never.
        ended_at: when the status became one that takes no more bytes.
        as_of: the store's clock when this row was read: what `expires_at` is to be compared with.
        placement: where an object store keeps the bytes; None where they are in a local file.
        tenant: whose it is, as `authorize` said when it was made; None where nobody says.
        job_id: the batch that it belongs to.
        job_number: its place in the batch, from 1.
        trusted_metadata: what a hook has said of it; no client can send or see it.
        most_bytes: the longest that it may become, where a hook has set that; else None.
        idle_seconds: its own time from the last commit to its expiry; None for that of the settings.
        processing: None until it is finished, and where nobody processes it.
    """

    id: str
    status: UploadStatus
    upload_offset: int
    upload_length: int | None
    upload_metadata: str | None
    writer: str | None
    created_at: datetime
    expires_at: datetime | None
    ended_at: datetime | None
    as_of: datetime
    writer_node: str | None = None
    placement: Placement | None = None
    tenant: str | None = None
    job_id: str | None = None
    job_number: int | None = None
    trusted_metadata: Mapping[str, Any] = field(default_factory=dict)
    most_bytes: int | None = None
    idle_seconds: float | None = None
    processing: Processing | None = None

    @property
    def is_expired(self) -> bool:
        """Whether the upload is past its expiry, swept already or not. Finished uploads never are."""
        if self.status is UploadStatus.EXPIRED:
            return True
        overdue = self.expires_at is not None and self.expires_at <= self.as_of
        return self.status is UploadStatus.UPLOADING and overdue

    @property
    def is_gone(self) -> bool:
        """Whether the answer to every request for it is 410."""
        return self.status in GONE or self.is_expired


class EventType(StrEnum):
    """The kinds of events; the values are the CloudEvents `type` and the SSE `event` field."""

    CREATED = "upload.created"
    FINISHED = "upload.finished"
    TERMINATED = "upload.terminated"
    EXPIRED = "upload.expired"
    FAILED = "upload.failed"
    PROCESSED = "upload.processed"
    """All who process it have succeeded."""
    PROCESSING_FAILED = "upload.processing_failed"
    """One of them has given it up."""


EVENT_NAMESPACE: Final = uuid.UUID("6f1d3f6e-3c0b-5d6a-9a39-2f3f0c7f1a55")
"""Namespace of event ids: never change it, or redelivered events get new ids."""


def event_id(upload_id: str, event_type: EventType) -> str:
    """The one stable id that an event has in every delivery (UUIDv5 of upload and kind)."""
    return str(uuid.uuid5(EVENT_NAMESPACE, f"{upload_id}:{event_type}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to an upload, written by the transaction that made it happen.

    Attributes:
        id: the same in every delivery; receivers deduplicate by it.
        type: see `EventType`.
        upload_id: the upload that it is about.
        data: JSON-compatible facts: `upload_id`, `upload_offset`, `upload_length`, `upload_metadata` (raw), `metadata`
            (parsed), `trusted_metadata`, `tenant`, `job_id`, `key`, `bucket`, `etag`, `checksum`, `created_at`, and the
            `reason` of a failure; None for what is not known.
        time: when the transaction ran, by the store's clock.
        position: place in the order that readers see, from 1; None until the relay has numbered it.
        tenant: of the upload.
        job_id: of the upload.
    """

    id: str
    type: EventType
    upload_id: str
    data: Mapping[str, Any]
    time: datetime
    position: int | None = None
    tenant: str | None = None
    job_id: str | None = None

"""What passes through the ports: frozen records of one statement, one call, one ending."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuspy_server.model import EventType, Placement, Upload, UploadStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """How long an unfinished upload is kept.

    Attributes:
        idle_seconds: from the last commit.
        cap_seconds: from the creation, however often bytes arrive (fault R05: tiny PATCHes as keep-alive).
    """

    idle_seconds: float
    cap_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDraft:
    """An event before its transaction gives it a time."""

    id: str
    type: EventType
    upload_id: str
    data: Mapping[str, Any]
    tenant: str | None = None
    job_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUpload:
    """A row to insert, with offset 0. `writer` is set where the POST itself carries the first bytes; `placement` is
    what the storage has chosen; for the others see `Upload`. An `id` that is taken raises `IdTaken` (409); a `job_id`
    that is no open job of the same tenant raises `JobNotFound` (404) or `JobClosed` (409)."""

    id: str
    upload_length: int | None
    upload_metadata: str | None
    writer: str | None
    lifetime: Lifetime | None
    placement: Placement | None = None
    tenant: str | None = None
    job_id: str | None = None
    trusted_metadata: Mapping[str, Any] = field(default_factory=dict)
    most_bytes: int | None = None
    idle_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The wish of one PATCH to become the writer.

    Attributes:
        upload_offset: must equal the row's.
        body_bytes: bytes that the request says it carries, from `Content-Length`; 0 where it does not say.
        declared_length: `Upload-Length` of the request, or None.
        tenant: only an upload of this tenant may be claimed; None for any.
    """

    upload_id: str
    writer: str
    upload_offset: int
    body_bytes: int
    declared_length: int | None
    tenant: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPart:
    """A part of a multipart upload, durable. `part_number` counts from 1; `crc32c` is None where the store keeps
    none."""

    part_number: int
    part_bytes: int
    etag: str
    crc32c: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPiece:
    """An object that holds the bytes `[start, stop)` of an upload for as long as no part does; never rewritten, and
    never across a boundary of parts.

    Attributes:
        level: pieces of one level are merged into one of the next; a merged piece replaces those that it covers.
    """

    start: int
    stop: int
    key: str
    crc32c: int
    level: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a storage has made durable.

    Attributes:
        upload_offset: all bytes before it are durable.
        parts, pieces: new ones, that the commit of `upload_offset` has to record. A part or piece replaces all pieces
            that it covers.
        multipart_id: where this writer has begun the multipart upload.
        etag: set when the whole object is in its place.
        crc32c: of the whole object, where that is known.
    """

    upload_offset: int
    parts: tuple[StoredPart, ...] = ()
    pieces: tuple[StoredPiece, ...] = ()
    multipart_id: str | None = None
    etag: str | None = None
    crc32c: int | None = None

    def and_then(self, later: Stored) -> Stored:
        """Both, where a commit of the first has not been heard to succeed."""
        return Stored(
            upload_offset=max(self.upload_offset, later.upload_offset),
            parts=self.parts + later.parts,
            pieces=self.pieces + later.pieces,
            multipart_id=later.multipart_id or self.multipart_id,
            etag=later.etag or self.etag,
            crc32c=self.crc32c if later.crc32c is None else later.crc32c,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A claim that was granted.

    Attributes:
        upload: the row, with the claim's writer in it.
        pieces: those of the part that holds the offset, that no other piece covers, in order.
    """

    upload: Upload
    pieces: Sequence[StoredPiece] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Bytes that became durable, to be counted if `writer` still holds the upload.

    Attributes:
        upload_offset: the new offset, never below the row's. What is shown: `stored` may reach further.
        upload_length: set where this request declares a deferred length; None leaves it as it is.
        release: whether `writer` is cleared by the same statement.
        lifetime: slides the expiry, unless the row has an `idle_seconds` of its own in its place; None leaves the
            upload without one.
        stored: parts and pieces to record; those that are recorded already stay as they are.
        unsettled: whether the storage may hold, or still be given, what no commit has recorded: then the commit does to
            the placement what a claim over a writer does that has not let go.
    """

    upload_id: str
    writer: str
    upload_offset: int
    upload_length: int | None
    release: bool
    lifetime: Lifetime | None
    stored: Stored | None = None
    unsettled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The end of an upload other than its finish: terminated or failed (expiry has a statement of its own).

    Attributes:
        writer: where set, only that writer may end it (a stale one changes nothing).
        unfinished: whether only an unfinished upload is to end: one that has finished meanwhile stays as it is.
    """

    upload_id: str
    status: UploadStatus
    event: EventDraft
    writer: str | None = None
    unfinished: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleanup:
    """What an ended upload may still have stored.

    Attributes:
        upload: the row; its status says what is to go: of a finished one all but the object.
        piece_keys: recorded pieces. Where the storage may hold more (`Placement.unsettled`) it is listed, too.
    """

    upload: Upload
    piece_keys: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """What a `completing` upload is to be put together from: parts in their order, and the pieces that no part and no
    other piece covers."""

    parts: Sequence[StoredPart]
    pieces: Sequence[StoredPiece]


DraftEvent = Callable[[Upload], EventDraft]
"""Makes the event of an upload that a bulk statement has just ended."""

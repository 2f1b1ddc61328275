"""The events of an upload's life, as drafts for the transactions that make them true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from tuspy_server.model import EventType, Placement, Upload, event_id
from tuspy_server.ports import EventDraft, NewUpload, Stored
from tuspy_server.protocol.metadata import metadata_text
from tuspy_server.uploads.whole_checksum import crc32c_text


class Drafts:
    """Makes them, with the facts that receivers need, so that no receiver has to ask for the upload."""

    def __init__(self, bucket: str | None) -> None:
        """`bucket`: where uploads are that name no other; None without buckets."""
        self._bucket = bucket

    def created(self, new: NewUpload) -> EventDraft:
        """Of an upload that is about to be made. Its `created_at` is the event's own time, which nobody knows yet."""
        return self._draft(EventType.CREATED, new, upload_offset=0, created_at=None, reason=None)

    def of(self, event_type: EventType, upload: Upload, *, reason: str | None = None) -> EventDraft:
        """About the upload as it stands; `reason`: why it has failed."""
        return self._draft(
            event_type, upload, upload_offset=upload.upload_offset, created_at=upload.created_at, reason=reason
        )

    def finished(
        self, upload: Upload, upload_length: int, stored: Stored | None, *, checksum: str | None = None
    ) -> EventDraft:
        """About an upload whose last bytes are `stored`, and which the draft's transaction finishes; `checksum`: what
        its client has said of all of its bytes."""
        draft = self.of(EventType.FINISHED, whole(upload, upload_length, stored))
        if checksum is None and stored is not None and stored.crc32c is not None:
            checksum = crc32c_text(stored.crc32c)
        return replace(draft, data={**draft.data, "checksum": checksum})

    def _draft(
        self,
        event_type: EventType,
        upload: Upload | NewUpload,
        *,
        upload_offset: int,
        created_at: datetime | None,
        reason: str | None,
    ) -> EventDraft:
        placement = upload.placement
        data: dict[str, Any] = {
            "upload_id": upload.id,
            "upload_offset": upload_offset,
            "upload_length": upload.upload_length,
            "upload_metadata": upload.upload_metadata,
            "metadata": metadata_text(upload.upload_metadata),
            "trusted_metadata": dict(upload.trusted_metadata),
            "tenant": upload.tenant,
            "job_id": upload.job_id,
            **self._place(placement),
            "checksum": None,
            "created_at": None if created_at is None else created_at.isoformat(),
        }
        if reason is not None:
            data["reason"] = reason
        return EventDraft(
            id=event_id(upload.id, event_type),
            type=event_type,
            upload_id=upload.id,
            data=data,
            tenant=upload.tenant,
            job_id=upload.job_id,
        )

    def _place(self, placement: Placement | None) -> Mapping[str, str | None]:
        if placement is None:
            return {"key": None, "bucket": None, "etag": None}
        return {"key": placement.key, "bucket": placement.bucket or self._bucket, "etag": placement.etag}


def whole(upload: Upload, upload_length: int, stored: Stored | None) -> Upload:
    """The upload as it will be once its finish is committed, but for the status; `stored`: what it has last stored."""
    placement = upload.placement
    if placement is not None and stored is not None and stored.etag is not None:
        placement = replace(placement, etag=stored.etag)
    return replace(upload, upload_length=upload_length, upload_offset=upload_length, placement=placement)

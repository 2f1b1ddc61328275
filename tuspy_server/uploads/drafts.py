"""The events of an upload's life, as drafts for the transactions that make them true."""

from __future__ import annotations

from tuspy_server.model import EventType, Upload, event_id
from tuspy_server.ports import EventDraft
from tuspy_server.protocol.metadata import metadata_text


def draft_event(
    event_type: EventType,
    upload_id: str,
    *,
    upload_offset: int,
    upload_length: int | None,
    upload_metadata: str | None,
) -> EventDraft:
    """An event with the facts that receivers need, so that no receiver has to ask for the upload."""
    data = {
        "upload_id": upload_id,
        "upload_offset": upload_offset,
        "upload_length": upload_length,
        "upload_metadata": upload_metadata,
        "metadata": metadata_text(upload_metadata),
    }
    return EventDraft(id=event_id(upload_id, event_type), type=event_type, upload_id=upload_id, data=data)


def draft_for(event_type: EventType, upload: Upload) -> EventDraft:
    """An event about the upload as it stands."""
    return draft_event(
        event_type,
        upload.id,
        upload_offset=upload.upload_offset,
        upload_length=upload.upload_length,
        upload_metadata=upload.upload_metadata,
    )

"""What finished objects say about themselves: type, name, the client's metadata, and the marker that they are ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tuspy_server.model import Upload
from tuspy_server.protocol.described import described
from tuspy_server.protocol.metadata import metadata_text
from tuspy_server.stores.s3.values import ObjectFacts, ObjectHeaders, metadata_that_fits

_UPLOAD = "tuspy-upload-id"
_CRC32C = "tuspy-crc32c"
_CLAIMED_AT = "tuspy-claimed-at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """By whom an object was put.

    Attributes:
        upload_id: whose it is.
        crc32c: of all its bytes, where it was put by a single call.
        claimed_at: when the writer that put it by a single call became the writer, by the database's clock.
    """

    upload_id: str
    crc32c: int | None = None
    claimed_at: datetime | None = None


def headers_of(upload: Upload, marker: Marker) -> ObjectHeaders:
    """All headers of an upload's object; metadata of the client's that has no room is left out, the marker never."""
    ours = [(_UPLOAD, marker.upload_id)]
    if marker.crc32c is not None:
        ours.append((_CRC32C, f"{marker.crc32c:08x}"))
    if marker.claimed_at is not None:
        ours.append((_CLAIMED_AT, marker.claimed_at.isoformat()))
    content_type, disposition = described(upload.upload_metadata)
    return ObjectHeaders(
        content_type=content_type,
        content_disposition=disposition,
        metadata=metadata_that_fits([*ours, *metadata_text(upload.upload_metadata).items()]),
    )


def marker_of(facts: ObjectFacts, upload_id: str, *, keeps_metadata: bool = True) -> Marker | None:
    """Who put an object under the key of upload `upload_id`; None where it is somebody else's.

    A store that keeps no metadata gives no marker (`keeps_metadata` False). The key alone says then whose the object
    is: it holds the upload's id, 128 random bits, as hooks may choose none there.
    """
    owner = facts.metadata.get(_UPLOAD)
    if owner != upload_id and not (owner is None and not keeps_metadata):
        return None
    crc32c, claimed_at = facts.metadata.get(_CRC32C), facts.metadata.get(_CLAIMED_AT)
    try:
        return Marker(
            upload_id=upload_id,
            crc32c=facts.crc32c if crc32c is None else int(crc32c, 16),
            claimed_at=None if claimed_at is None else datetime.fromisoformat(claimed_at),
        )
    except ValueError:  # nothing that we have written
        return None

"""GET of finished uploads: ranges and conditions.

Sources: RFC 9110 13 (conditional requests) and 14 (ranges).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from tuspy_server.model import Upload, UploadStatus
from tuspy_server.protocol.described import described
from tuspy_server.protocol.errors import Headers, NotFinished, PreconditionFailed, RangeNotSatisfiable, UploadGone
from tuspy_server.protocol.fields import RequestHead, http_date

_RANGE: Final = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """What to send: bytes `[start, stop)` of the upload, or only the head (304)."""

    status: int
    headers: Headers
    start: int
    stop: int


def representation_headers(upload: Upload) -> Headers:
    """Headers that describe the whole file, on GET and on HEAD alike.

    A finished object never changes, and ids are never used again: the id is a strong validator.
    """
    content_type, disposition = described(upload.upload_metadata)
    return (
        ("Accept-Ranges", "bytes"),
        ("ETag", f'"{upload.id}"'),
        ("Last-Modified", http_date(upload.ended_at or upload.created_at)),
        ("Content-Type", content_type),
        ("Content-Disposition", disposition),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "default-src 'none'; sandbox"),
    )


def link_headers(upload: Upload) -> dict[str, str]:
    """What an object store is to say of the file where it serves it in our place."""
    content_type, disposition = described(upload.upload_metadata)
    return {"Content-Type": content_type, "Content-Disposition": disposition}


def decide_download(head: RequestHead, upload: Upload) -> Download:
    """Decide what a GET gets.

    Raises:
        UploadGone: 410. NotFinished: 409. PreconditionFailed: 412. RangeNotSatisfiable: 416. InvalidHeader: 400.
    """
    if upload.is_gone:
        raise UploadGone
    if upload.status is not UploadStatus.FINISHED:
        raise NotFinished
    length = upload.upload_offset
    # `private, no-cache`: kept by the client alone, and asked for again, since a DELETE ends it.
    headers = (*representation_headers(upload), ("Cache-Control", "private, no-cache"))
    if not _is_the_one_meant(head, upload):
        raise PreconditionFailed
    if _not_modified(head, upload):
        return Download(status=304, headers=headers, start=0, stop=0)
    wanted = _range(head, upload, length)
    if wanted is None:
        return Download(status=200, headers=(*headers, ("Content-Length", str(length))), start=0, stop=length)
    start, stop = wanted
    part = (("Content-Range", f"bytes {start}-{stop - 1}/{length}"), ("Content-Length", str(stop - start)))
    return Download(status=206, headers=(*headers, *part), start=start, stop=stop)


def _is_the_one_meant(head: RequestHead, upload: Upload) -> bool:
    """RFC 9110 13.2.2, 1 and 2: whoever has begun with another file must not go on with this one."""
    if_match = head.every("If-Match")
    if if_match is not None:
        tags = {tag.strip() for tag in if_match.split(",")}
        return "*" in tags or f'"{upload.id}"' in tags
    since = head.one("If-Unmodified-Since")
    return since is None or _is_unmodified_since(since, upload) is not False


def _not_modified(head: RequestHead, upload: Upload) -> bool:
    if_none_match = head.every("If-None-Match")
    if if_none_match is not None:
        tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
        return "*" in tags or f'"{upload.id}"' in tags
    since = head.one("If-Modified-Since")
    return since is not None and _is_unmodified_since(since, upload) is True


def _is_unmodified_since(date: str, upload: Upload) -> bool | None:
    """None where it is no date: then nothing has been asked."""
    try:
        since = parsedate_to_datetime(date)
    except (ValueError, OverflowError):  # the latter for a zone of a thousand years
        return None
    if since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    return (upload.ended_at or upload.created_at).replace(microsecond=0) <= since


def _range(head: RequestHead, upload: Upload, length: int) -> tuple[int, int] | None:
    """The one range to send; None for the whole file: no range, several (a server MAY ignore them), one that is not
    understood, or one whose `If-Range` does not hold."""
    match = _RANGE.fullmatch(head.one("Range") or "")
    if match is None:
        return None
    if_range = head.one("If-Range")
    if if_range is not None and if_range not in (f'"{upload.id}"', http_date(upload.ended_at or upload.created_at)):
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        start, stop = max(length - int(last), 0), length
    else:
        start, stop = int(first), min(int(last) + 1, length) if last else length
        if last and int(last) < int(first):
            return None
    if start >= stop:
        raise RangeNotSatisfiable(length)
    return start, stop

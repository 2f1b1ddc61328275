"""POST on the broken server: plain, with data, deferred, partial and final uploads."""

import asyncio
import contextlib
import secrets
import time
from urllib.parse import urlsplit

from tests.conformance.broken_append import take
from tests.conformance.broken_request import Answer, Request
from tests.conformance.broken_uploads import DATA_TYPE, MAX_SIZE, Upload, metadata_pairs


async def create(request: Request) -> None:
    """Create an upload and answer 201."""
    on = request.on
    concat = request.get("Upload-Concat")
    metadata = _metadata(request)
    upload = Upload(_new_id(request), _length(request, concat), metadata)
    upload.expires_at = time.time() + request.expires_seconds
    if concat is not None and concat != "partial" and not (on("any-concat") and concat in {"foo", "Partial"}):
        await _concatenate(request, upload, concat)
    upload.concat = concat
    headers = {"Location": _location(request, upload.id)}
    content_type = request.get("Content-Type")
    if content_type == DATA_TYPE or (content_type and (on("json-is-data") or on("cwu-any-type"))):
        if upload.parts:
            raise Answer(403)
        await _with_data(request, upload, headers)
    request.uploads[upload.id] = upload
    if not upload.complete and not on("no-expires-on-post"):
        headers["Upload-Expires"] = upload.upload_expires
    raise Answer(200 if on("create-200") else 201, headers)


async def _with_data(request: Request, upload: Upload, headers: dict[str, str]) -> None:
    on = request.on
    content_length = int(request.get("Content-Length") or 0)
    if on("cwu-continues-too-long"):
        await request.receive()
    if upload.length is not None and content_length > upload.length and not on("cwu-overrun"):
        raise Answer(413)
    if on("cwu-ignores-checksum"):
        request.lines = [line for line in request.lines if line[0] != "upload-checksum"]
    await take(request, upload)
    if on("cwu-drops-body"):
        upload.data.clear()
    if not on("cwu-without-offset"):
        headers["Upload-Offset"] = str(len(upload.data))


def _new_id(request: Request) -> str:
    if request.on("counting-ids"):
        return str(len(request.uploads) + 1)
    return secrets.token_hex(16)


def _location(request: Request, upload_id: str) -> str:
    if request.on("location-resolves-wrong"):
        return f"files/{upload_id}"
    host = request.get("X-Forwarded-Host")
    if host and request.on("believes-forwarded-host"):
        return f"https://{host}{request.base}/{upload_id}"
    return f"{request.base}/{upload_id}"


def _metadata(request: Request) -> str | None:
    on = request.on
    text = request.get("Upload-Metadata")
    if not text:
        return None
    pairs = metadata_pairs(text)
    if pairs is None and on("broken-metadata-500"):
        raise Answer(500)
    if pairs is None:
        raise Answer(400)
    if any(value == b"" for _, value in pairs) and on("metadata-wants-values"):
        raise Answer(400)
    return text


def _length(request: Request, concat: str | None) -> int | None:  # noqa: C901 -- one branch a fault
    on = request.on
    defer = request.get("Upload-Defer-Length")
    length = request.number("Upload-Length", "lax-length")
    if on("cwu-continues-too-long") and (length or 0) > MAX_SIZE:
        return length
    final = concat is not None and concat.startswith("final;")
    if final and not on("believes-final-length"):
        return None
    if defer is not None:
        if defer != "1" and not on("defers-any-value"):
            raise Answer(400)
        if length is not None and not on("both-lengths"):
            raise Answer(400)
        return None
    if length is None:
        if on("length-optional") or (on("any-concat") and concat):
            return None
        raise Answer(400)
    if length == 0 and on("refuses-zero-length"):
        raise Answer(400)
    if length == MAX_SIZE and on("limit-is-exclusive"):
        raise Answer(413)
    if length > MAX_SIZE and not on("limit-not-enforced") and not on("length-as-float"):
        raise Answer(413)
    return length


async def _concatenate(request: Request, upload: Upload, concat: str) -> None:  # noqa: C901, PLR0912 -- one branch a fault
    on = request.on
    kind, _, rest = concat.partition(";")
    urls = rest.split()
    if kind != "final" or not urls or on("refuses-finals"):
        raise Answer(400)
    if on("counts-partials-once"):
        urls = list(dict.fromkeys(urls))
    if len(urls) > 50 and on("long-list-500"):
        raise Answer(500)
    parts = []
    for url in urls:
        if url.startswith("/") and on("only-absolute-urls"):
            raise Answer(400)
        part = request.uploads.get(urlsplit(url).path.rsplit("/", 1)[-1])
        if part is None and on("fetches-partials"):
            await _fetch(url)
        if part is None and on("unknown-partial-ignored"):
            continue
        if part is None:
            raise Answer(500 if on("unknown-partial-500") else 404)
        if part.concat != "partial" and on("normal-as-partial-500"):
            raise Answer(500)
        if (not part.complete and not on("accepts-unfinished")) or part.concat != "partial":
            raise Answer(400)
        parts.append(part)
    if on("reverses-partials"):
        parts.reverse()
    for part in parts:
        upload.data += part.data
    if len(upload.data) > MAX_SIZE and not on("sum-unlimited"):
        raise Answer(413)
    if on("inherits-metadata") and upload.metadata is None and parts:
        upload.metadata = parts[0].metadata
    upload.length = upload.length if on("believes-final-length") and upload.length else len(upload.data)
    upload.parts = [part.id for part in parts]


async def _fetch(url: str) -> None:
    parts = urlsplit(url)
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.close()

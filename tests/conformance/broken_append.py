"""PATCH on the broken server, and the taking in of bodies that POST shares."""

import asyncio
import gzip
from base64 import b64decode
from binascii import Error

from tests.conformance.broken_request import Answer, Disconnected, Request
from tests.conformance.broken_uploads import ALGORITHMS, DATA_TYPE, MAX_SIZE, Upload, digest


async def patch(request: Request) -> None:  # noqa: C901 -- one branch a fault
    """Check the head of a PATCH, then take in its body."""
    on = request.on
    content_type = (request.get("Content-Type") or "").partition(";")[0].strip().lower()
    if on("trailer-500") and request.get("Trailer"):
        raise Answer(500)
    if on("unknown-patch-204") and request.id not in request.uploads:
        raise Answer(204, {"Upload-Offset": "0"})
    upload = request.upload()
    if content_type != DATA_TYPE and not on("any-content-type"):
        raise Answer(415)
    if upload.parts and not on("final-can-be-patched"):
        raise Answer(403)
    if on("continue-before-checks"):
        await request.receive()
    offset = _offset(request, upload)
    length = _declared(request, upload, offset)
    if upload.writing and not on("no-lock"):
        raise Answer(423)
    if length is not None:
        upload.length = length
    upload.writing = True
    try:
        await take(request, upload)
    except Disconnected:
        if on("lock-survives-abort"):
            return
        upload.writing = False
        raise
    except BaseException:
        upload.writing = False
        raise
    upload.writing = False
    shown = len(upload.data) + (1 if on("patch-offset-plus-one") else 0)
    headers = {"Upload-Offset": str(shown)}
    if not upload.complete and not on("no-expires-on-patch"):
        headers["Upload-Expires"] = _date(request, upload)
    if on("patch-200"):
        raise Answer(200, headers, b"ok")
    raise Answer(204, headers)


def _date(request: Request, upload: Upload) -> str:
    return "2099-01-01T00:00:00Z" if request.on("expires-as-iso") else upload.upload_expires


def _offset(request: Request, upload: Upload) -> int:
    on = request.on
    offset = request.number("Upload-Offset", "lax-offset")
    if offset is None:
        if not on("missing-offset-is-zero"):
            raise Answer(400)
        offset = 0
    if on("rewrites-lower-offset") and offset < len(upload.data):
        del upload.data[offset:]
    if offset != len(upload.data) and not on("accepts-any-offset"):
        raise Answer(409, {"Upload-Offset": str(offset)} if on("error-echoes-claimed-offset") else {})
    return offset


def _declared(request: Request, upload: Upload, offset: int) -> int | None:  # noqa: C901 -- one branch a fault
    on = request.on
    length = request.number("Upload-Length", "lax-length")
    content_length = request.number("Content-Length", "lax-length")
    if length is not None and length == upload.length and on("repeated-length-500"):
        raise Answer(500)
    if length is not None and not on("length-may-change"):
        if upload.length is not None and length != upload.length:
            raise Answer(400)
        if length < offset + (content_length or 0) and not on("length-below-data"):
            raise Answer(400)
        if length > MAX_SIZE and not on("deferred-unlimited"):
            raise Answer(413)
    if on("ignores-declared-length") and upload.length is None:
        length = None
    end = offset + (content_length or 0)
    limit = length if length is not None else upload.length
    if on("final-can-be-patched") and upload.parts:
        raise Answer(204, {"Upload-Offset": str(offset)})
    if content_length is None and on("needs-content-length"):
        raise Answer(411)
    if (content_length or 0) > 1 << 20 and on("body-limit"):
        raise Answer(413)
    if content_length == 0 and on("refuses-empty-patch"):
        raise Answer(400)
    room = MAX_SIZE if limit is None else limit
    surplus_is_fine = on("accepts-overrun") or (limit is None and on("deferred-unlimited"))
    if end > room and not surplus_is_fine and not (on("length-below-data") or on("appends-to-completed")):
        raise Answer(413)
    if request.get("Content-Encoding") and on("unzips"):
        upload.claimed = -1
    return length


async def take(request: Request, upload: Upload) -> None:
    """Append the body to the upload: at once, or with a checksum only once it is verified."""
    on = request.on
    checksum = _checksum(request)
    pending = bytearray()
    start = len(upload.data)
    upload.stale = start
    content_length = request.get("Content-Length")
    upload.claimed = start + int(content_length or 0)
    unverified = checksum is not None and not on("keeps-unverified") and not on("rejected-bytes-stay")
    drops = on("drops-aborted-bytes") or unverified
    try:
        async for chunk in request.body():
            target = pending if drops else upload.data
            target += chunk
            _cut(request, upload, len(upload.data) + len(pending), target)
            if on("no-lock"):
                await asyncio.sleep(0.01)
    except Disconnected:
        if on("counts-declared-bytes"):
            upload.data += bytes(int(content_length or 0) - (len(upload.data) - start))
        raise
    if upload.gone and not on("comes-back"):
        raise Answer(404)
    if upload.gone:
        request.uploads[upload.id] = upload
    if on("unzips") and request.get("Content-Encoding"):
        upload.data[start:] = gzip.decompress(bytes(upload.data[start:]))
    if checksum is not None:
        _verify(request, upload, start, pending, *checksum)
    upload.data += pending
    if on("loses-last-byte") and len(upload.data) > start + 1:
        upload.data[-1:] = b"\0"


def _cut(request: Request, upload: Upload, size: int, target: bytearray) -> None:
    room = MAX_SIZE if upload.length is None else upload.length
    if request.on("deferred-unlimited") and upload.length is None:
        return
    surplus = size - room
    if surplus > 0 and not request.on("accepts-overrun") and not request.on("accepts-chunked-overrun"):
        if request.on("appends-to-completed") or request.on("cwu-overrun") or request.on("length-below-data"):
            return
        del target[-surplus:]
        raise Answer(413)


def _checksum(request: Request) -> tuple[str, bytes] | None:
    on = request.on
    value = request.get("Upload-Checksum")
    if value is None or on("ignores-checksum"):
        return None
    if on("refuses-checksum"):
        raise Answer(460)
    algorithm, space, coded = value.partition(" ")
    try:
        expected = b64decode(coded, validate=True)
    except Error:
        if on("malformed-checksum-ignored"):
            return None
        raise Answer(400) from None
    if not space and on("malformed-checksum-ignored"):
        return None
    if algorithm not in ALGORITHMS and space and on("unlisted-algorithm-ignored"):
        return None
    if algorithm not in ALGORITHMS:
        raise Answer(400)
    return algorithm, expected


def _verify(request: Request, upload: Upload, start: int, pending: bytearray, algorithm: str, expected: bytes) -> None:
    on = request.on
    data = bytes(pending) or bytes(upload.data[start:])
    if not data and on("empty-checksum-unverified"):
        return
    actual = digest(algorithm, data)
    if algorithm == "md5" and on("md5-is-broken"):
        actual = actual[::-1]
    if actual == expected or (on("last-chunk-unverified") and start + len(data) == upload.length):
        return
    if on("rejected-large-bytes-stay") and len(data) > 1 << 20:
        upload.data += pending
    raise Answer(400 if on("checksum-400") else 460)

"""What the S3 sink knows: objects, multipart uploads, and the answer to each call. No network, no clock, no await.

As strict as S3 where a server could lean on its mercy: parts of a completion must be those that were stored, in
order, of 5 MiB or more; conditions hold. It checks no signature and no checksum, and an ETag is a number, not a digest:
what it costs must not be what is measured.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape
from itertools import count
from typing import Final
from urllib.parse import unquote
from xml.sax.saxutils import escape

from bench.s3_body import Body
from bench.s3_calls import Call, Refused, Reply, checksums, kept_headers, tag, text, true_or_false, xml

KEPT_BYTES: Final = 8 << 20
"""Objects up to this can be read back."""

LEAST_PART_BYTES: Final = 5 << 20
PAGE: Final = 1000
WHEN: Final = "2026-01-01T00:00:00.000Z"
MODIFIED: Final = "Thu, 01 Jan 2026 00:00:00 GMT"


@dataclass(slots=True)
class Stored:
    """An object, or a part: its bytes if they were kept, and its pieces as (length, first bytes, last bytes)."""

    etag: str
    length: int
    data: bytes | None
    pieces: list[tuple[int, bytes, bytes]]
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Multipart:
    """One that is under way."""

    key: str
    headers: dict[str, str]
    parts: dict[int, Stored] = field(default_factory=dict)
    kept_bytes: int = 0
    keeps: bool = True


@dataclass(slots=True)
class Count:
    """Of one operation."""

    calls: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    errors: int = 0


class Store:
    """One bucket, whatever it is called."""

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.multiparts: dict[str, Multipart] = {}
        self.counts: defaultdict[str, Count] = defaultdict(Count)
        self._numbers = count(1)

    def keeps(self, call: Call, length: int) -> bool:
        """Whether the bytes of this call's body are wanted."""
        if call.operation == "UploadPart":
            multipart = self.multiparts.get(call.query["uploadId"])
            return multipart is not None and multipart.keeps and multipart.kept_bytes + length <= KEPT_BYTES
        return length <= KEPT_BYTES

    def answer(self, call: Call) -> Reply:
        """Do it, count it."""
        handler: Callable[[Call], Reply] | None = getattr(self, f"_{_snake(call.operation)}", None)
        counted = self.counts[call.operation]
        counted.calls += 1
        counted.bytes_in += call.body.length
        try:
            if handler is None:
                raise Refused(501, "NotImplemented")
            reply = handler(call)
        except Refused as error:
            counted.errors += 1
            reply = Reply(error.status, xml("Error", f"<Code>{error.code}</Code><Message>{error.code}</Message>"))
        if call.method == "HEAD":
            reply.body = b""
        counted.bytes_out += len(reply.body)
        return reply

    def described(self) -> bytes:
        """All objects, for the bench to check: key → length, whether kept, and the ends of its pieces."""
        return json.dumps(
            {
                key: {
                    "length": stored.length,
                    "kept": stored.data is not None,
                    "pieces": [(length, first.hex(), last.hex()) for length, first, last in stored.pieces],
                }
                for key, stored in self.objects.items()
            }
        ).encode()

    def _etag(self) -> str:
        return f'"{next(self._numbers):032x}"'

    # --- objects -------------------------------------------------------------------------------------------------

    def _put_object(self, call: Call) -> Reply:
        there = self.objects.get(call.key)
        if call.headers.get("if-none-match") == "*" and there is not None:
            raise Refused(412, "PreconditionFailed")
        wanted = call.headers.get("if-match")
        if wanted is not None and (there is None or wanted.strip('"') != there.etag.strip('"')):
            raise Refused(412, "PreconditionFailed")
        stored = self._stored(call.body, kept_headers(call.headers))
        self.objects[call.key] = stored
        return Reply(headers={"ETag": stored.etag, **checksums(stored.headers)})

    def _stored(self, body: Body, headers: dict[str, str]) -> Stored:
        data = None if body.data is None else bytes(body.data)
        return Stored(self._etag(), body.length, data, [(body.length, body.first, body.last)], headers)

    def _get_object(self, call: Call) -> Reply:
        stored = self._object(call)
        if stored.data is None:
            raise Refused(501, "BytesWereDiscarded")
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", call.headers.get("range", ""))
        if wanted is None:
            return Reply(body=stored.data, headers={**self._head(stored), **checksums(stored.headers)})
        first, last = int(wanted[1]), min(int(wanted[2] or stored.length), stored.length - 1)
        if first > last:
            raise Refused(416, "InvalidRange")
        headers = {**self._head(stored), "Content-Range": f"bytes {first}-{last}/{stored.length}"}
        return Reply(206, stored.data[first : last + 1], headers)

    def _head_object(self, call: Call) -> Reply:
        stored = self._object(call)
        headers = {**self._head(stored), **checksums(stored.headers)}
        return Reply(headers=headers, length=stored.length)

    def _object(self, call: Call) -> Stored:
        stored = self.objects.get(call.key)
        if stored is None:
            raise Refused(404, "NoSuchKey")
        return stored

    def _head(self, stored: Stored) -> dict[str, str]:
        shown = {name: value for name, value in stored.headers.items() if not name.startswith("x-amz-checksum-")}
        return {"ETag": stored.etag, "Last-Modified": MODIFIED, "Accept-Ranges": "bytes", **shown}

    def _delete_object(self, call: Call) -> Reply:
        self.objects.pop(call.key, None)
        return Reply(204)

    def _delete_objects(self, call: Call) -> Reply:
        keys = [unescape(key) for key in re.findall(r"<Key>(.*?)</Key>", text(call.body))]
        for key in keys:
            self.objects.pop(key, None)
        deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        return Reply(body=xml("DeleteResult", deleted))

    # --- the bucket ----------------------------------------------------------------------------------------------

    def _head_bucket(self, _: Call) -> Reply:
        return Reply(headers={"x-amz-bucket-region": "us-east-1"})

    def _create_bucket(self, _: Call) -> Reply:
        return Reply()

    def _get_bucket_location(self, _: Call) -> Reply:
        return Reply(body=xml("LocationConstraint", ""))

    def _list_objects_v2(self, call: Call) -> Reply:
        prefix, after = call.query.get("prefix", ""), call.query.get("continuation-token", "")
        after = after or call.query.get("start-after", "")
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        most = min(PAGE, int(call.query.get("max-keys", PAGE)))
        page, cut = keys[:most], len(keys) > most
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{WHEN}</LastModified><ETag>{self.objects[key].etag}"
            f"</ETag><Size>{self.objects[key].length}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for key in page
        )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if cut and page else ""
        head = f"<Name>{call.bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount>"
        return Reply(
            body=xml("ListBucketResult", f"{head}<IsTruncated>{true_or_false(cut)}</IsTruncated>{token}{rows}")
        )

    def _list_multipart_uploads(self, call: Call) -> Reply:
        prefix = call.query.get("prefix", "")
        rows = "".join(
            f"<Upload><Key>{escape(row.key)}</Key><UploadId>{name}</UploadId><Initiated>{WHEN}</Initiated></Upload>"
            for name, row in sorted(self.multiparts.items(), key=lambda item: (item[1].key, item[0]))
            if row.key.startswith(prefix)
        )
        head = f"<Bucket>{call.bucket}</Bucket><Prefix>{escape(prefix)}</Prefix><IsTruncated>false</IsTruncated>"
        return Reply(body=xml("ListMultipartUploadsResult", head + rows))

    # --- multipart -----------------------------------------------------------------------------------------------

    def _create_multipart_upload(self, call: Call) -> Reply:
        upload_id = f"multipart-{next(self._numbers)}"
        self.multiparts[upload_id] = Multipart(call.key, kept_headers(call.headers))
        body = f"<Bucket>{call.bucket}</Bucket><Key>{escape(call.key)}</Key><UploadId>{upload_id}</UploadId>"
        return Reply(body=xml("InitiateMultipartUploadResult", body))

    def _multipart(self, call: Call) -> Multipart:
        multipart = self.multiparts.get(call.query["uploadId"])
        if multipart is None or multipart.key != call.key:
            raise Refused(404, "NoSuchUpload")
        return multipart

    def _upload_part(self, call: Call) -> Reply:
        stored = self._stored(call.body, kept_headers(call.headers))
        self._add_part(self._multipart(call), call, stored)
        return Reply(headers={"ETag": stored.etag, **checksums(stored.headers)})

    def _add_part(self, multipart: Multipart, call: Call, stored: Stored) -> None:
        multipart.parts[int(call.query["partNumber"])] = stored
        if stored.data is None or multipart.kept_bytes + stored.length > KEPT_BYTES:
            multipart.keeps, multipart.kept_bytes = False, 0
            for part in multipart.parts.values():
                part.data = None
        elif multipart.keeps:
            multipart.kept_bytes += stored.length

    def _upload_part_copy(self, call: Call) -> Reply:
        multipart = self._multipart(call)
        key = unquote(call.headers["x-amz-copy-source"]).lstrip("/").partition("/")[2].partition("?")[0]
        source = self.objects.get(key)
        if source is None:
            raise Refused(404, "NoSuchKey")
        part = Stored(self._etag(), source.length, source.data, list(source.pieces))
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", call.headers.get("x-amz-copy-source-range", ""))
        if wanted is not None:
            first, stop = int(wanted[1]), int(wanted[2]) + 1
            if not first < stop <= source.length:
                raise Refused(416, "InvalidRange")
            data = None if source.data is None else source.data[first:stop]
            part = Stored(part.etag, stop - first, data, [(stop - first, (data or b"")[:32], (data or b"")[-32:])])
        self._add_part(multipart, call, part)
        return Reply(body=xml("CopyPartResult", f"<LastModified>{WHEN}</LastModified><ETag>{escape(part.etag)}</ETag>"))

    def _list_parts(self, call: Call) -> Reply:
        multipart = self._multipart(call)
        after, most = int(call.query.get("part-number-marker") or 0), int(call.query.get("max-parts") or PAGE)
        numbers = sorted(number for number in multipart.parts if number > after)
        page, cut = numbers[:most], len(numbers) > most
        rows = "".join(
            f"<Part><PartNumber>{number}</PartNumber><LastModified>{WHEN}</LastModified>"
            f"<ETag>{multipart.parts[number].etag}</ETag><Size>{multipart.parts[number].length}</Size></Part>"
            for number in page
        )
        head = (
            f"<Bucket>{call.bucket}</Bucket><Key>{escape(call.key)}</Key><UploadId>{call.query['uploadId']}</UploadId>"
        )
        marker = f"<PartNumberMarker>{after}</PartNumberMarker><MaxParts>{most}</MaxParts>"
        marker += f"<NextPartNumberMarker>{page[-1]}</NextPartNumberMarker>" if cut else ""
        return Reply(
            body=xml("ListPartsResult", f"{head}{marker}<IsTruncated>{true_or_false(cut)}</IsTruncated>{rows}")
        )

    def _complete_multipart_upload(self, call: Call) -> Reply:
        multipart = self._multipart(call)
        listed = re.findall(r"<Part>(.*?)</Part>", text(call.body), re.DOTALL)
        numbers = [int(tag(row, "PartNumber")) for row in listed]
        if not numbers or numbers != sorted(set(numbers)):
            raise Refused(400, "InvalidPartOrder" if numbers else "MalformedXML")
        for number, row in zip(numbers, listed, strict=True):
            part = multipart.parts.get(number)
            if part is None or part.etag.strip('"') != unescape(tag(row, "ETag")).strip('"'):
                raise Refused(400, "InvalidPart")
            if part.length < LEAST_PART_BYTES and number != numbers[-1]:
                raise Refused(400, "EntityTooSmall")
        parts = [multipart.parts[number] for number in numbers]
        whole = b"".join(part.data or b"" for part in parts)
        length = sum(part.length for part in parts)
        etag = f'{self._etag()[:-1]}-{len(parts)}"'
        pieces = [piece for part in parts for piece in part.pieces]
        kept = whole if len(whole) == length else None
        self.objects[call.key] = Stored(etag, length, kept, pieces, multipart.headers)
        del self.multiparts[call.query["uploadId"]]
        body = f"<Bucket>{call.bucket}</Bucket><Key>{escape(call.key)}</Key><ETag>{escape(etag)}</ETag>"
        return Reply(body=xml("CompleteMultipartUploadResult", body))

    def _abort_multipart_upload(self, call: Call) -> Reply:
        self._multipart(call)
        del self.multiparts[call.query["uploadId"]]
        return Reply(204)


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()

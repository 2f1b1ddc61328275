"""Operations on multipart uploads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from xml.etree import ElementTree as ET

from tests.support.strict_s3.answers import Answer, of_xml
from tests.support.strict_s3.body import CHECKSUM, checksums_of
from tests.support.strict_s3.errors import invalid_request, malformed, not_implemented
from tests.support.strict_s3.listing import Listing
from tests.support.strict_s3.multiparts import (
    READ_BYTES,
    Multipart,
    Multiparts,
    Part,
    Wanted,
    checksum_of,
    etag_of_parts,
)
from tests.support.strict_s3.objects import Attributes, Objects
from tests.support.strict_s3.operations import Call
from tests.support.strict_s3.received import Received
from tests.support.strict_s3.rules import Rules
from tests.support.strict_s3.writing import Writing, headers_of


class Parting:
    """Operations on multipart uploads."""

    def __init__(
        self, multiparts: Multiparts, objects: Objects, listing: Listing, writing: Writing, rules: Rules
    ) -> None:
        self._multiparts = multiparts
        self._objects = objects
        self._listing = listing
        self._writing = writing
        self._rules = rules

    @contextmanager
    def begun(self, call: Call) -> Iterator[None]:
        """While the call of an upload is under way; the upload must be there before its body is read.

        Raises:
            S3Error: 404 NoSuchUpload; 400, not a part's number.
        """
        if call.operation not in {"UploadPart", "UploadPartCopy"}:
            yield
            return
        self._multiparts.check_number(call.part_number)
        upload = self._multiparts.live(call.bucket, call.key, call.upload_id)
        upload.parts_in_flight += 1
        try:
            yield
        finally:
            upload.parts_in_flight -= 1

    async def create(self, received: Received) -> Answer:
        call = received.call
        await self._listing.must_have(call.bucket)
        upload = self._multiparts.create(call.bucket, call.key, headers_of(call), call.headers)
        told = {} if upload.algorithm is None else {f"{CHECKSUM}algorithm": upload.algorithm.upper()}
        return of_xml(
            "InitiateMultipartUploadResult",
            [("Bucket", call.bucket), ("Key", call.key), ("UploadId", upload.upload_id)],
            **told,
        )

    async def upload(self, received: Received) -> Answer:
        upload, number = self._of(received.call)
        if self._rules.keeps_checksums:
            upload.expect(received.checksums)
        part = await self._multiparts.put(upload, number, received.body)
        told = {f"{CHECKSUM}{name}": value for name, value in received.checksums.items()}
        return Answer(headers={"etag": f'"{part.etag}"', **told})

    async def copy(self, received: Received) -> Answer:
        if self._rules.refuses_part_copies:
            raise not_implemented("UploadPartCopy")
        upload, number = self._of(received.call)
        body, _ = await self._writing.source(received.call)
        part = await self._multiparts.put(upload, number, body)
        fields: list[tuple[str, object]] = [("ETag", f'"{part.etag}"'), ("LastModified", part.stored_at.isoformat())]
        return of_xml("CopyPartResult", [*fields, *_checksum(upload, part.checksum)])

    async def complete(self, received: Received) -> Answer:
        call = received.call
        wanted = _wanted(received.xml())
        upload = self._multiparts.live(call.bucket, call.key, call.upload_id)
        async with upload.lock:
            upload = self._multiparts.live(call.bucket, call.key, call.upload_id)
            parts = self._multiparts.chosen(upload, wanted)
            length = sum(part.length for part in parts)
            if call.headers.get("x-amz-mp-object-size", str(length)) != str(length):
                raise invalid_request("The provided x-amz-mp-object-size does not match the object's size")
            checksums = checksum_of(upload, parts)
            self._compare(call, checksums)
            attributes = Attributes(
                length=length,
                etag=etag_of_parts(parts),
                headers=upload.headers,
                checksums=checksums,
                checksum_type=upload.checksum_type,
            )
            await self._objects.put(call, attributes, _bytes_of(parts))
            self._multiparts.forget(upload)
        checksum = next(iter(checksums.values()), None)
        return of_xml(
            "CompleteMultipartUploadResult",
            [
                ("Location", f"/{call.bucket}/{call.key}"),
                ("Bucket", call.bucket),
                ("Key", call.key),
                ("ETag", f'"{attributes.etag}"'),
                *_checksum(upload, checksum),
                *([("ChecksumType", upload.checksum_type)] if checksum else []),
            ],
        )

    async def abort(self, received: Received) -> Answer:
        call = received.call
        await self._multiparts.abort(self._multiparts.get(call.bucket, call.key, call.upload_id))
        return Answer(status=204)

    async def parts(self, received: Received) -> Answer:
        call = received.call
        upload = self._multiparts.get(call.bucket, call.key, call.upload_id)
        most = received.limit("max-parts", self._rules.page_items)
        marker = int(call.query.get("part-number-marker") or "0")
        numbers = sorted(upload.parts)
        for fault in received.faults:
            numbers = fault.parts(numbers)
        later = [number for number in numbers if number > marker]
        shown = later[:most]
        return of_xml(
            "ListPartsResult",
            [
                ("Bucket", call.bucket),
                ("Key", call.key),
                ("UploadId", upload.upload_id),
                ("PartNumberMarker", marker),
                ("NextPartNumberMarker", shown[-1] if shown else marker),
                ("MaxParts", most),
                ("IsTruncated", len(later) > len(shown)),
                *([("ChecksumAlgorithm", upload.algorithm.upper())] if upload.algorithm else []),
                *(("Part", _row(upload, number)) for number in shown),
            ],
        )

    async def uploads(self, received: Received) -> Answer:
        call, query = received.call, received.call.query
        most = received.limit("max-uploads", self._rules.page_items)
        marker = (query.get("key-marker", ""), query.get("upload-id-marker", ""))
        listed = [one for one in self._multiparts.of_bucket(call.bucket) if one.key.startswith(query.get("prefix", ""))]
        later = _after(listed, *marker)
        shown = later[:most]
        truncated = len(later) > len(shown)
        return of_xml(
            "ListMultipartUploadsResult",
            [
                ("Bucket", call.bucket),
                ("Prefix", query.get("prefix", "")),
                ("KeyMarker", marker[0]),
                ("UploadIdMarker", marker[1]),
                ("MaxUploads", most),
                ("IsTruncated", truncated),
                *([("NextKeyMarker", shown[-1].key)] if truncated else []),
                *([("NextUploadIdMarker", shown[-1].upload_id)] if truncated else []),
                *(
                    ("Upload", [("Key", one.key), ("UploadId", one.upload_id), ("Initiated", one.began_at.isoformat())])
                    for one in shown
                ),
            ],
        )

    def _of(self, call: Call) -> tuple[Multipart, int]:
        # An upload that was aborted while the body came still takes the part, where AWS does.
        number = self._multiparts.check_number(call.part_number)
        return self._multiparts.in_flight(call.upload_id), number

    def _compare(self, call: Call, checksums: dict[str, str]) -> None:
        sent = checksums_of(call.headers) if self._rules.keeps_checksums else {}
        for algorithm, value in sent.items():
            if checksums.get(algorithm) != value:
                raise invalid_request(f"The {algorithm} checksum of the object is not the one that was sent")


def _wanted(root: ET.Element) -> Sequence[Wanted]:
    wanted = [
        Wanted(
            number=int(item.findtext("{*}PartNumber") or "0"),
            etag=(item.findtext("{*}ETag") or "").strip('"'),
            checksums={
                child.tag.rpartition("}")[2].removeprefix("Checksum").lower(): child.text or ""
                for child in item
                if child.tag.rpartition("}")[2].startswith("Checksum")
            },
        )
        for item in root.iterfind("{*}Part")
    ]
    if not wanted:
        raise malformed("CompleteMultipartUpload needs a part.")
    return wanted


def _after(listed: Sequence[Multipart], key: str, upload_id: str) -> Sequence[Multipart]:
    if not key:
        return listed
    at = next((index for index, one in enumerate(listed) if (one.key, one.upload_id) == (key, upload_id)), None)
    if at is not None:
        return listed[at + 1 :]
    return [one for one in listed if one.key > key]


def _row(upload: Multipart, number: int) -> list[tuple[str, object]]:
    part = upload.parts[number]
    return [
        ("PartNumber", number),
        ("LastModified", part.stored_at.isoformat()),
        ("ETag", f'"{part.etag}"'),
        ("Size", part.length),
        *_checksum(upload, part.checksum),
    ]


def _checksum(upload: Multipart, value: str | None) -> list[tuple[str, object]]:
    return [] if upload.algorithm is None or value is None else [(f"Checksum{upload.algorithm.upper()}", value)]


async def _bytes_of(parts: Sequence[Part]) -> AsyncIterator[bytes]:
    for part in parts:
        with part.path.open("rb") as file:
            while chunk := file.read(READ_BYTES):
                yield chunk

"""Multipart uploads, kept by the layer itself: it may be stricter than the gateway, and outlives its kill."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.support.strict_s3.body import ALGORITHMS, base64_of
from tests.support.strict_s3.errors import S3Error, invalid_argument, invalid_part, invalid_request, no_such_upload
from tests.support.strict_s3.rules import Rules

READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Part:
    path: Path
    length: int
    etag: str
    checksum: str | None
    """Of the upload's algorithm."""

    stored_at: datetime


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A part as CompleteMultipartUpload names it."""

    number: int
    etag: str
    checksums: Mapping[str, str]


@dataclass(kw_only=True)
class Multipart:
    upload_id: str
    bucket: str
    key: str
    headers: Mapping[str, str]
    """Of the object to be."""

    algorithm: str | None
    checksum_type: str
    began_at: datetime
    touched_seconds: float
    parts: dict[int, Part] = field(default_factory=dict)
    parts_in_flight: int = 0
    aborted: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_composite(self) -> bool:
        return self.algorithm is not None and self.checksum_type == "COMPOSITE"

    def expect(self, sent: Mapping[str, str]) -> None:
        """A part brings a checksum of the upload's algorithm, or none where the store has to make none up.

        Raises:
            S3Error: 400.
        """
        actual = next(iter(sent), None)
        if (actual is not None and actual != self.algorithm) or (actual is None and self.is_composite):
            raise invalid_request(
                "Checksum Type mismatch occurred, "
                f"expected checksum Type: {self.algorithm or 'null'}, actual checksum Type: {actual or 'null'}"
            )


class Multiparts:
    """All that have been created, and neither completed nor aborted for good."""

    def __init__(self, folder: Path, rules: Rules) -> None:
        self._folder = folder
        self._rules = rules
        self._uploads: dict[str, Multipart] = {}
        self._numbers = itertools.count(1)

    @property
    def stored_bytes(self) -> int:
        return sum(part.length for upload in self._uploads.values() for part in upload.parts.values())

    @property
    def keys(self) -> list[str]:
        """Of each that a listing would name."""
        return [upload.key for upload in self._uploads.values() if upload.parts or not upload.aborted]

    def create(self, bucket: str, key: str, headers: Mapping[str, str], sent: Mapping[str, str]) -> Multipart:
        algorithm = sent.get("x-amz-checksum-algorithm", "").lower() or None
        if algorithm is not None and algorithm not in ALGORITHMS:
            raise S3Error(501, "NotImplemented", f"the layer cannot compute {algorithm}")
        upload = Multipart(
            upload_id=f"strict-{next(self._numbers)}-{hashlib.sha256(key.encode()).hexdigest()[:16]}",
            bucket=bucket,
            key=key,
            headers=headers,
            algorithm=algorithm if self._rules.keeps_checksums else None,
            checksum_type=sent.get("x-amz-checksum-type", "COMPOSITE").upper(),
            began_at=datetime.now(UTC),
            touched_seconds=time.monotonic(),
        )
        self._uploads[upload.upload_id] = upload
        return upload

    def get(self, bucket: str, key: str, upload_id: str) -> Multipart:
        """Raises:
        S3Error: 404 NoSuchUpload.
        """
        upload = self._uploads.get(upload_id)
        if upload is None or (upload.bucket, upload.key) != (bucket, key) or (upload.aborted and not upload.parts):
            raise no_such_upload()
        idle_seconds = self._rules.multipart_idle_seconds
        if idle_seconds is not None and time.monotonic() - upload.touched_seconds > idle_seconds:
            self.forget(upload)
            raise no_such_upload()
        upload.touched_seconds = time.monotonic()
        return upload

    def live(self, bucket: str, key: str, upload_id: str) -> Multipart:
        """As `get`, and not aborted."""
        upload = self.get(bucket, key, upload_id)
        if upload.aborted:
            raise no_such_upload()
        return upload

    def in_flight(self, upload_id: str) -> Multipart:
        """One of which a part is under way: its Abort leaves it.

        Raises:
            S3Error: 404 NoSuchUpload.
        """
        upload = self._uploads.get(upload_id)
        if upload is None:
            raise no_such_upload()
        return upload

    def of_bucket(self, bucket: str) -> list[Multipart]:
        """In S3's order: by key, then by age."""
        listed = [one for one in self._uploads.values() if one.bucket == bucket and (one.parts or not one.aborted)]
        return sorted(listed, key=lambda one: (one.key.encode(), one.began_at))

    def check_number(self, number: int | None) -> int:
        if number is None or not 1 <= number <= self._rules.part_limit:
            raise invalid_argument(f"Part number must be an integer between 1 and {self._rules.part_limit}, inclusive")
        return number

    async def put(self, upload: Multipart, number: int, body: bytes) -> Part:
        """Takes the place of a part that has the number; the upload may have ended while the body came."""
        part = await asyncio.to_thread(self._written, upload, number, body)
        if self._uploads.get(upload.upload_id) is not upload:
            part.path.unlink()
            raise no_such_upload()
        former = upload.parts.get(number)
        kind = self._rules.replaces_parts
        if former is not None and (kind == "never" or (kind == "by_same" and former.etag != part.etag)):
            part.path.unlink()
            raise S3Error(501, "NotImplemented", "the layer does not replace parts")
        upload.parts[number] = part
        if former is not None:
            former.path.unlink()
        return part

    async def abort(self, upload: Multipart) -> None:
        """Parts under way land all the same, and make another Abort necessary."""
        async with upload.lock:
            if self._rules.abort_spares_parts_in_flight and upload.parts_in_flight:
                upload.aborted = True
                self._remove(upload)
            else:
                self.forget(upload)

    def forget(self, upload: Multipart) -> None:
        self._uploads.pop(upload.upload_id, None)
        self._remove(upload)

    def reap(self) -> None:
        """All are gone, as by a rule of the bucket's lifecycle (S10)."""
        for upload in list(self._uploads.values()):
            self.forget(upload)

    def chosen(self, upload: Multipart, wanted: Sequence[Wanted]) -> list[Part]:
        """The parts of the object, as far as the request may choose them.

        Raises:
            S3Error: 400.
        """
        numbers = [want.number for want in wanted]
        if numbers != sorted(set(numbers)):
            raise S3Error(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
        parts = [self._chosen(upload, want) for want in wanted]
        lengths = [part.length for part in parts]
        if any(length < self._rules.minimum_part_bytes for length in lengths[:-1]):
            raise S3Error(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
        if self._rules.equal_parts and (len(set(lengths[:-1])) > 1 or lengths[-1] > lengths[0]):
            raise invalid_part("All non-trailing parts must have the same length.")
        return parts

    def _chosen(self, upload: Multipart, want: Wanted) -> Part:
        part = upload.parts.get(want.number)
        given = want.checksums.get(upload.algorithm or "")
        if upload.is_composite and given is None:
            raise invalid_request(
                f"The upload was created using a {upload.algorithm} checksum. The complete request must include the "
                f"checksum for each part. It was missing for part {want.number} in the request."
            )
        if part is None or (part.etag != want.etag and not self._rules.ignores_part_etags):
            raise invalid_part(f"Part {want.number} could not be found, or its entity tag did not match.")
        if given is not None and given != part.checksum:
            raise invalid_part(f"Part {want.number} has another checksum.")
        return part

    def _written(self, upload: Multipart, number: int, body: bytes) -> Part:
        path = self._folder / f"{upload.upload_id}-{number}-{next(self._numbers)}"
        path.write_bytes(body)
        return Part(
            path=path,
            length=len(body),
            etag=etag_of(body, self._rules),
            checksum=None if upload.algorithm is None else base64_of(ALGORITHMS[upload.algorithm](body)),
            stored_at=datetime.now(UTC),
        )

    @staticmethod
    def _remove(upload: Multipart) -> None:
        for part in upload.parts.values():
            part.path.unlink(missing_ok=True)
        upload.parts.clear()


def etag_of(body: bytes, rules: Rules) -> str:
    return hashlib.md5(body).hexdigest() if rules.etags_are_md5 else secrets.token_hex(16)


def etag_of_parts(parts: Sequence[Part]) -> str:
    """MD5 of the MD5s, and their number."""
    return f"{hashlib.md5(b''.join(bytes.fromhex(part.etag) for part in parts)).hexdigest()}-{len(parts)}"


def checksum_of(upload: Multipart, parts: Sequence[Part]) -> dict[str, str]:
    """The object's, by algorithm: of the parts' checksums, or of all bytes."""
    if upload.algorithm is None:
        return {}
    compute = ALGORITHMS[upload.algorithm]
    if upload.is_composite:
        return {
            upload.algorithm: base64_of(compute(b"".join(base64.b64decode(part.checksum or "") for part in parts)))
            + f"-{len(parts)}"
        }
    return {upload.algorithm: base64_of(compute(b"".join(part.path.read_bytes() for part in parts)))}

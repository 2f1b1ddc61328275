"""One bucket, as the storage is built on it: `S3Client` in life, anything with these methods in a test."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Protocol

from tuspy_server.stores.s3.values import CompletedPart, Doubt, Lifecycle, ListedPart, ObjectFacts, ObjectHeaders


class Bucket(Protocol):
    """S3's calls on one bucket.

    All raise `S3Error`, see there. ETags are without their quotes, here and in what is given back. Views given to a
    call are in use until it ends, however it ends, and not a moment longer.

    Attributes:
        sends_crc32c: whether parts and objects carry `x-amz-checksum-crc32c`. A multipart upload is created and
            completed with the same answer.
        calls: attempts made, by S3's name of the call.
    """

    sends_crc32c: bool

    @property
    def calls(self) -> Mapping[str, int]:
        """See the attributes."""
        ...

    async def put_object(
        self,
        key: str,
        body: Sequence[memoryview],
        *,
        crc32c: int,
        headers: ObjectHeaders,
        if_none_match: bool = False,
        doubt: Doubt | None = None,
    ) -> str:
        """PutObject; returns the ETag. With a condition it is not repeated after an unknown outcome.

        Raises:
            PreconditionFailed: 412, the condition does not hold.
            ConditionalConflict: 409, put it again.
        """
        ...

    async def create_multipart(self, key: str, headers: ObjectHeaders, *, doubt: Doubt | None = None) -> str:
        """CreateMultipartUpload; returns its id. With `doubt` remaining there may be another one."""
        ...

    async def upload_part(
        self,
        key: str,
        multipart_id: str,
        part_number: int,
        body: Sequence[memoryview],
        *,
        crc32c: int,
        doubt: Doubt | None = None,
    ) -> str:
        """UploadPart; returns the ETag."""
        ...

    async def copy_part(
        self, key: str, multipart_id: str, part_number: int, source_key: str, *, doubt: Doubt | None = None
    ) -> str:
        """UploadPartCopy of a whole object of this bucket; returns the part's ETag. An `<Error>` in a 200 is an error.

        Raises:
            NoSuchKey: 404, no such source.
            NotSupported: 501, the store copies no parts.
        """
        ...

    async def complete_multipart(self, key: str, multipart_id: str, parts: Sequence[CompletedPart]) -> str:
        """CompleteMultipartUpload; returns the object's ETag. An `<Error>` in a 200 is an error (fault S05).

        Raises:
            NoSuchUpload: 404; where an answer was lost, it may have been this very call that completed it (fault S06).
            InvalidPart: 400.
            S3Error: with `outcome_unknown` it is not repeated; `head_object` settles it.
        """
        ...

    async def abort_multipart(self, key: str, multipart_id: str) -> None:
        """AbortMultipartUpload; one that is gone already is no error. A part under way may outlive it (fault S08)."""
        ...

    async def list_parts(self, key: str, multipart_id: str) -> Sequence[ListedPart]:
        """ListParts, all pages."""
        ...

    async def list_multiparts(self, prefix: str) -> Sequence[tuple[str, str]]:
        """ListMultipartUploads, all pages: keys with their multipart uploads' ids."""
        ...

    async def list_objects(self, prefix: str) -> Sequence[str]:
        """ListObjectsV2, all pages: keys."""
        ...

    async def head_object(self, key: str) -> ObjectFacts | None:
        """HeadObject; None where there is no such object."""
        ...

    def get_object(self, key: str, start: int, stop: int, *, etag: str | None = None) -> AsyncGenerator[bytes]:
        """Bytes `[start, stop)` as they come. No slot is held while the consumer takes its time; a cut connection is
        taken up again where it broke.

        Raises:
            ObjectChanged: it has another ETag than `etag` (or than at the start), or ends before `stop`.
        """
        ...

    async def read_object(self, key: str, into: Sequence[memoryview]) -> None:
        """Fill the views with the whole object.

        Raises:
            ObjectChanged: its length is not theirs.
        """
        ...

    async def delete_objects(self, keys: Iterable[str]) -> None:
        """DeleteObjects, a thousand a call; one by one where the store cannot. What is not there is no error."""
        ...

    async def presign_get(self, key: str, seconds: int, headers: ObjectHeaders) -> str:
        """A link that anybody can GET for so long; the answer has the type and disposition of `headers`."""
        ...

    async def lifecycle(self) -> Lifecycle | None:
        """What the bucket's rules do to unfinished uploads; None where they cannot be read."""
        ...

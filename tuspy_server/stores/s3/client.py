"""The S3 client of one bucket: the calls that the storage is built of, each with its deadline and its repetitions.

What carries bytes takes the short way (`fast`), everything else aiobotocore.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from tuspy_server.stores.s3.bucket import Bucket
from tuspy_server.stores.s3.calls import Attempt, Calls, Observe
from tuspy_server.stores.s3.connection import connect
from tuspy_server.stores.s3.crc import crc32c_in, header_of
from tuspy_server.stores.s3.deleting import Deleter
from tuspy_server.stores.s3.driving import Driven
from tuspy_server.stores.s3.errors import READS, NoSuchKey, NoSuchUpload, NotSupported, Unavailable
from tuspy_server.stores.s3.fast import FastCalls
from tuspy_server.stores.s3.listing import Lister
from tuspy_server.stores.s3.reading import Reader
from tuspy_server.stores.s3.values import (
    CompletedPart,
    Doubt,
    Lifecycle,
    ListedPart,
    ObjectFacts,
    ObjectHeaders,
    S3Options,
    decoded_metadata,
)

__all__ = ["Bucket", "S3Client", "S3Options"]

_BYTES_TYPE: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class _Ways:
    fast: FastCalls
    driven: Driven
    lister: Lister
    deleter: Deleter
    reader: Reader
    stack: AsyncExitStack


class S3Client:
    """`Bucket` over HTTP. Used between `open` and `close`, on one event loop.

    Attributes:
        sends_crc32c: see `Bucket`; with `checksums="auto"` true until whoever probes the store says otherwise.
    """

    def __init__(self, options: S3Options) -> None:
        self.options = options
        self.sends_crc32c = options.checksums != "off"
        self._calls = Calls(options)
        self._opened: _Ways | None = None

    def sibling(self, bucket: str) -> S3Client:
        """The same for another bucket of the store; not opened yet."""
        sibling = S3Client(replace(self.options, bucket=bucket))
        sibling.sends_crc32c = self.sends_crc32c
        return sibling

    async def open(self) -> None:
        """Find credentials and addresses. Makes no call to the bucket.

        Raises:
            AccessDenied: there are no credentials.
            Unavailable: their source does not answer.
        """
        made = await connect(self.options)
        driven = Driven(made.driver, self.options.bucket, self._calls)
        reader = Reader(self.options, self._calls, made.fast)
        self._opened = _Ways(made.fast, driven, Lister(driven), Deleter(driven), reader, made.stack)

    async def close(self) -> None:
        """Close all connections; calls under way fail."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.stack.aclose()

    @property
    def _ways(self) -> _Ways:
        if self._opened is None:
            raise RuntimeError("the client is not open")
        return self._opened

    @property
    def calls(self) -> Mapping[str, int]:
        """Attempts made, by S3's name of the call."""
        return self._calls.made

    def observe(self, observe: Observe | None) -> None:
        """Have somebody told of every attempt; it must not raise."""
        self._calls.observe = observe

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
        """See `Bucket`."""
        sent = {f"x-amz-meta-{name}": value for name, value in headers.encoded_metadata().items()}
        sent["content-type"] = headers.content_type or _BYTES_TYPE
        if headers.content_disposition is not None:
            sent["content-disposition"] = headers.content_disposition
        if if_none_match:
            sent["if-none-match"] = "*"
        put = self._putting("PutObject", key, "", sent, body, crc32c)
        answer = await self._calls.run("PutObject", put, repeats_unknown=not if_none_match, doubt=doubt)
        return _etag("PutObject", answer)

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
        """See `Bucket`."""
        query = f"partNumber={part_number}&uploadId={quote(multipart_id, safe='-_.~')}"
        put = self._putting("UploadPart", key, query, {}, body, crc32c)
        return _etag("UploadPart", await self._calls.run("UploadPart", put, doubt=doubt))

    def _putting(
        self, operation: str, key: str, query: str, headers: dict[str, str], body: Sequence[memoryview], crc32c: int
    ) -> Attempt[Mapping[str, str]]:
        if self.sends_crc32c:
            headers["x-amz-checksum-crc32c"] = header_of(crc32c)
        return partial(self._ways.fast.put, operation, key, query, headers, body)

    async def create_multipart(self, key: str, headers: ObjectHeaders, *, doubt: Doubt | None = None) -> str:
        """See `Bucket`."""
        driven = self._ways.driven
        wanted: dict[str, Any] = {
            "Bucket": driven.bucket,
            "Key": key,
            "Metadata": headers.encoded_metadata(),
            "ContentType": headers.content_type or _BYTES_TYPE,
        }
        if headers.content_disposition is not None:
            wanted["ContentDisposition"] = headers.content_disposition
        if self.sends_crc32c:
            wanted["ChecksumAlgorithm"] = "CRC32C"
        operation = "CreateMultipartUpload"
        answer = await driven.call(operation, lambda: driven.driver.create_multipart_upload(**wanted), doubt=doubt)
        return answer["UploadId"]

    async def copy_part(
        self, key: str, multipart_id: str, part_number: int, source_key: str, *, doubt: Doubt | None = None
    ) -> str:
        """See `Bucket`."""
        driven = self._ways.driven
        answer = await driven.call(
            "UploadPartCopy",
            lambda: driven.driver.upload_part_copy(
                Bucket=driven.bucket,
                Key=key,
                UploadId=multipart_id,
                PartNumber=part_number,
                CopySource={"Bucket": driven.bucket, "Key": source_key},
            ),
            doubt=doubt,
        )
        result = answer.get("CopyPartResult")
        if not result:
            # The store took it for an UploadPart of no bytes, as rclone does.
            raise NotSupported("UploadPartCopy", "NoCopyPartResult", 200)
        return _etag("UploadPartCopy", result)

    async def complete_multipart(self, key: str, multipart_id: str, parts: Sequence[CompletedPart]) -> str:
        """See `Bucket`."""
        driven = self._ways.driven
        named = [self._named(part) for part in parts]
        answer = await driven.call(
            "CompleteMultipartUpload",
            lambda: driven.driver.complete_multipart_upload(
                Bucket=driven.bucket, Key=key, UploadId=multipart_id, MultipartUpload={"Parts": named}
            ),
            seconds=self.options.complete_seconds,
            repeats_unknown=False,
        )
        return _etag("CompleteMultipartUpload", answer)

    def _named(self, part: CompletedPart) -> Any:
        named: dict[str, Any] = {"PartNumber": part.part_number, "ETag": f'"{part.etag}"'}
        if self.sends_crc32c and part.crc32c is not None:
            named["ChecksumCRC32C"] = header_of(part.crc32c)
        return named

    async def abort_multipart(self, key: str, multipart_id: str) -> None:
        """See `Bucket`."""
        driven = self._ways.driven
        wanted: Any = {"Bucket": driven.bucket, "Key": key, "UploadId": multipart_id}
        try:
            await driven.call("AbortMultipartUpload", lambda: driven.driver.abort_multipart_upload(**wanted))
        except NoSuchUpload:
            return

    async def list_parts(self, key: str, multipart_id: str) -> Sequence[ListedPart]:
        """See `Bucket`."""
        return await self._ways.lister.parts(key, multipart_id)

    async def list_multiparts(self, prefix: str) -> Sequence[tuple[str, str]]:
        """See `Bucket`."""
        return await self._ways.lister.multiparts(prefix)

    async def list_objects(self, prefix: str) -> Sequence[str]:
        """See `Bucket`."""
        return await self._ways.lister.objects(prefix)

    async def head_object(self, key: str) -> ObjectFacts | None:
        """See `Bucket`."""
        driven = self._ways.driven
        wanted: Any = {"Bucket": driven.bucket, "Key": key}
        if self.sends_crc32c:
            wanted["ChecksumMode"] = "ENABLED"
        try:
            answer = await driven.call("HeadObject", lambda: driven.driver.head_object(**wanted))
        except NoSuchKey:
            return None
        return ObjectFacts(
            length=answer["ContentLength"],
            etag=_etag("HeadObject", answer),
            metadata=decoded_metadata(answer.get("Metadata", {})),
            crc32c=crc32c_in(answer.get("ChecksumCRC32C")),
        )

    def get_object(self, key: str, start: int, stop: int, *, etag: str | None = None) -> AsyncGenerator[bytes]:
        """See `Bucket`."""
        return self._ways.reader.stream(key, start, stop, etag)

    async def read_object(self, key: str, into: Sequence[memoryview]) -> None:
        """See `Bucket`."""
        await self._ways.reader.fill(key, into)

    async def delete_objects(self, keys: Iterable[str]) -> None:
        """See `Bucket`."""
        await self._ways.deleter.delete(keys)

    async def presign_get(self, key: str, seconds: int, headers: ObjectHeaders) -> str:
        """See `Bucket`."""
        driven = self._ways.driven
        wanted = {"Bucket": driven.bucket, "Key": key}
        if headers.content_type is not None:
            wanted["ResponseContentType"] = headers.content_type
        if headers.content_disposition is not None:
            wanted["ResponseContentDisposition"] = headers.content_disposition
        return await driven.driver.generate_presigned_url("get_object", Params=wanted, ExpiresIn=seconds)

    async def lifecycle(self) -> Lifecycle | None:
        """See `Bucket`."""
        return await self._ways.lister.lifecycle()


def _etag(operation: str, answer: Mapping[str, Any]) -> str:
    """The ETag of a success; without one nobody can say what was stored."""
    etag = answer.get("ETag")
    if not etag:
        raise Unavailable(operation, "BadAnswer", 200, outcome_unknown=operation not in READS)
    return str(etag).strip('"')

"""A bucket behind the gates of one process. A call that its caller has given up may land later all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from tests.support.memory_bucket import MemoryBucket
from tests.uploads.gates import Gates
from tuspy_server.stores.s3.errors import READS, NotConnected, QuotaExceeded, Unavailable
from tuspy_server.stores.s3.values import CompletedPart, Doubt, Lifecycle, ListedPart, ObjectFacts, ObjectHeaders

Result = TypeVar("Result")

CALL_SECONDS: Final = 20.0
"""Within which a call ends for its caller, as the client does it."""

BUCKET_CALLS: Final = (
    "PutObject",
    "UploadPart",
    "UploadPartCopy",
    "CreateMultipartUpload",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
    "ListParts",
    "ListMultipartUploads",
    "ListObjectsV2",
    "HeadObject",
    "GetObject",
    "DeleteObjects",
)


class BucketFault(Exception):
    """What becomes of a call: `refused` and `full`: nothing is done; `silent`: nothing, and who knows; `late`: it lands
    some time; `twice`: it is done, and lands once more; `lost`: it is done, and nobody hears of it."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


KINDS: Final = ("lost", "late", "twice", "silent", "refused", "full", "late", "lost")
BUCKET_FAULTS: Final[list[Callable[[], Exception]]] = [lambda kind=kind: BucketFault(kind) for kind in KINDS]  # type: ignore[misc]


@dataclass
class Wire:
    """What is on its way to the bucket, though nobody waits for it any more; shared by all processes."""

    late: list[Callable[[], Awaitable[Any]]] = field(default_factory=list)
    timeouts: int = 0


class GatedBucket:
    """See `Bucket` in `tuspy_server.stores.s3`."""

    def __init__(self, bucket: MemoryBucket, gates: Gates, wire: Wire) -> None:
        self.sends_crc32c = True
        self._bucket = bucket
        self._gates = gates
        self._wire = wire

    @property
    def calls(self) -> Mapping[str, int]:
        return self._bucket.calls

    async def _call(self, operation: str, work: Callable[[], Awaitable[Result]], doubt: Doubt | None = None) -> Result:
        changes = operation not in READS
        asked = False
        try:
            async with asyncio.timeout(CALL_SECONDS):
                try:
                    await self._gates.stop_at(operation, "before")
                except BucketFault as fault:
                    if changes and fault.kind == "lost":
                        await work()
                        raise
                    self._before(operation, work, fault.kind, doubt)
                asked = True
                answer = await work()
                await self._gates.stop_at(operation, "after")
                return answer
        except BucketFault as error:
            raise self._unknown(operation, doubt) from error
        except TimeoutError as error:
            self._wire.timeouts += 1
            self._send_late(work, wanted=changes and not asked)
            raise self._unknown(operation, doubt) from error
        except asyncio.CancelledError:
            self._send_late(work, wanted=changes and not asked)
            raise

    def _before(self, operation: str, work: Callable[[], Awaitable[Any]], kind: str, doubt: Doubt | None) -> None:
        changes = operation not in READS
        if kind == "refused" or not changes:
            raise NotConnected(operation, "ConnectionFailed")
        if kind == "full":
            raise QuotaExceeded(operation, "QuotaExceeded", 507)
        if kind in ("late", "twice"):
            self._send_late(work, wanted=True)
        if kind == "twice":
            if doubt is not None:
                doubt.remains = True
        else:
            raise self._unknown(operation, doubt)

    def _send_late(self, work: Callable[[], Awaitable[Any]], *, wanted: bool) -> None:
        if wanted:
            self._wire.late.append(work)

    def _unknown(self, operation: str, doubt: Doubt | None) -> Unavailable:
        unknown = operation not in READS
        if doubt is not None and unknown:
            doubt.remains = True
        return Unavailable(operation, "ConnectionCut", outcome_unknown=unknown)

    # --- the calls ------------------------------------------------------------------------------------------------

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
        sent = [memoryview(b"".join(body))]
        return await self._call(
            "PutObject",
            lambda: self._bucket.put_object(key, sent, crc32c=crc32c, headers=headers, if_none_match=if_none_match),
            doubt,
        )

    async def create_multipart(self, key: str, headers: ObjectHeaders, *, doubt: Doubt | None = None) -> str:
        return await self._call("CreateMultipartUpload", lambda: self._bucket.create_multipart(key, headers), doubt)

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
        sent = [memoryview(b"".join(body))]
        return await self._call(
            "UploadPart",
            lambda: self._bucket.upload_part(key, multipart_id, part_number, sent, crc32c=crc32c),
            doubt,
        )

    async def copy_part(
        self, key: str, multipart_id: str, part_number: int, source_key: str, *, doubt: Doubt | None = None
    ) -> str:
        return await self._call(
            "UploadPartCopy", lambda: self._bucket.copy_part(key, multipart_id, part_number, source_key), doubt
        )

    async def complete_multipart(self, key: str, multipart_id: str, parts: Sequence[CompletedPart]) -> str:
        named = list(parts)
        return await self._call(
            "CompleteMultipartUpload", lambda: self._bucket.complete_multipart(key, multipart_id, named)
        )

    async def abort_multipart(self, key: str, multipart_id: str) -> None:
        await self._call("AbortMultipartUpload", lambda: self._bucket.abort_multipart(key, multipart_id))

    async def list_parts(self, key: str, multipart_id: str) -> Sequence[ListedPart]:
        return await self._call("ListParts", lambda: self._bucket.list_parts(key, multipart_id))

    async def list_multiparts(self, prefix: str) -> Sequence[tuple[str, str]]:
        return await self._call("ListMultipartUploads", lambda: self._bucket.list_multiparts(prefix))

    async def list_objects(self, prefix: str) -> Sequence[str]:
        return await self._call("ListObjectsV2", lambda: self._bucket.list_objects(prefix))

    async def head_object(self, key: str) -> ObjectFacts | None:
        return await self._call("HeadObject", lambda: self._bucket.head_object(key))

    async def get_object(self, key: str, start: int, stop: int, *, etag: str | None = None) -> AsyncGenerator[bytes]:
        async for block in self._bucket.get_object(key, start, stop, etag=etag):
            yield block

    async def read_object(self, key: str, into: Sequence[memoryview]) -> None:
        await self._call("GetObject", lambda: self._bucket.read_object(key, into))

    async def delete_objects(self, keys: Iterable[str]) -> None:
        every = list(keys)
        await self._call("DeleteObjects", lambda: self._bucket.delete_objects(every))

    async def presign_get(self, key: str, seconds: int, headers: ObjectHeaders) -> str:
        return await self._bucket.presign_get(key, seconds, headers)

    async def lifecycle(self) -> Lifecycle | None:
        return await self._bucket.lifecycle()

"""A bucket in memory, as strict as AWS, in which a test decides when each call lands and what its caller hears.

`Bucket` in `tuspy_server.stores.s3`; one instance is the store, whatever many nodes call it.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tuspy_server.stores.s3.crc import crc32c_of
from tuspy_server.stores.s3.errors import (
    ChecksumRefused,
    InvalidPart,
    NoSuchKey,
    NoSuchUpload,
    ObjectChanged,
    PreconditionFailed,
    S3Error,
    Unavailable,
)
from tuspy_server.stores.s3.values import CompletedPart, Doubt, Lifecycle, ListedPart, ObjectFacts, ObjectHeaders

Answer = TypeVar("Answer")


@dataclass
class Stored:
    content: bytes
    etag: str
    headers: ObjectHeaders = field(default_factory=ObjectHeaders)
    crc32c: int | None = None


@dataclass
class Multipart:
    key: str
    headers: ObjectHeaders
    parts: dict[int, Stored] = field(default_factory=dict)


@dataclass
class Call:
    """One call as a rule sees it."""

    operation: str
    key: str
    part_number: int | None = None
    body: bytes = b""


class Rule:
    """What happens to the calls that it is about, the next `times` of them.

    Attributes:
        seen: the calls that it has met.
        arrived: set when one has come.
        land: what `late` and `hold` still have to do in the store; call it.
    """

    def __init__(self, operation: str, matches: Callable[[Call], bool], times: int | None) -> None:
        self.operation = operation
        self.matches = matches
        self.times = times
        self.seen: list[Call] = []
        self.arrived = asyncio.Event()
        self._open = asyncio.Event()
        self._effects: list[Callable[[], Any]] = []
        self._act: Callable[[Callable[[], Any], Doubt | None], Any] | None = None

    def takes(self, call: Call) -> bool:
        if call.operation != self.operation or self.times == 0 or not self.matches(call):
            return False
        if self.times is not None:
            self.times -= 1
        self.seen.append(call)
        return True

    def release(self) -> None:
        """Held calls go on, now and from now on."""
        self._open.set()

    def land(self) -> list[Exception]:
        """What callers have given up, or were told had failed, happens now. Returns what the store refused."""
        refused: list[Exception] = []
        effects, self._effects = self._effects, []
        for effect in effects:
            try:
                effect()
            except S3Error as error:
                refused.append(error)
        return refused


class MemoryBucket:
    """See the module."""

    def __init__(self, *, least_part_bytes: int = 0, random_etags: bool = False, keeps_metadata: bool = True) -> None:
        self.sends_crc32c = True
        self.calls: Counter[str] = Counter()
        self.sent_bytes = 0
        self.read_bytes = 0
        self.objects: dict[str, Stored] = {}
        self.multiparts: dict[str, Multipart] = {}
        self.in_flight = 0
        self.most_in_flight = 0
        self.ignores_conditions = False
        self._least_part_bytes = least_part_bytes
        self._random_etags = random_etags
        self._keeps_metadata = keeps_metadata
        self._rules: list[tuple[Rule, str, S3Error | None]] = []
        self._ids = itertools.count(1)

    # --- what a test decides --------------------------------------------------------------------------------------

    def _add(
        self,
        kind: str,
        operation: str,
        matches: Callable[[Call], bool] | None,
        times: int | None,
        error: S3Error | None = None,
    ) -> Rule:
        rule = Rule(operation, matches or (lambda _: True), times)
        self._rules.append((rule, kind, error))
        return rule

    def hold(self, operation: str, matches: Callable[[Call], bool] | None = None, times: int | None = 1) -> Rule:
        """The call arrives and nothing happens until `release`; if its caller has gone by then, until `land`."""
        return self._add("hold", operation, matches, times)

    def late(self, operation: str, matches: Callable[[Call], bool] | None = None, times: int | None = 1) -> Rule:
        """The caller hears that the outcome is unknown; the call lands with `land`."""
        return self._add("late", operation, matches, times)

    def lost(self, operation: str, matches: Callable[[Call], bool] | None = None, times: int | None = 1) -> Rule:
        """The call is done; its answer is lost."""
        return self._add("lost", operation, matches, times)

    def refuse(
        self,
        operation: str,
        error: S3Error | None = None,
        matches: Callable[[Call], bool] | None = None,
        times: int | None = 1,
    ) -> Rule:
        """Nothing is done; the caller hears of the error (503 unless another is given)."""
        return self._add("refuse", operation, matches, times, error or Unavailable(operation, "SlowDown", 503))

    def flip(self, matches: Callable[[Call], bool] | None = None, times: int | None = 1) -> Rule:
        """A byte of what is read is wrong."""
        return self._add("flip", "GetObject", matches, times)

    async def _made(self, call: Call, effect: Callable[[], Answer], doubt: Doubt | None = None) -> Answer:
        self.calls[call.operation] += 1
        self.sent_bytes += len(call.body)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(0)
            return await self._ruled(call, effect, doubt)
        finally:
            self.in_flight -= 1

    async def _ruled(self, call: Call, effect: Callable[[], Answer], doubt: Doubt | None) -> Answer:
        found = next(((rule, kind, error) for rule, kind, error in self._rules if rule.takes(call)), None)
        if found is None:
            return effect()
        rule, kind, error = found
        rule.arrived.set()
        unknown = Unavailable(call.operation, "ConnectionCut", outcome_unknown=True)
        if kind == "refuse" and error is not None:
            raise error
        if kind == "hold":
            try:
                await rule._open.wait()
            except asyncio.CancelledError:
                rule._effects.append(effect)  # the caller has gone; the request is on its way all the same
                raise
            return effect()
        if kind == "late":
            rule._effects.append(effect)
        elif kind == "lost":
            effect()
        elif kind == "flip":
            answer: Any = effect()
            damaged = bytearray(answer)
            damaged[len(damaged) // 2] ^= 1
            return bytes(damaged)  # type: ignore[return-value]
        if doubt is not None:
            doubt.remains = True
        raise unknown

    def _etag(self, content: bytes) -> str:
        return secrets.token_hex(16) if self._random_etags else hashlib.md5(content, usedforsecurity=False).hexdigest()

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
        content = b"".join(body)

        def effect() -> str:
            if if_none_match and key in self.objects and not self.ignores_conditions:
                raise PreconditionFailed("PutObject", "PreconditionFailed", 412)
            self._check(content, crc32c)
            kept = headers if self._keeps_metadata else ObjectHeaders()
            self.objects[key] = Stored(content, self._etag(content), kept, crc32c)
            return self.objects[key].etag

        return await self._made(Call("PutObject", key, body=content), effect, doubt)

    async def create_multipart(self, key: str, headers: ObjectHeaders, *, doubt: Doubt | None = None) -> str:
        def effect() -> str:
            multipart_id = f"multipart-{next(self._ids)}"
            self.multiparts[multipart_id] = Multipart(key, headers if self._keeps_metadata else ObjectHeaders())
            return multipart_id

        return await self._made(Call("CreateMultipartUpload", key), effect, doubt)

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
        content = b"".join(body)

        def effect() -> str:
            self._check(content, crc32c)
            part = Stored(content, self._etag(content), crc32c=crc32c)
            self._multipart("UploadPart", key, multipart_id).parts[part_number] = part
            return part.etag

        return await self._made(Call("UploadPart", key, part_number, content), effect, doubt)

    async def copy_part(
        self, key: str, multipart_id: str, part_number: int, source_key: str, *, doubt: Doubt | None = None
    ) -> str:
        def effect() -> str:
            multipart = self._multipart("UploadPartCopy", key, multipart_id)
            source = self._object("UploadPartCopy", source_key).content
            part = Stored(source, self._etag(source), crc32c=crc32c_of([memoryview(source)]))
            multipart.parts[part_number] = part
            return part.etag

        return await self._made(Call("UploadPartCopy", key, part_number), effect, doubt)

    async def complete_multipart(self, key: str, multipart_id: str, parts: Sequence[CompletedPart]) -> str:
        operation = "CompleteMultipartUpload"

        def effect() -> str:
            multipart = self._multipart(operation, key, multipart_id)
            numbers = [part.part_number for part in parts]
            assert numbers == sorted(set(numbers))
            content = b""
            for named in parts:
                there = multipart.parts.get(named.part_number)
                wrong = there is None or there.etag != named.etag
                if self.sends_crc32c and named.crc32c is None:
                    raise S3Error(operation, "InvalidRequest", 400)
                if there is None or wrong or named.crc32c not in (None, there.crc32c):
                    raise InvalidPart(operation, "InvalidPart", 400)
                if named is not parts[-1] and len(there.content) < self._least_part_bytes:
                    raise S3Error(operation, "EntityTooSmall", 400)
                content += there.content
            del self.multiparts[multipart_id]
            self.objects[key] = Stored(content, f"{self._etag(content)}-{len(parts)}", multipart.headers)
            return self.objects[key].etag

        return await self._made(Call(operation, key), effect)

    async def abort_multipart(self, key: str, multipart_id: str) -> None:
        await self._made(Call("AbortMultipartUpload", key), lambda: self.multiparts.pop(multipart_id, None))

    async def list_parts(self, key: str, multipart_id: str) -> Sequence[ListedPart]:
        def effect() -> list[ListedPart]:
            parts = self._multipart("ListParts", key, multipart_id).parts
            return [
                ListedPart(part_number=number, etag=part.etag, size_bytes=len(part.content), crc32c=part.crc32c)
                for number, part in sorted(parts.items())
            ]

        return await self._made(Call("ListParts", key), effect)

    async def list_multiparts(self, prefix: str) -> Sequence[tuple[str, str]]:
        def effect() -> list[tuple[str, str]]:
            found = ((multipart.key, multipart_id) for multipart_id, multipart in self.multiparts.items())
            return [(key, multipart_id) for key, multipart_id in found if key.startswith(prefix)]

        return await self._made(Call("ListMultipartUploads", prefix), effect)

    async def list_objects(self, prefix: str) -> Sequence[str]:
        return await self._made(
            Call("ListObjectsV2", prefix), lambda: [key for key in self.objects if key.startswith(prefix)]
        )

    async def head_object(self, key: str) -> ObjectFacts | None:
        def effect() -> ObjectFacts | None:
            there = self.objects.get(key)
            if there is None:
                return None
            return ObjectFacts(
                length=len(there.content), etag=there.etag, metadata=there.headers.metadata, crc32c=there.crc32c
            )

        return await self._made(Call("HeadObject", key), effect)

    async def get_object(self, key: str, start: int, stop: int, *, etag: str | None = None) -> AsyncGenerator[bytes]:
        def effect() -> bytes:
            there = self._object("GetObject", key)
            if etag not in (None, there.etag) or len(there.content) < stop:
                raise ObjectChanged("GetObject", "OtherRange", 416)
            return there.content[start:stop]

        content = await self._made(Call("GetObject", key), effect)
        self.read_bytes += len(content)
        for position in range(0, len(content), 64 << 10):
            yield content[position : position + (64 << 10)]

    async def read_object(self, key: str, into: Sequence[memoryview]) -> None:
        content = await self._made(Call("GetObject", key), lambda: self._object("GetObject", key).content)
        self.read_bytes += len(content)
        if len(content) != sum(map(len, into)):
            raise ObjectChanged("GetObject", "OtherLength", 200)
        position = 0
        for view in into:
            view[:] = content[position : position + len(view)]
            position += len(view)

    async def delete_objects(self, keys: Iterable[str]) -> None:
        every = list(keys)
        for start in range(0, len(every), 1000):
            batch = every[start : start + 1000]

            def effect(batch: Sequence[str] = batch) -> None:
                for key in batch:
                    self.objects.pop(key, None)

            await self._made(Call("DeleteObjects", batch[0]), effect)

    async def presign_get(self, key: str, seconds: int, headers: ObjectHeaders) -> str:
        return f"https://bucket.invalid/{key}?seconds={seconds}&type={headers.content_type}"

    async def lifecycle(self) -> Lifecycle | None:
        return Lifecycle(abort_days=None)

    # --- helpers --------------------------------------------------------------------------------------------------

    @staticmethod
    def _check(content: bytes, crc32c: int) -> None:
        if crc32c_of([memoryview(content)]) != crc32c:
            raise ChecksumRefused("PutObject", "BadDigest", 400)

    def _multipart(self, operation: str, key: str, multipart_id: str) -> Multipart:
        multipart = self.multiparts.get(multipart_id)
        if multipart is None or multipart.key != key:
            raise NoSuchUpload(operation, "NoSuchUpload", 404)
        return multipart

    def _object(self, operation: str, key: str) -> Stored:
        if key not in self.objects:
            raise NoSuchKey(operation, "NoSuchKey", 404)
        return self.objects[key]

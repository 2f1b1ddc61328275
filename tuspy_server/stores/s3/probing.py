"""The steps of a probe. Everything it writes lies under a prefix of its own, so that it can take all of it away.

The prefix says when it was: the next probe takes away what one has left that was killed (I8).
"""

from __future__ import annotations

import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tuspy_server.stores.s3.bucket import Bucket
from tuspy_server.stores.s3.crc import crc32c_of
from tuspy_server.stores.s3.errors import AccessDenied, PreconditionFailed, QuotaExceeded, S3Error
from tuspy_server.stores.s3.values import CompletedPart, ObjectHeaders

_PART_BYTES: Final = 5 << 20
_WRONG_ETAG: Final = "0" * 32
_METADATA: Final = {"upload-id": "probe", "note": "ä b"}
_HEADERS: Final = ObjectHeaders(content_type="application/octet-stream", metadata=_METADATA)
_PLAIN: Final = ObjectHeaders()
STALE_SECONDS: Final = 3600
"""After which whoever has written it is no more: much longer than a probe takes, and than clocks differ."""

_NAME: Final = re.compile("([0-9a-f]{10})-[0-9a-f]{16}/")


def probe_name(now: float | None = None) -> str:
    """Of the folder of one probe, among those of all."""
    return f"{int(time.time() if now is None else now):010x}-{secrets.token_hex(8)}/"


@dataclass(slots=True)
class Facts:
    """What has been seen so far; see `Capabilities`."""

    accepts_crc32c: bool = False
    verifies_crc32c: bool = False
    obeys_if_none_match: bool = False
    copies_parts: bool = False
    replaces_parts: bool = False
    checks_etags: bool = False
    lists_multiparts: bool = False
    keeps_metadata: bool = False


class Prober:
    """One probe.

    Attributes:
        facts: grow with every step.
        doing: what the step under way is about, for a sentence.
    """

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._all = prefix
        self._prefix = prefix + probe_name()
        self._multiparts: list[tuple[str, str]] = []
        self._content = [memoryview(bytearray(secrets.token_bytes(1000)))]
        self._crc32c = crc32c_of(self._content)
        self.facts = Facts()
        self.doing = ""

    def _key(self, name: str) -> str:
        return self._prefix + name

    async def run(self) -> None:
        """All steps.

        Raises:
            S3Error: of a call that a server cannot do without.
        """
        self.doing = "write an object"
        await self._first_put()
        self.doing = "read an object back"
        await self._read_back()
        self.doing = "list objects"
        if self._key("object") not in await self._bucket.list_objects(self._prefix):
            raise S3Error("ListObjectsV2", "NotListed", 200)
        self.doing = "put objects with conditions"
        await self._conditions()
        await self._wrong_checksum()
        self.doing = "upload in parts"
        await self._scratch_multipart()
        await self._whole_multipart()
        self.doing = "delete objects"
        await self._bucket.delete_objects([self._key("object")])
        if await self._bucket.head_object(self._key("object")) is not None:
            raise S3Error("DeleteObject", "NotDeleted", 200)

    async def clean(self) -> S3Error | None:
        """Take everything away, at a second try if need be; returns what kept it from that."""
        try:
            await self._cleaned()
        except S3Error:
            try:
                await self._cleaned()
            except S3Error as error:
                return error
        return None

    async def _cleaned(self) -> None:
        stale = []
        with suppress(S3Error):  # those that are known are aborted all the same
            for key, multipart_id in await self._bucket.list_multiparts(self._all):
                if key.startswith(self._prefix):
                    self._multiparts.append((key, multipart_id))
                elif _is_stale(key.removeprefix(self._all)):
                    stale.append((key, multipart_id))
        for key, multipart_id in dict.fromkeys(self._multiparts):
            await self._bucket.abort_multipart(key, multipart_id)
        found = await self._bucket.list_objects(self._all)
        await self._bucket.delete_objects([key for key in found if key.startswith(self._prefix)])
        with suppress(S3Error):  # what others have left must not keep this one from its start
            for key, multipart_id in stale:
                await self._bucket.abort_multipart(key, multipart_id)
            await self._bucket.delete_objects([key for key in found if _is_stale(key.removeprefix(self._all))])

    async def _put(self, name: str, *, if_none_match: bool = False) -> str:
        return await self._bucket.put_object(
            self._key(name), self._content, crc32c=self._crc32c, headers=_HEADERS, if_none_match=if_none_match
        )

    async def _first_put(self) -> None:
        if self._bucket.sends_crc32c:
            try:
                await self._put("object")
            except (AccessDenied, QuotaExceeded):
                # Some stores answer 403 to a checksum that they do not know: told apart by leaving it out.
                self._bucket.sends_crc32c = False
            except S3Error as error:
                if error.passes or error.code == "NoSuchBucket":
                    raise
                self._bucket.sends_crc32c = False
            else:
                self.facts.accepts_crc32c = True
                return
        await self._put("object")

    async def _read_back(self) -> None:
        facts = await self._bucket.head_object(self._key("object"))
        if facts is None or facts.length != len(self._content[0]):
            raise S3Error("HeadObject", "OtherObject", 200)
        self.facts.keeps_metadata = facts.metadata.items() >= _METADATA.items()
        whole = [memoryview(bytearray(facts.length))]
        await self._bucket.read_object(self._key("object"), whole)
        middle = b"".join([block async for block in self._bucket.get_object(self._key("object"), 10, 20)])
        if whole != self._content or middle != self._content[0][10:20]:
            raise S3Error("GetObject", "OtherBytes", 200)

    async def _conditions(self) -> None:
        try:
            await self._put("new", if_none_match=True)
            self.facts.obeys_if_none_match = await self._is_refused("object")
        except S3Error as error:
            if error.passes:
                raise
            # It refuses the header itself, or does not keep to its meaning: as good as ignoring them.

    async def _is_refused(self, name: str) -> bool:
        try:
            await self._put(name, if_none_match=True)
        except PreconditionFailed:
            return True
        return False

    async def _wrong_checksum(self) -> None:
        if not self._bucket.sends_crc32c:
            return
        try:
            await self._bucket.put_object(self._key("wrong"), self._content, crc32c=self._crc32c ^ 1, headers=_PLAIN)
        except S3Error as error:
            self.facts.verifies_crc32c = 400 <= error.status < 500  # noqa: PLR2004

    async def _created(self, name: str) -> str:
        multipart_id = await self._bucket.create_multipart(self._key(name), _HEADERS)
        self._multiparts.append((self._key(name), multipart_id))
        return multipart_id

    async def _scratch_multipart(self) -> None:
        """What may be refused, on a multipart upload that is thrown away: rclone's has a spoilt part afterwards."""
        key, multipart_id = self._key("scratch"), await self._created("scratch")
        try:
            self.facts.lists_multiparts = (key, multipart_id) in await self._bucket.list_multiparts(self._prefix)
        except S3Error as error:
            if error.passes:
                raise
        await self._bucket.upload_part(key, multipart_id, 1, self._content, crc32c=self._crc32c)
        self.facts.replaces_parts = await self._replaces(key, multipart_id)
        try:
            await self._bucket.copy_part(key, multipart_id, 2, self._key("object"))
            self.facts.copies_parts = True
        except S3Error as error:
            if error.passes:
                raise
        # Last, because a refused Complete ends the upload on some stores.
        self.facts.checks_etags = await self._refuses_etag(key, multipart_id)

    async def _replaces(self, key: str, multipart_id: str) -> bool:
        other = [memoryview(bytearray(100))]
        try:
            await self._bucket.upload_part(key, multipart_id, 1, other, crc32c=crc32c_of(other))
        except S3Error as error:
            if error.passes:
                raise
            return False
        return True

    async def _refuses_etag(self, key: str, multipart_id: str) -> bool:
        part = CompletedPart(part_number=1, etag=_WRONG_ETAG, crc32c=None)
        try:
            await self._bucket.complete_multipart(key, multipart_id, [part])
        except S3Error as error:
            if error.passes:
                raise
            return True
        return False

    async def _whole_multipart(self) -> None:
        """Two parts, the second a copy where that works; the object's length tells whether it did."""
        key, multipart_id = self._key("whole"), await self._created("whole")
        first = [memoryview(bytearray(_PART_BYTES))]
        first_crc32c = crc32c_of(first)
        first_etag = await self._bucket.upload_part(key, multipart_id, 1, first, crc32c=first_crc32c)
        if self.facts.copies_parts:
            etag = await self._bucket.copy_part(key, multipart_id, 2, self._key("object"))
        else:
            etag = await self._bucket.upload_part(key, multipart_id, 2, self._content, crc32c=self._crc32c)
        listed = {part.part_number: part.size_bytes for part in await self._bucket.list_parts(key, multipart_id)}
        if listed != {1: _PART_BYTES, 2: len(self._content[0])}:
            raise S3Error("ListParts", "OtherParts", 200)
        parts = [
            CompletedPart(part_number=1, etag=first_etag, crc32c=first_crc32c),
            CompletedPart(part_number=2, etag=etag, crc32c=self._crc32c),
        ]
        await self._bucket.complete_multipart(key, multipart_id, parts)
        total = _PART_BYTES + len(self._content[0])
        tail = b"".join([block async for block in self._bucket.get_object(key, _PART_BYTES, total)])
        facts = await self._bucket.head_object(key)
        if facts is None or facts.length != total or tail != self._content[0]:
            raise S3Error("CompleteMultipartUpload", "OtherObject", 200)


def _is_stale(name: str) -> bool:
    """Of a probe that was killed: another node may be probing beside us."""
    matched = _NAME.match(name)
    return matched is not None and int(matched[1], 16) < time.time() - STALE_SECONDS

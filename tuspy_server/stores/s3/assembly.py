"""Putting an upload together: what is not a part yet becomes one, and the parts become the object.

Any two nodes may do this at once, and one may begin again where another has stopped anywhere: the parts have fixed
numbers and fixed bytes, and the multipart upload is recorded before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import structlog

from tuspy_server.model import PARTS_IN_FLIGHT, Placement, Upload
from tuspy_server.pages import PagePool
from tuspy_server.ports import Assembly, StoredPart, StoredPiece
from tuspy_server.protocol.errors import BytesMissing, StorageFault
from tuspy_server.stores.s3.bucket import Bucket
from tuspy_server.stores.s3.errors import InvalidPart, NoSuchKey, NoSuchUpload, NotSupported, S3Error
from tuspy_server.stores.s3.headers import Marker, headers_of, marker_of
from tuspy_server.stores.s3.part_plan import part_count, part_range
from tuspy_server.stores.s3.pieces import chain, checksum_of, md5_of, read_range
from tuspy_server.stores.s3.values import CompletedPart, ListedPart

_COMPLETES: Final = 3
_PAUSE_SECONDS: Final = 0.2

log = structlog.get_logger("tuspy_server.s3")


class Assembler:
    """One upload, being put together."""

    def __init__(
        self,
        bucket: Bucket,
        pool: PagePool,
        upload: Upload,
        placement: Placement,
        assembly: Assembly,
        *,
        copies_parts: bool = True,
        keeps_metadata: bool = True,
        key_is_chosen: bool = False,
    ) -> None:
        """`copies_parts`: False where UploadPartCopy must not even be tried, as it spoils the part's number;
        `key_is_chosen`: by a hook, so that others may put something there, too."""
        self._key_is_chosen = key_is_chosen
        self._copies_parts = copies_parts
        self._keeps_metadata = keeps_metadata
        if upload.upload_length is None:
            raise ValueError("an upload without a length cannot be whole")
        self._bucket = bucket
        self._pool = pool
        self._upload = upload
        self._key = placement.key
        self._part_bytes = placement.part_bytes
        self._multipart_id = placement.multipart_id
        self._length = upload.upload_length
        self._recorded = {part.part_number: part for part in assembly.parts}
        self._pieces = assembly.pieces
        self._slots = asyncio.Semaphore(PARTS_IN_FLIGHT)

    async def run(self) -> str:
        """Returns the object's ETag. Done already is success.

        Raises:
            BytesMissing: neither the parts nor the object are there, or somebody else's object is.
            StorageFault: a later try may succeed.
            S3Error: the store does not answer, or refuses.
        """
        try:
            return await self._assemble()
        except NoSuchUpload as error:
            etag = await self._etag_if_done()
            if etag is None:
                log.error("s3.multipart.lost", upload_id=self._upload.id, key=self._key)
                raise BytesMissing from error
            return etag
        except S3Error as error:
            etag = await self._etag_if_done() if error.outcome_unknown else None
            if etag is None:
                raise
            return etag

    async def _assemble(self) -> str:
        if self._multipart_id is None:
            headers = headers_of(self._upload, Marker(upload_id=self._upload.id))
            self._multipart_id = await self._bucket.create_multipart(self._key, headers)
        numbers = range(1, max(part_count(self._length, self._part_bytes), 1) + 1)  # no bytes: one part of none
        parts = dict(self._recorded)
        for part in parts.values():
            start, stop = part_range(part.part_number, self._part_bytes, self._length)
            if part.part_bytes != stop - start:
                raise BytesMissing
        missing = [number for number in numbers if number not in parts]
        parts |= {part.part_number: part for part in await self._put_all(missing)}
        for left in reversed(range(_COMPLETES)):
            try:
                return await self._complete([parts[number] for number in numbers])
            except InvalidPart as error:
                log.warning("s3.complete.invalid_part", upload_id=self._upload.id, code=error.code, tries_left=left)
                parts = await self._mended(parts, is_final=not left)
                await asyncio.sleep(_PAUSE_SECONDS)
        raise StorageFault

    async def _complete(self, parts: Sequence[StoredPart]) -> str:
        if self._key_is_chosen:
            await self._refuse_foreign()
        named = [CompletedPart(part_number=part.part_number, etag=part.etag, crc32c=part.crc32c) for part in parts]
        return await self._bucket.complete_multipart(self._key, self._multipart(), named)

    async def _refuse_foreign(self) -> None:
        """What has come to the key since the upload was made stays. Complete itself carries no condition: to two of
        them at once, which are nothing unusual, AWS answers 409, and wants every part sent again."""
        facts = await self._bucket.head_object(self._key)
        if facts is not None and marker_of(facts, self._upload.id, keeps_metadata=self._keeps_metadata) is None:
            log.error("s3.object.foreign", upload_id=self._upload.id, key=self._key)
            raise BytesMissing

    def _multipart(self) -> str:
        if self._multipart_id is None:
            raise AssertionError("it has been begun")
        return self._multipart_id

    async def _etag_if_done(self) -> str | None:
        """Of the object, if it is in its place: a lost answer, and a multipart upload that is gone, may mean just that
        (fault S06). One that an earlier writer has put by a single call is what this upload replaces."""
        facts = await self._bucket.head_object(self._key)
        if facts is None or facts.length != self._length:
            return None
        marker = marker_of(facts, self._upload.id, keeps_metadata=self._keeps_metadata)
        return facts.etag if marker is not None and marker.claimed_at is None else None

    # --- parts ----------------------------------------------------------------------------------------------------

    async def _put_all(self, numbers: Sequence[int]) -> list[StoredPart]:
        tasks = [asyncio.ensure_future(self._put(number)) for number in numbers]
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _put(self, number: int) -> StoredPart:
        start, stop = part_range(number, self._part_bytes, self._length)
        pieces = chain(self._pieces, start, stop)
        if pieces and pieces[-1].stop != stop:
            raise BytesMissing
        async with self._slots:
            if self._copies_parts and len(pieces) == 1:
                try:
                    return await self._copied(number, pieces[0])
                except NotSupported:
                    pass
                except NoSuchKey as error:
                    raise BytesMissing from error
            return await self._sent(number, start, stop, pieces)

    async def _copied(self, number: int, piece: StoredPiece) -> StoredPart:
        etag = await self._bucket.copy_part(self._key, self._multipart(), number, piece.key)
        # Where the multipart upload has checksums Complete wants that of each part; so it also proves the copy.
        crc32c = piece.crc32c if self._bucket.sends_crc32c else None
        return StoredPart(part_number=number, part_bytes=piece.stop - piece.start, etag=etag, crc32c=crc32c)

    async def _sent(self, number: int, start: int, stop: int, pieces: Sequence[StoredPiece]) -> StoredPart:
        """Read back and sent. Pages for all of it are waited for before the first byte is read, and none is held
        then."""
        pages = await self._pool.take_all(stop - start)
        try:
            views = await read_range(self._bucket, pieces, start, stop, pages)
            crc32c = await checksum_of(views)
            etag = await self._put_part(number, views, crc32c)
        finally:
            for page in pages:
                self._pool.give_back(page)
        kept = crc32c if self._bucket.sends_crc32c else None
        return StoredPart(part_number=number, part_bytes=stop - start, etag=etag, crc32c=kept)

    async def _put_part(self, number: int, views: Sequence[memoryview], crc32c: int) -> str:
        """Some stores replace no part (fault S22). There the same bytes will do; but where a fenced writer's late call
        has put others, nothing can mend it: a later try would be refused, too."""
        try:
            return await self._bucket.upload_part(self._key, self._multipart(), number, views, crc32c=crc32c)
        except NotSupported:
            listed = {part.part_number: part for part in await self._bucket.list_parts(self._key, self._multipart())}
            there = listed.get(number)
            if there is None:
                raise
            is_same = there.crc32c == crc32c if there.crc32c is not None else there.etag == await md5_of(views)
            if not is_same:
                log.error("s3.part.taken", upload_id=self._upload.id, part_number=number)
                raise BytesMissing from None
            return there.etag

    async def _mended(self, parts: dict[int, StoredPart], *, is_final: bool) -> dict[int, StoredPart]:
        """What Complete did not find as it was named: the same bytes under another ETag are taken as they are; other
        bytes, which a fenced writer's late call has put, are replaced from their pieces (faults S07, K05). A part that
        counts and is not listed is lost only if that is so to the end: a listing may be stale (fault S09)."""
        listed = {part.part_number: part for part in await self._bucket.list_parts(self._key, self._multipart())}
        mended = {}
        again = []
        for number, part in parts.items():
            there = listed.get(number)
            if there is not None and there.size_bytes == part.part_bytes and self._is_same(there, part):
                mended[number] = replace(part, etag=there.etag)
            elif number not in self._recorded:
                again.append(number)
            elif is_final:
                log.error("s3.part.lost", upload_id=self._upload.id, part_number=number)
                raise BytesMissing
            else:
                mended[number] = part
        return mended | {part.part_number: part for part in await self._put_all(again)}

    def _is_same(self, there: ListedPart, part: StoredPart) -> bool:
        crc32c = self._crc32c_of(part)
        return there.etag == part.etag or (crc32c is not None and there.crc32c == crc32c)

    def _crc32c_of(self, part: StoredPart) -> int | None:
        if part.crc32c is not None:
            return part.crc32c
        start, stop = part_range(part.part_number, self._part_bytes, self._length)
        same = (piece.crc32c for piece in self._pieces if (piece.start, piece.stop) == (start, stop))
        return next(same, None)

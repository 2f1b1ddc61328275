"""How the bytes of a fill get into the bucket: as a part, as a piece, or as the whole object."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence, Set
from dataclasses import dataclass

from tuspy_server.model import Placement, Upload
from tuspy_server.pages import PagePool
from tuspy_server.ports import StoredPart, StoredPiece
from tuspy_server.protocol.errors import BytesMissing, StorageFault
from tuspy_server.stores.s3.bucket import Bucket
from tuspy_server.stores.s3.cache import FillCache
from tuspy_server.stores.s3.errors import NoSuchUpload, S3Error
from tuspy_server.stores.s3.fill import Fill
from tuspy_server.stores.s3.headers import Marker, headers_of
from tuspy_server.stores.s3.keys import Keys
from tuspy_server.stores.s3.pieces import checksum_of, merged_from, read_range, recall
from tuspy_server.stores.s3.single import put_single
from tuspy_server.stores.s3.values import Doubt, ObjectHeaders


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all writers of one store use.

    Attributes:
        storage_seconds: how long any of them waits for what is under way.
        puts_single: whether an object of one part may be put by one call. Where the store obeys no conditions, or keeps
            no metadata, such a call could come late and replace what a successor has finished; a multipart upload's
            Complete is only ever called for what a commit has fixed.
    """

    bucket: Bucket
    pool: PagePool
    keys: Keys
    cache: FillCache
    storage_seconds: float
    puts_single: bool = True


class Sender:
    """The calls of one writer.

    The caller holds the lock of the fill. All methods raise S3Error, and BytesMissing where bytes that count are lost.

    Attributes:
        doubt: whether anything may land yet whose outcome was never learned.
        multipart_id: of the upload's multipart upload, once there is one.
        under_way: parts that may be written yet: sent, and not known to have ended.
    """

    def __init__(self, shared: Shared, upload: Upload, placement: Placement, writer: str) -> None:
        self.doubt = Doubt()
        self.multipart_id = placement.multipart_id
        self.under_way: set[int] = set()
        self._is_new_multipart = False
        self._written: list[StoredPiece] = []
        self._shared = shared
        self._bucket = shared.bucket
        self._upload = upload
        self._placement = placement
        self._writer = writer
        self._creating = asyncio.Lock()
        self._piece_count = 0

    @property
    def part_bytes(self) -> int:
        """Of the upload's grid."""
        return self._placement.part_bytes

    @property
    def is_unsettled(self) -> bool:
        """Whether the bucket may hold something that no commit has been given, and not only a piece."""
        return self.doubt.remains or bool(self.under_way) or self._is_new_multipart

    def new_multipart_id(self) -> str | None:
        """Of the multipart upload, if this writer has begun it, once."""
        is_new, self._is_new_multipart = self._is_new_multipart, False
        return self.multipart_id if is_new else None

    def written_from(self, upload_offset: int, but: Set[str]) -> list[str]:
        """Keys of the pieces that may exist by this writer: those that hold nothing before an offset, and of the others
        those that are not in `but`."""
        return [piece.key for piece in self._written if piece.start >= upload_offset or piece.key not in but]

    async def begin_multipart(self) -> None:
        """As `multipart`, for a task."""
        await self.multipart()

    async def multipart(self) -> str:
        """The id of the multipart upload, which is begun where there is none."""
        async with self._creating:
            if self.multipart_id is None:
                headers = headers_of(self._upload, Marker(upload_id=self._upload.id))
                key = self._placement.key
                self.multipart_id = await self._bucket.create_multipart(key, headers, doubt=self.doubt)
                self._is_new_multipart = True
            return self.multipart_id

    async def part(self, fill: Fill) -> None:
        """Store a full fill as its part; as a piece where what it has in pieces finds no room in memory now."""
        try:
            whole = await recall(self._bucket, self._shared.pool, fill, fill.start)
        except BytesMissing:
            whole = False  # putting the upload together looks again, and decides
        if not whole:
            await self.piece(fill)
            return
        with fill.in_use():
            views = fill.views(fill.start, fill.stop)
            crc32c = await checksum_of(views)
            multipart_id = await self.multipart()
            etag = await self._upload_part(multipart_id, fill.part_number, views, crc32c)
        fill.part = StoredPart(
            part_number=fill.part_number,
            part_bytes=fill.stop - fill.start,
            etag=etag,
            crc32c=crc32c if self._bucket.sends_crc32c else None,
        )

    async def _upload_part(self, multipart_id: str, part_number: int, views: Sequence[memoryview], crc32c: int) -> str:
        key = self._placement.key
        self.under_way.add(part_number)
        try:
            etag = await self._bucket.upload_part(
                key, multipart_id, part_number, views, crc32c=crc32c, doubt=self.doubt
            )
        except NoSuchUpload as error:
            self.under_way.discard(part_number)
            await self._confirm_loss(multipart_id)
            raise StorageFault from error
        except S3Error as error:
            if not error.outcome_unknown:
                self.under_way.discard(part_number)
            raise
        self.under_way.discard(part_number)
        return etag

    async def _confirm_loss(self, multipart_id: str) -> None:
        """The store says that it has no such multipart upload: its parts, which count, are lost (fault S10)."""
        try:
            await self._bucket.list_parts(self._placement.key, multipart_id)
        except NoSuchUpload as error:
            raise BytesMissing from error

    async def piece(self, fill: Fill, *, whole_part: bool = False) -> None:
        """Store what has come since the last piece; merged with that one and others where their time has come.

        Args:
            fill: has bytes in memory that are not durable.
            whole_part: one piece for the whole part, if it can be had: it is copied to its number later.
        """
        wanted = fill.start if whole_part else merged_from(fill, 0)[0]
        if wanted < fill.memory_start:
            with contextlib.suppress(BytesMissing, S3Error):  # there is no need to merge now
                await recall(self._bucket, self._shared.pool, fill, wanted)
        start, level = merged_from(fill, fill.memory_start)
        if whole_part and fill.memory_start == fill.start:
            start, level = fill.start, level + 1
        stop = fill.filled
        with fill.in_use():
            views = fill.views(start, stop)
            crc32c = await checksum_of(views)
            self._piece_count += 1
            key = self._shared.keys.piece_key(self._upload.id, self._writer, self._piece_count)
            piece = StoredPiece(start=start, stop=stop, key=key, crc32c=crc32c, level=level)
            self._written.append(piece)
            await self._bucket.put_object(key, views, crc32c=crc32c, headers=ObjectHeaders(), doubt=self.doubt)
        fill.pieces = [earlier for earlier in fill.pieces if earlier.start < start]
        fill.pieces.append(piece)
        fill.new_pieces.append(piece)

    async def single(self, fill: Fill) -> tuple[str, int]:
        """Put the whole object, which the fill is; returns its ETag and its CRC32C.

        Raises:
            Taken: an earlier writer has put other bytes.
            WriterFenced: a later writer has put it.
        """
        if not await recall(self._bucket, self._shared.pool, fill, fill.start):
            await self._bring_all(fill)
        with fill.in_use():
            views = fill.views(fill.start, fill.stop)
            crc32c = await checksum_of(views)
            etag = await put_single(self._bucket, self._upload, self._placement.key, views, crc32c, self.doubt)
            return etag, crc32c

    async def _bring_all(self, fill: Fill) -> None:
        """Memory is short. Whoever holds pages must not wait for others: so let go of them first, then wait for all."""
        if fill.durable < fill.filled:
            await self.piece(fill)
        fill.drop_durable()
        pages = await self._shared.pool.take_all(fill.filled - fill.start)
        try:
            await read_range(self._bucket, fill.pieces, fill.start, fill.filled, pages)
        except BaseException:
            for page in pages:
                self._shared.pool.give_back(page)
            raise
        fill.prepend(pages, fill.start)

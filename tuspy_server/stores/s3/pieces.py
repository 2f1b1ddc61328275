"""Pieces: bytes that do not fill a part yet, each an object of its own, and their way back into memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final

import structlog

from tuspy_server.pages import PagePool
from tuspy_server.ports import StoredPiece
from tuspy_server.protocol.errors import BytesMissing
from tuspy_server.stores.s3.bucket import Bucket
from tuspy_server.stores.s3.crc import crc32c_of
from tuspy_server.stores.s3.errors import NoSuchKey, ObjectChanged
from tuspy_server.stores.s3.fill import Fill

PIECES_MERGED: Final = 16
"""So many pieces of one level become one of the next; so 1 KiB PATCHes write their bytes some 3.5 times, not 256."""

_INLINE_BYTES: Final = 256 << 10
_FETCHES: Final = 2

log = structlog.get_logger("tuspy_server.s3")


async def checksum_of(views: Sequence[memoryview]) -> int:
    """CRC32C; of many bytes in a thread (fault R08)."""
    if sum(map(len, views)) <= _INLINE_BYTES:
        return crc32c_of(views)
    return await asyncio.to_thread(crc32c_of, views)


async def md5_of(views: Sequence[memoryview]) -> str:
    """As most stores make it the ETag of a part; in a thread."""

    def digested() -> str:
        digest = hashlib.md5(usedforsecurity=False)
        for view in views:
            digest.update(view)
        return digest.hexdigest()

    return await asyncio.to_thread(digested)


def merged_from(fill: Fill, memory_start: int) -> tuple[int, int]:
    """Where the next piece of a fill begins, and of which level it is: it is written *instead of* the last one that a
    merge needs, as long as memory has what the others hold."""
    left = list(fill.pieces)
    start = fill.durable
    level = 0
    while True:
        run = 0
        while run < len(left) and left[-1 - run].level <= level:
            run += 1
        if run < PIECES_MERGED - 1 or left[-run].start < memory_start:
            return start, level
        start, level = left[-run].start, level + 1
        del left[-run:]


async def read_back(bucket: Bucket, piece: StoredPiece, into: Sequence[memoryview]) -> None:
    """Fill the views with a piece, and verify it: one that came wrong is fetched once more (fault S14).

    Raises:
        BytesMissing: it is not there, or is not what was written.
        S3Error: the store does not answer.
    """
    for fetch in range(_FETCHES):
        try:
            await bucket.read_object(piece.key, into)
        except NoSuchKey as error:
            raise BytesMissing from error
        except ObjectChanged:
            continue
        if await checksum_of(into) == piece.crc32c:
            return
        log.error("s3.piece.damaged", key=piece.key, fetch=fetch + 1)
    raise BytesMissing


async def read_range(
    bucket: Bucket, pieces: Sequence[StoredPiece], start: int, stop: int, pages: Sequence[memoryview]
) -> list[memoryview]:
    """Fill `pages` with the bytes `[start, stop)`, which the pieces hold from end to end; returns the views of them.

    Raises:
        BytesMissing: as `read_back`, or the pieces leave a gap.
    """
    position = start
    for piece in pieces:
        if piece.start != position:
            raise BytesMissing
        await read_back(bucket, piece, views_of(pages, piece.start - start, piece.stop - start))
        position = piece.stop
    if position != stop:
        raise BytesMissing
    return views_of(pages, 0, stop - start)


def views_of(pages: Sequence[memoryview], start: int, stop: int) -> list[memoryview]:
    """Bytes `[start, stop)` of pages one behind the other."""
    found = []
    position = 0
    for page in pages:
        low, high = max(start - position, 0), min(stop - position, len(page))
        if low < high:
            found.append(page[low:high])
        position += len(page)
    return found


async def recall(bucket: Bucket, pool: PagePool, fill: Fill, start: int) -> bool:
    """Bring the bytes of a fill from `start` on, the beginning of one of its pieces, into memory, if there is room
    without waiting: whoever holds pages must not wait for others. Returns whether they are there.

    Raises:
        BytesMissing, S3Error: as `read_back`.
    """
    stop = fill.memory_start
    if stop <= start:
        return True
    missing = [piece for piece in fill.pieces if start <= piece.start < stop]
    stop = max(stop, missing[-1].stop)  # its end may be in memory: the page that was being filled had to stay
    pages = pool.try_take_all(stop - start)
    if pages is None:
        return False
    try:
        with fill.in_use():
            await read_range(bucket, missing, start, stop, pages)
    except BaseException:
        for page in pages:
            pool.give_back(page)
        raise
    fill.prepend(pages, start)
    return True


def chain(pieces: Sequence[StoredPiece], start: int, stop: int) -> list[StoredPiece]:
    """The pieces that hold `[start, …)` one behind the other, without a gap, until `stop` is reached or passed.

    Raises:
        BytesMissing: there is a gap.
    """
    found: list[StoredPiece] = []
    position = start
    for piece in sorted(pieces, key=lambda piece: (piece.start, -piece.stop)):
        if position >= stop:
            break
        if piece.stop <= position:
            continue
        if piece.start != position:
            raise BytesMissing
        found.append(piece)
        position = piece.stop
    if position < stop:
        raise BytesMissing
    return found

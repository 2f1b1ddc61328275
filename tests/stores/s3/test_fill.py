"""Fills: whatever is appended, read back, cut off and let go of, the views are the bytes; and which pieces merge."""

from __future__ import annotations

import random

import pytest

from tuspy_server.pages import LARGE_PAGE_BYTES, SMALL_PAGE_BYTES, PagePool
from tuspy_server.ports import StoredPiece
from tuspy_server.protocol.errors import BytesMissing
from tuspy_server.stores.s3.cache import FillCache
from tuspy_server.stores.s3.fill import Fill
from tuspy_server.stores.s3.pieces import PIECES_MERGED, chain, merged_from

START = 1000
STOP = START + 3 * LARGE_PAGE_BYTES
CONTENT = random.Random(1).randbytes(STOP)


def piece(start: int, stop: int, level: int = 0) -> StoredPiece:
    return StoredPiece(start=start, stop=stop, key=f"{start}-{stop}-{level}", crc32c=0, level=level)


def bytes_of(fill: Fill, start: int, stop: int) -> bytes:
    return b"".join(fill.views(start, stop))


def append(fill: Fill, pool: PagePool, count: int, page_bytes: int = SMALL_PAGE_BYTES) -> None:
    while count:
        room = fill.room()
        if room is None:
            page = pool.try_take(page_bytes)
            assert page is not None
            fill.add_page(page)
            continue
        step = min(count, len(room))
        room[:step] = CONTENT[fill.filled : fill.filled + step]
        fill.advance(step)
        count -= step


@pytest.mark.parametrize("seed", range(30))
def test_the_views_are_the_bytes(seed: int) -> None:
    chance = random.Random(seed)
    pool = PagePool(32 << 20)
    read = chance.choice([0, 1, SMALL_PAGE_BYTES, 500_001])
    fill = Fill(pool, 1, START, STOP, [piece(START, START + read)] if read else [])
    for _ in range(chance.randint(1, 6)):
        left = fill.stop - fill.filled
        sizes = [SMALL_PAGE_BYTES, LARGE_PAGE_BYTES]
        append(fill, pool, min(left, chance.randint(0, 900_000)), chance.choice(sizes))
        if chance.random() < 0.4:
            cut = chance.randint(max(fill.memory_start, fill.durable), fill.filled)
            fill.truncate(cut)
            assert fill.filled == cut
    if read:
        pages = pool.try_take_all(read)
        assert pages is not None
        position = START
        for page in pages:
            page[: min(len(page), START + read - position)] = CONTENT[
                position : min(position + len(page), START + read)
            ]
            position += len(page)
        fill.prepend(pages, START)
    assert fill.is_whole
    for _ in range(20):
        start = chance.randint(START, fill.filled)
        stop = chance.randint(start, fill.filled)
        assert bytes_of(fill, start, stop) == CONTENT[start:stop]
    fill.release()
    assert pool.used_bytes == 0


def test_only_pages_of_durable_bytes_are_dropped_and_never_one_in_use() -> None:
    pool = PagePool(32 << 20)
    fill = Fill(pool, 1, START, STOP)
    append(fill, pool, 3 * SMALL_PAGE_BYTES + 5)
    fill.drop_durable()
    assert fill.memory_start == START
    fill.pieces = [piece(START, START + 2 * SMALL_PAGE_BYTES + 7)]
    with fill.in_use():
        fill.drop_durable()
        assert fill.is_whole
        assert fill.spare_bytes == 0
    fill.drop_durable()
    assert fill.memory_start == START + 2 * SMALL_PAGE_BYTES
    assert bytes_of(fill, fill.durable, fill.filled) == CONTENT[fill.durable : fill.filled]
    with fill.in_use():
        fill.release()
        assert pool.used_bytes == 2 * SMALL_PAGE_BYTES, "a call sends them yet"
    assert pool.used_bytes == 0


def test_sixteen_pieces_of_a_level_become_one_of_the_next() -> None:
    """Each is written instead of the last of them."""
    pool = PagePool(32 << 20)
    fill = Fill(pool, 1, START, STOP)
    written = 0
    for _ in range(PIECES_MERGED**2):
        append(fill, pool, 100)
        start, level = merged_from(fill, fill.memory_start)
        fill.pieces = [*(earlier for earlier in fill.pieces if earlier.start < start), piece(start, fill.filled, level)]
        written += fill.filled - start
        assert len(fill.pieces) <= 2 * (PIECES_MERGED - 1)
    assert [found.level for found in fill.pieces] == [2]
    assert written < 3 * PIECES_MERGED**2 * 100
    fill.release()


def test_what_is_not_in_memory_is_not_merged() -> None:
    fill = Fill(PagePool(1 << 20), 1, 0, STOP, [piece(number, number + 1) for number in range(20)])
    assert merged_from(fill, fill.memory_start) == (20, 0)
    assert merged_from(fill, 0) == (0, 1)


def test_a_chain_of_pieces_has_no_gap() -> None:
    pieces = [piece(0, 5), piece(5, 9), piece(9, 20)]
    assert chain(pieces, 0, 0) == []
    assert chain(pieces, 0, 9) == pieces[:2]
    assert chain(pieces, 5, 10) == pieces[1:]
    assert chain([*pieces, piece(2, 4)], 0, 20) == pieces
    for start, stop in ((0, 21), (1, 5)):
        with pytest.raises(BytesMissing):
            chain(pieces, start, stop)
    with pytest.raises(BytesMissing):
        chain([pieces[0], pieces[2]], 0, 20)


def test_the_cache_gives_a_fill_to_whoever_knows_its_pieces() -> None:
    pool = PagePool(32 << 20)
    cache = FillCache(pool)

    def kept(upload_id: str) -> Fill:
        fill = Fill(pool, 1, START, STOP)
        append(fill, pool, 10)
        fill.pieces = [piece(START, START + 10)]
        cache.keep(upload_id, fill)
        return fill

    fill = kept("a")
    assert cache.take("b", fill.pieces) is None
    assert cache.take("a", fill.pieces) is fill
    assert cache.take("a", fill.pieces) is None
    fill.release()
    fill = kept("a")
    assert cache.take("a", [*fill.pieces, piece(START + 10, START + 11)]) is None, "another node has gone on"
    assert pool.used_bytes == 0
    kept("a")
    kept("a")
    assert pool.used_bytes == SMALL_PAGE_BYTES
    assert cache.drop_oldest()
    assert not cache.drop_oldest()
    assert pool.used_bytes == 0

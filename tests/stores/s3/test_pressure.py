"""Memory is bounded, and nobody waits for somebody who waits (I10, I12)."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.stores.s3.harness import KIB, MIB, Site, Writing, until
from tests.support.memory_bucket import MemoryBucket
from tuspy_server.model import PARTS_IN_FLIGHT
from tuspy_server.protocol.errors import BytesMissing, Overloaded
from tuspy_server.stores.s3.errors import Unavailable

PART = MIB


def some(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


@pytest.fixture
async def crowded(bucket: MemoryBucket) -> Site:
    """Four parts fit into memory."""
    return Site(bucket, part_bytes=PART, pool_bytes=4 * MIB, wait_seconds=5, patience_seconds=0.02)


async def test_a_hundred_slow_uploads_that_hold_half_a_part_each(crowded: Site, bucket: MemoryBucket) -> None:
    """Half a part of each would be 50 MiB; the pool has 4. None hangs, none fails."""
    contents = [some(PART + 1000, seed) for seed in range(100)]
    uploads = [await crowded.create(len(content)) for content in contents]
    writings: list[Writing] = []

    async def half(number: int) -> Writing:
        writing = await crowded.patch(uploads[number].id)
        for start in range(0, PART // 2, 50_000):
            await writing.put(contents[number][start : min(start + 50_000, PART // 2)])
            await asyncio.sleep(0)
        return writing

    async with asyncio.timeout(60):
        writings = await asyncio.gather(*map(half, range(100)))
        assert crowded.node.pool.used_bytes <= 4 * MIB

        async def rest(writing: Writing, number: int) -> None:
            await writing.put(contents[number][PART // 2 :])
            assert await writing.finish()

        await asyncio.gather(*(rest(writing, number) for number, writing in enumerate(writings)))
    for upload, content in zip(uploads, contents, strict=True):
        assert bucket.objects[f"uploads/{upload.id}"].content == content
    await crowded.clean()
    assert len(bucket.objects) == 100
    await crowded.close()


async def test_the_largest_fill_that_is_not_on_its_way_gives_way(crowded: Site, bucket: MemoryBucket) -> None:
    crowded.add_node()
    sizes = [50_000, 900_000, 60_000]
    uploads = [await crowded.create(4 * PART) for _ in sizes]
    writings = [await crowded.patch(upload.id) for upload in uploads]
    for writing, size in zip(writings, sizes, strict=True):
        await writing.put(some(size))
    pool = crowded.node.pool
    others = []
    while (page := pool.try_take(64 * KIB)) is not None:
        others.append(page)
    assert not bucket.calls
    others.append(await pool.take(64 * KIB))
    assert [piece.content for piece in bucket.objects.values()] == [some(900_000)]
    for page in others:
        pool.give_back(page)
    for writing in writings:
        writing.writer.close()
    await crowded.close()


async def test_an_upload_whose_own_parts_fill_the_memory_waits_for_them(bucket: MemoryBucket) -> None:
    """I12: not in line, where a store that takes long over large parts would have it refused for its own sake."""
    site = Site(bucket, part_bytes=PART, pool_bytes=4 * PART, wait_seconds=0)
    slow = bucket.hold("UploadPart", times=None)
    content = some((PARTS_IN_FLIGHT + 2) * PART)
    upload = await site.create(len(content))
    writing = await site.patch(upload.id)
    putting = asyncio.create_task(writing.put(content))
    await until(lambda: len(slow.seen) == 3)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not putting.done(), "a place in line lasts for no time at all here"
    slow.release()
    await putting
    assert await writing.finish()
    assert await site.read(upload.id) == content
    assert bucket.calls["PutObject"] == 0
    await site.close()


async def test_what_is_kept_for_convenience_goes_first(crowded: Site, bucket: MemoryBucket) -> None:
    """The one that was used least lately."""
    uploads = [await crowded.create(4 * PART) for _ in range(5)]
    for upload in uploads:
        await crowded.append(upload.id, some(900_000))
    pool = crowded.node.pool
    assert 3 * MIB < pool.used_bytes <= 4 * MIB
    calls = bucket.calls.total()
    pool.give_back(await pool.take(1 * MIB))
    assert bucket.calls.total() == calls, "nothing had to be written"
    await crowded.append(uploads[4].id, some(4 * PART)[900_000:])
    assert bucket.read_bytes == 0
    await crowded.append(uploads[0].id, some(4 * PART)[900_000:])
    assert bucket.read_bytes >= 900_000
    await crowded.close()


async def test_a_buffer_in_a_clients_hands_is_not_taken_away(crowded: Site, bucket: MemoryBucket) -> None:
    upload = await crowded.create(PART)
    writing = await crowded.patch(upload.id)
    content = some(PART)
    await writing.put(content[:700_000])
    buffer = await writing.writer.buffer()
    await asyncio.wait([writing.writer.spare.give_way()])
    assert crowded.node.pool.used_bytes == MIB
    count = min(len(buffer), PART - 700_000)
    buffer[:count] = content[700_000 : 700_000 + count]
    writing.writer.advance(count)
    await writing.put(content[700_000 + count :])
    assert await writing.finish()
    assert await crowded.read(upload.id) == content
    await crowded.close()


async def test_memory_that_stays_short_is_told(bucket: MemoryBucket) -> None:
    """503: a store that takes nothing cannot make room."""
    site = Site(bucket, part_bytes=PART, pool_bytes=1 * MIB, wait_seconds=0.05)
    bucket.refuse("PutObject", Unavailable("PutObject", "SlowDown", 503), times=None)
    first, second = await site.create(PART), await site.create(PART)
    writing = await site.patch(first.id)
    await writing.put(some(900_000))
    other = await site.patch(second.id)
    with pytest.raises(Overloaded):
        await other.put(some(900_000))
    writing.writer.close()
    other.writer.close()
    await site.close()


async def test_an_object_of_one_part_is_put_also_where_memory_is_short(bucket: MemoryBucket) -> None:
    """What is in memory is let go of, before all of it is waited for."""
    site = Site(bucket, part_bytes=PART, pool_bytes=PART, wait_seconds=5)
    content = some(PART)
    upload = await site.create(PART)
    await site.append(upload.id, content[:600_000])
    site.node.blobs._shared.cache.clear()
    writing = await site.patch(upload.id)
    await writing.put(content[600_000:])
    taken = [site.node.pool.try_take(64 * KIB) for _ in range(9)]
    finishing = asyncio.create_task(writing.finish())
    await until(lambda: bucket.calls["PutObject"] >= 2)
    for page in taken:
        if page is not None:
            site.node.pool.give_back(page)
    assert await finishing
    assert await site.read(upload.id) == content
    await site.close()


async def test_a_part_that_finds_no_room_stays_in_pieces(bucket: MemoryBucket) -> None:
    """Whoever holds pages never waits for more to read back; putting together does, holding none."""
    site = Site(bucket, part_bytes=PART, pool_bytes=PART, wait_seconds=5)
    content = some(2 * PART)
    upload = await site.create(2 * PART)
    await site.append(upload.id, content[:900_000])
    site.node.blobs._shared.cache.clear()
    await site.append(upload.id, content[900_000 : PART + 5])
    await site.append(upload.id, content[PART + 5 :])
    assert await site.read(upload.id) == content
    await site.close()


async def test_pages_of_a_failed_reading_back_are_given_back(bucket: MemoryBucket) -> None:
    site = Site(bucket, part_bytes=PART)
    bucket.flip(times=None)
    upload = await site.create(PART)
    await site.append(upload.id, some(PART)[:5])
    with pytest.raises(BytesMissing):
        await site.append(upload.id, some(PART)[5:], site.add_node())
    await site.close()

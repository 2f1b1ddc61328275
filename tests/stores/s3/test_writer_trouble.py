"""What becomes of a writer's bytes where not all of them are to count, where calls fail, and of pieces that are read
back."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.stores.s3.harness import PART_BYTES, Site
from tests.support.memory_bucket import MemoryBucket
from tuspy_server.model import PARTS_IN_FLIGHT, UploadStatus
from tuspy_server.protocol.errors import BytesMissing, StorageFault
from tuspy_server.stores.s3.errors import NoSuchUpload, QuotaExceeded, S3Error


def some(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


# --- held back ----------------------------------------------------------------------------------------------------


async def test_bytes_that_are_held_back_reach_nothing_before_they_are_verified(
    site: Site, bucket: MemoryBucket
) -> None:
    """Fault S15."""
    upload = await site.create(10 * PART_BYTES)
    writing = await site.patch(upload.id, held_back=True)
    await writing.put(some(9 * PART_BYTES))
    assert (await writing.writer.sync(flush=False)).upload_offset == 0
    for _ in range(100):
        await asyncio.sleep(0)
    assert not bucket.calls
    await writing.writer.rollback(0)
    assert not bucket.objects
    assert not writing.writer.unsettled
    writing.writer.close()


async def test_bytes_that_were_held_back_count_as_a_whole(site: Site, bucket: MemoryBucket) -> None:
    body, rest = some((2 * PARTS_IN_FLIGHT + 1) * PART_BYTES), some(PART_BYTES, 2)
    upload = await site.create(len(body) + len(rest))
    writing = await site.patch(upload.id, held_back=True)
    await writing.put(body)
    row = await writing.leave()
    assert row is not None
    assert row.upload_offset == len(body)
    assert bucket.calls["UploadPart"] == 1 + PARTS_IN_FLIGHT, "no further than the next claim knows of"
    await site.append(upload.id, rest)
    assert await site.read(upload.id) == body + rest


async def test_what_was_flushed_of_a_discarded_body_is_deleted(site: Site, bucket: MemoryBucket) -> None:
    """I8: pieces that were made to make room."""
    upload = await site.create(10 * PART_BYTES)
    await site.append(upload.id, some(10 * PART_BYTES)[:5])
    writing = await site.patch(upload.id, held_back=True)
    await writing.put(some(PART_BYTES))
    await asyncio.wait([writing.writer.spare.give_way()])
    assert len(bucket.objects) == 2
    await writing.writer.rollback(5)
    writing.writer.close()
    assert len(bucket.objects) == 1
    await writing.count(release=True)
    await site.append(upload.id, some(10 * PART_BYTES)[5:])
    assert await site.read(upload.id) == some(10 * PART_BYTES)


async def test_a_rollback_that_cannot_delete_is_told(site: Site, bucket: MemoryBucket) -> None:
    upload = await site.create(10 * PART_BYTES)
    writing = await site.patch(upload.id, held_back=True)
    await writing.put(some(PART_BYTES))
    await asyncio.wait([writing.writer.spare.give_way()])
    bucket.refuse("DeleteObjects")
    await writing.writer.rollback(0)
    assert writing.writer.unsettled
    writing.writer.close()


# --- failures -----------------------------------------------------------------------------------------------------


async def test_what_is_durable_counts_also_after_a_failure(site: Site, bucket: MemoryBucket) -> None:
    """I1, fault S01: the parts before the one that failed."""
    bucket.refuse("UploadPart", matches=lambda call: call.part_number == 3, times=None)
    content = some((3 + PARTS_IN_FLIGHT + 2) * PART_BYTES)  # without the third the last but one can never go
    upload = await site.create(len(content))
    writing = await site.patch(upload.id)
    with pytest.raises(StorageFault):
        await writing.put(content)
    with pytest.raises(StorageFault):
        await writing.leave()
    assert (await site.row(upload.id)).upload_offset == 2 * PART_BYTES
    bucket._rules.clear()
    await site.append(upload.id, content[2 * PART_BYTES :])
    assert await site.read(upload.id) == content


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (QuotaExceeded("PutObject", "QuotaExceeded", 507), "storage_full"),
        (S3Error("PutObject", "X", 400), "storage_fault"),
    ],
)
async def test_errors_of_the_store_become_answers(site: Site, bucket: MemoryBucket, error: S3Error, code: str) -> None:
    """Fault S18."""
    bucket.refuse("PutObject", error)
    upload = await site.create(9)
    writing = await site.patch(upload.id)
    await writing.put(b"abc")
    with pytest.raises(Exception) as caught:  # noqa: PT011 - its code is what counts
        await writing.leave()
    assert getattr(caught.value, "code", None) == code
    assert (await site.row(upload.id)).upload_offset == 0


async def test_a_multipart_upload_that_the_provider_has_reaped_is_lost(site: Site, bucket: MemoryBucket) -> None:
    """Fault S10."""
    content = some((3 + PARTS_IN_FLIGHT + 2) * PART_BYTES)  # without the third the last but one can never go
    upload = await site.create(len(content))
    await site.append(upload.id, content[: 2 * PART_BYTES])
    bucket.multiparts.clear()
    writing = await site.patch(upload.id)
    with pytest.raises(BytesMissing):
        await writing.put(content[2 * PART_BYTES :])
    writing.writer.close()


async def test_one_404_alone_is_no_loss(site: Site, bucket: MemoryBucket) -> None:
    bucket.refuse("UploadPart", NoSuchUpload("UploadPart", "NoSuchUpload", 404))
    upload = await site.create(3 * PART_BYTES)
    writing = await site.patch(upload.id)
    await writing.put(some(PART_BYTES))
    with pytest.raises(StorageFault):
        await writing.leave()
    await site.append(upload.id, some(3 * PART_BYTES))
    assert await site.read(upload.id) == some(3 * PART_BYTES)


async def test_a_store_that_never_answers_is_waited_for_so_long_and_no_longer(bucket: MemoryBucket) -> None:
    """Fault S04; I12. The client's own deadlines come first; this is for one that forgets them."""
    site = Site(bucket, storage_seconds=0.05)
    bucket.hold("PutObject", times=None)
    upload = await site.create(9)
    writing = await site.patch(upload.id)
    await writing.put(b"abc")
    with pytest.raises(StorageFault):
        await writing.leave()
    writing.writer.close()
    row = await site.row(upload.id)
    assert row.status is UploadStatus.UPLOADING
    assert row.upload_offset == 0
    assert row.placement is not None
    assert row.placement.unsettled
    await asyncio.sleep(0)
    await site.close()


# --- pieces and memory --------------------------------------------------------------------------------------------


async def test_the_node_that_wrote_the_pieces_does_not_read_them_back(site: Site, bucket: MemoryBucket) -> None:
    content = some(2 * PART_BYTES)
    upload = await site.create(len(content))
    for start in range(0, len(content), 10_000):
        await site.append(upload.id, content[start : start + 10_000])
    assert bucket.read_bytes == 0
    assert bucket.objects[f"uploads/{upload.id}"].content == content


async def test_another_node_reads_back_what_it_needs_and_nothing_twice(site: Site, bucket: MemoryBucket) -> None:
    content = some(2 * PART_BYTES)
    upload = await site.create(len(content))
    await site.append(upload.id, content[: PART_BYTES - 1])
    other = site.add_node()
    await site.append(upload.id, content[PART_BYTES - 1 : PART_BYTES + 7], other)
    assert bucket.read_bytes == PART_BYTES - 1
    await site.append(upload.id, content[PART_BYTES + 7 :])
    assert bucket.read_bytes == PART_BYTES - 1 + 7
    assert await site.read(upload.id) == content


async def test_memory_of_a_commit_that_failed_is_not_trusted(site: Site, bucket: MemoryBucket) -> None:
    """The row does not know the piece, and another node has gone on with other bytes."""
    upload = await site.create(2 * PART_BYTES)
    writing = await site.patch(upload.id)
    await writing.put(some(1000, 1))
    await writing.writer.sync(flush=True)
    writing.writer.close()
    content = some(2 * PART_BYTES, 2)
    await site.append(upload.id, content[:1000], site.add_node())
    await site.append(upload.id, content[1000:])
    assert await site.read(upload.id) == content


@pytest.mark.parametrize("length", [PART_BYTES, 3 * PART_BYTES])
async def test_a_flipped_byte_is_found_and_fetched_again(site: Site, bucket: MemoryBucket, length: int) -> None:
    """Fault S14."""
    bucket.flip()
    content = some(length)
    upload = await site.create(length)
    await site.append(upload.id, content[:5000])
    await site.append(upload.id, content[5000:], site.add_node())
    assert bucket.objects[f"uploads/{upload.id}"].content == content
    assert bucket.calls["GetObject"] == 2


@pytest.mark.parametrize("length", [PART_BYTES, 3 * PART_BYTES])
async def test_a_piece_that_stays_damaged_is_never_acknowledged(site: Site, bucket: MemoryBucket, length: int) -> None:
    """Fault S14; I2, I7."""
    bucket.flip(times=None)
    content = some(length)
    upload = await site.create(length)
    await site.append(upload.id, content[:5000])
    with pytest.raises(BytesMissing):
        await site.append(upload.id, content[5000:], site.add_node())
    assert f"uploads/{upload.id}" not in bucket.objects

"""What is left behind is removed, all of it, and nothing else (I8)."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.stores.s3.harness import PART_BYTES, Site
from tests.stores.s3.test_single import foreign
from tests.support.memory_bucket import MemoryBucket
from tuspy_server.model import UploadStatus
from tuspy_server.protocol.errors import StorageFault
from tuspy_server.stores.s3.errors import NotSupported
from tuspy_server.stores.s3.values import ObjectHeaders

CONTENT = random.Random(1).randbytes(3 * PART_BYTES)


async def neighbours(bucket: MemoryBucket, upload_id: str) -> set[str]:
    """Keys that begin alike, or lie next to it; none of them is this upload's."""
    keys = {
        f"uploads/{upload_id}x",
        f"uploads/{upload_id}/x",
        f"uploads/tmp/{upload_id}x/w-1",
        f"uploads/tmp/{'0' * 32}/w-1",
        f"tmp/{upload_id}/w-1",
        upload_id,
    }
    for key in keys:
        await bucket.put_object(key, [], crc32c=0, headers=ObjectHeaders())
    await bucket.create_multipart(f"uploads/{upload_id}x", ObjectHeaders())
    return keys


@pytest.mark.parametrize("status", [UploadStatus.TERMINATED, UploadStatus.FAILED])
@pytest.mark.parametrize("sent", [0, 5, PART_BYTES + 5, 3 * PART_BYTES - 1])
async def test_an_upload_that_ends_unfinished_leaves_nothing(
    site: Site, bucket: MemoryBucket, status: UploadStatus, sent: int
) -> None:
    upload = await site.create(len(CONTENT))
    if sent:
        await site.append(upload.id, CONTENT[:sent])
    keys = await neighbours(bucket, upload.id)
    await site.end(upload.id, status)
    await site.clean()
    assert bucket.objects.keys() == keys
    assert len(bucket.multiparts) == 1
    await site.clean_later()
    assert bucket.objects.keys() == keys


async def test_a_finished_upload_that_is_terminated_leaves_nothing(site: Site, bucket: MemoryBucket) -> None:
    upload = await site.create(len(CONTENT))
    await site.append(upload.id, CONTENT[:5])
    await site.append(upload.id, CONTENT[5:])
    await site.end(upload.id)
    await site.clean_later()
    assert not bucket.objects


async def test_a_finish_without_trouble_is_cleaned_up_without_listing(site: Site, bucket: MemoryBucket) -> None:
    upload = await site.create(len(CONTENT))
    for start in range(0, len(CONTENT), 1000):
        await site.append(upload.id, CONTENT[start : start + 1000])
    keys = await neighbours(bucket, upload.id)
    await site.clean()
    assert bucket.calls["ListObjectsV2"] == bucket.calls["ListMultipartUploads"] == 0
    assert bucket.objects.keys() == {*keys, f"uploads/{upload.id}"}


async def test_a_crash_between_the_storage_and_the_row_leaves_nothing(site: Site, bucket: MemoryBucket) -> None:
    """Fault C08: a multipart upload and pieces that no row names."""
    upload = await site.create(len(CONTENT))
    dead = await site.patch(upload.id, node=site.add_node())
    await dead.put(CONTENT[: PART_BYTES + 5])
    await dead.writer.sync(flush=True)  # no commit
    assert len(bucket.multiparts) == 1
    dead.writer.close()
    await site.append(upload.id, CONTENT)
    assert len(bucket.multiparts) == 1, "the other one is complete"
    keys = await neighbours(bucket, upload.id)
    await site.clean()
    assert bucket.objects.keys() == {*keys, f"uploads/{upload.id}"}
    assert len(bucket.multiparts) == 1, "a neighbour's"
    assert await site.read(upload.id) == CONTENT


async def test_what_lands_after_the_end_is_removed_later(site: Site, bucket: MemoryBucket) -> None:
    """Faults S08, K03: a part and a piece that were under way."""
    late_part, late_piece = bucket.late("UploadPart"), bucket.late("PutObject")
    upload = await site.create(len(CONTENT))
    writing = await site.patch(upload.id)
    await writing.put(CONTENT[: PART_BYTES + 5])
    with pytest.raises(StorageFault):
        await writing.leave()
    await site.end(upload.id)
    await site.clean()
    assert not bucket.multiparts
    assert late_part.land(), "refused: there is no such upload"
    late_piece.land()
    assert bucket.objects
    await site.clean_later()
    assert not bucket.objects


async def test_an_abort_that_a_part_outlives_is_repeated(site: Site, bucket: MemoryBucket) -> None:
    """Fault S08."""
    upload = await site.create(len(CONTENT))
    await site.append(upload.id, CONTENT[: PART_BYTES + 5])
    kept = dict(bucket.multiparts)
    times = iter([True, True])

    original = bucket.abort_multipart

    async def abort(key: str, multipart_id: str) -> None:
        await original(key, multipart_id)
        if next(times, False):
            bucket.multiparts.update(kept)

    bucket.abort_multipart = abort  # type: ignore[method-assign]
    await site.end(upload.id)
    await site.clean()
    assert not bucket.multiparts
    assert bucket.calls["AbortMultipartUpload"] == 3


async def test_the_writer_of_an_upload_that_is_cleaned_is_fenced(site: Site, bucket: MemoryBucket) -> None:
    """Fault K03."""
    held = bucket.hold("UploadPart")
    upload = await site.create(len(CONTENT))
    writing = await site.patch(upload.id)
    await writing.put(CONTENT[:PART_BYTES])
    await held.arrived.wait()
    await site.end(upload.id)
    await site.clean()
    assert not bucket.multiparts
    writing.writer.close()
    assert held.land()
    await asyncio.sleep(0)


async def test_another_uploads_object_is_left_alone(site: Site, bucket: MemoryBucket) -> None:
    """I9."""
    upload = await site.create(3)
    await foreign(bucket, f"uploads/{upload.id}")
    await site.end(upload.id)
    await site.clean()
    assert bucket.objects.keys() == {f"uploads/{upload.id}"}


async def test_a_store_that_does_not_list_multiparts_is_cleaned_as_far_as_is_known(
    site: Site, bucket: MemoryBucket
) -> None:
    bucket.refuse("ListMultipartUploads", NotSupported("ListMultipartUploads", "NotImplemented", 501), times=None)
    upload = await site.create(len(CONTENT))
    await site.append(upload.id, CONTENT[: PART_BYTES + 5])
    await site.end(upload.id)
    await site.clean()
    assert not bucket.multiparts
    assert not bucket.objects


async def test_a_cleanup_that_fails_is_tried_again(site: Site, bucket: MemoryBucket) -> None:
    upload = await site.create(len(CONTENT))
    await site.append(upload.id, CONTENT[:5])
    bucket.refuse("DeleteObjects")
    await site.end(upload.id)
    with pytest.raises(StorageFault):
        await site.clean()
    await site.clean()
    assert not bucket.objects


async def test_the_check_leaves_nothing_and_tells_of_trouble(site: Site, bucket: MemoryBucket) -> None:
    await site.node.blobs.check()
    assert not bucket.objects
    await bucket.put_object("x", [], crc32c=0, headers=ObjectHeaders())
    bucket.flip()
    bucket.refuse("PutObject")
    for _ in range(2):
        with pytest.raises(StorageFault):
            await site.node.blobs.check()
    assert bucket.objects.keys() == {"x"}

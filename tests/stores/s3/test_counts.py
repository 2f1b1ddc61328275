"""How many calls an upload costs: the table of the architecture."""

from __future__ import annotations

import random

import pytest

from tests.stores.s3.harness import KIB, MIB, Site
from tests.support.memory_bucket import MemoryBucket


@pytest.fixture
def large(bucket: MemoryBucket) -> Site:
    return Site(bucket, part_bytes=8 * MIB, pool_bytes=64 * MIB)


async def test_a_small_upload_is_one_call(site: Site, bucket: MemoryBucket) -> None:
    content = random.Random(1).randbytes(KIB)
    upload = await site.create(KIB)
    await site.append(upload.id, content)
    assert bucket.calls == {"PutObject": 1}
    assert await site.read(upload.id) == content
    await site.clean()
    assert bucket.calls == {"PutObject": 1, "GetObject": 1}


async def test_an_upload_of_no_bytes_is_one_call(site: Site, bucket: MemoryBucket) -> None:
    """Fault S21."""
    upload = await site.create(0)
    await site.append(upload.id, b"")
    assert bucket.calls == {"PutObject": 1}
    assert bucket.objects[f"uploads/{upload.id}"].content == b""
    assert await site.read(upload.id) == b""


async def test_100_mib_in_one_patch_are_parts_and_two_calls(large: Site, bucket: MemoryBucket) -> None:
    content = random.Random(2).randbytes(100 * MIB)
    upload = await large.create(100 * MIB)
    await large.append(upload.id, content)
    assert bucket.calls == {"CreateMultipartUpload": 1, "UploadPart": 13, "CompleteMultipartUpload": 1}
    assert bucket.sent_bytes == 100 * MIB
    assert bucket.objects[f"uploads/{upload.id}"].content == content
    await large.clean()
    assert sum(bucket.calls.values()) == 15
    await large.close()


async def test_100_mib_in_patches_of_1_mib(large: Site, bucket: MemoryBucket) -> None:
    content = random.Random(3).randbytes(100 * MIB)
    upload = await large.create(100 * MIB)
    for start in range(0, 100 * MIB, MIB):
        await large.append(upload.id, memoryview(content)[start : start + MIB])
    await large.clean()
    assert bucket.calls == {
        "CreateMultipartUpload": 1,
        "UploadPart": 13,
        "CompleteMultipartUpload": 1,
        "PutObject": 87,
        "DeleteObjects": 1,
    }
    assert sum(bucket.calls.values()) == 103
    assert bucket.read_bytes == 0
    assert bucket.sent_bytes == 187 * MIB
    assert bucket.objects.keys() == {f"uploads/{upload.id}"}
    assert bucket.objects[f"uploads/{upload.id}"].content == content
    await large.close()


async def test_patches_of_1_kib_write_their_bytes_some_few_times(bucket: MemoryBucket) -> None:
    """Merged 16 to 1: 2 MiB in 2,048 PATCHes."""
    site = Site(bucket, part_bytes=4 * MIB)
    content = random.Random(4).randbytes(2 * MIB)
    upload = await site.create(2 * MIB)
    for start in range(0, 2 * MIB, KIB):
        await site.append(upload.id, memoryview(content)[start : start + KIB])
    assert bucket.calls["GetObject"] == 0
    assert bucket.sent_bytes <= 4.6 * 2 * MIB
    assert bucket.objects[f"uploads/{upload.id}"].content == content
    await site.clean()
    assert bucket.objects.keys() == {f"uploads/{upload.id}"}
    await site.close()

"""Objects and buckets that are not ours, or were once: what a review of chosen ids has found."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.stores.s3.harness import PART_BYTES, Site
from tests.support.memory_bucket import MemoryBucket
from tuspy_server.protocol.errors import BytesMissing, TryLater
from tuspy_server.stores.s3.buckets import Buckets
from tuspy_server.stores.s3.crc import crc32c_of
from tuspy_server.stores.s3.keys import Keys
from tuspy_server.stores.s3.values import ObjectHeaders


async def unmarked(bucket: MemoryBucket, key: str) -> None:
    content = [memoryview(b"precious")]
    await bucket.put_object(key, content, crc32c=crc32c_of(content), headers=ObjectHeaders())


async def test_an_object_without_our_mark_is_not_deleted(site: Site, bucket: MemoryBucket) -> None:
    """pre_create has chosen the id or the key; the bucket has somebody else's object there."""
    upload = await site.create(5)
    assert upload.placement is not None
    key = upload.placement.key
    await unmarked(bucket, key)
    await site.end(upload.id)
    await site.clean()
    assert key in bucket.objects


async def test_an_object_without_our_mark_is_not_replaced(site: Site, bucket: MemoryBucket) -> None:
    upload = await site.create(5)
    assert upload.placement is not None
    key = upload.placement.key
    await unmarked(bucket, key)
    with pytest.raises(BytesMissing):
        await site.append(upload.id, b"01234")
    assert bucket.objects[key].content == b"precious"


CONTENT = bytes(PART_BYTES) + b"1"


async def test_an_object_that_came_to_a_chosen_key_meanwhile_is_not_overwritten(
    site: Site, bucket: MemoryBucket
) -> None:
    """The key was free when the hook chose it; parts take hours to come, and somebody else knows the key."""
    upload = await site.create(len(CONTENT), key="reports/2026")
    assert upload.placement is not None
    key = upload.placement.key
    await site.append(upload.id, CONTENT[:-1])
    await unmarked(bucket, key)
    with pytest.raises(BytesMissing):
        await site.append(upload.id, CONTENT[-1:])
    assert bucket.objects[key].content == b"precious"


async def test_a_multipart_upload_of_another_program_at_a_chosen_key_goes_on(site: Site, bucket: MemoryBucket) -> None:
    """I9: the listing does not say whose it is. Only the one that is recorded is aborted."""
    upload = await site.create(len(CONTENT), key="reports/2026")
    assert upload.placement is not None
    await site.append(upload.id, CONTENT[:-1])
    theirs = await bucket.create_multipart(upload.placement.key, ObjectHeaders())
    assert len(bucket.multiparts) == 2
    await site.end(upload.id)
    await site.clean_later()
    assert list(bucket.multiparts) == [theirs]
    assert not bucket.objects


async def test_our_own_object_at_a_chosen_key_is_known_after_a_lost_answer(site: Site, bucket: MemoryBucket) -> None:
    """S06 (I7)."""
    upload = await site.create(len(CONTENT), key="reports/2026")
    bucket.lost("CompleteMultipartUpload")
    bucket.refuse("HeadObject", matches=lambda _: bool(bucket.objects))
    with pytest.raises(TryLater):
        await site.append(upload.id, CONTENT)
    await site.reassemble(upload.id)
    assert await site.read(upload.id) == CONTENT


class Other(MemoryBucket):
    async def open(self) -> None: ...

    async def close(self) -> None: ...


async def test_buckets_that_rows_name_can_be_reached() -> None:
    """I12: placements were granted one after the other; nothing opened them."""
    buckets = Buckets(MemoryBucket(), "own", lambda _: Other())
    names = [buckets.checked(f"tenant-{n}") for n in range(65)]
    for name in names:
        await buckets.of(name)


def test_a_tenant_may_be_named_tmp() -> None:
    Keys("{tenant}/{id}").object_key("a" * 32, datetime(2026, 1, 1, tzinfo=UTC), "tmp")


async def test_no_upload_has_its_pieces_where_the_probes_are(site: Site) -> None:
    """Its cleanup would take away what another node is just trying the bucket out with."""
    for key in (None, "report"):
        with pytest.raises(ValueError, match="probes"):
            site.node.blobs.place("probe", 1, key=key)
    assert site.node.blobs.place("probe-1", 1).key

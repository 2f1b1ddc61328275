"""Objects and buckets that are not ours, or were once: what a review of chosen ids has found."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.stores.s3.harness import Site
from tests.support.memory_bucket import MemoryBucket
from tuspy_server.protocol.errors import BytesMissing
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

"""Objects that one call puts: whose object is under the key, and who may replace it (faults K05, S19)."""

from __future__ import annotations

import asyncio

import pytest

from tests.stores.s3.harness import Site
from tests.support.memory_bucket import MemoryBucket
from tuspy_server.protocol.errors import BytesMissing, StorageFault, TryLater, WriterFenced
from tuspy_server.stores.s3.errors import ConditionalConflict
from tuspy_server.stores.s3.values import ObjectHeaders


async def foreign(bucket: MemoryBucket, key: str) -> None:
    headers = ObjectHeaders(metadata={"tuspy-upload-id": "f" * 32})
    await bucket.put_object(key, [], crc32c=0, headers=headers)


@pytest.mark.parametrize("new", [b"the same", b"others, more"])
async def test_a_fenced_writers_put_that_came_first_is_replaced(site: Site, bucket: MemoryBucket, new: bytes) -> None:
    """K05: its answer was lost with its node; the row knows nothing of it."""
    upload = await site.create(len(new))
    early = await site.patch(upload.id, node=site.add_node())
    await early.put(b"the same"[: len(new)])
    await early.put(b"." * max(len(new) - 8, 0))
    await early.writer.finish()
    late = await site.patch(upload.id)
    await late.put(new)
    assert await late.finish()
    assert await site.read(upload.id) == new
    early.writer.close()


@pytest.mark.parametrize("when", ["put", "head"])
async def test_a_fenced_writers_put_that_comes_late_changes_nothing(
    site: Site, bucket: MemoryBucket, when: str
) -> None:
    """K05: a finished object never changes; not by one that was paused between its two calls either."""
    upload = await site.create(3)
    early = await site.patch(upload.id, node=site.add_node())
    await early.put(b"old")
    if when == "head":  # something of an even earlier writer is there
        ours = {"tuspy-upload-id": upload.id, "tuspy-claimed-at": "2000-01-01T00:00:00+00:00"}
        await bucket.put_object(f"uploads/{upload.id}", [], crc32c=0, headers=ObjectHeaders(metadata=ours))
    held = bucket.hold("PutObject" if when == "put" else "HeadObject")
    finishing = asyncio.create_task(early.finish())
    await held.arrived.wait()
    late = await site.patch(upload.id)
    await late.put(b"new")
    assert await late.finish()
    before = bucket.objects[f"uploads/{upload.id}"]
    held.release()
    with pytest.raises(WriterFenced):
        await finishing
    early.writer.close()
    assert bucket.objects[f"uploads/{upload.id}"] is before
    assert await site.read(upload.id) == b"new"


async def test_a_fenced_writer_replaces_nothing_that_a_third_one_finds_to_be_its_own(
    site: Site, bucket: MemoryBucket
) -> None:
    """I2, K05: the ETag of the same bytes is the same, so that `If-Match` would hold for the fenced one's late call."""
    upload = await site.create(3)
    writings = []
    for content in (b"new", b"old"):
        writings.append(await site.patch(upload.id, node=site.add_node()))
        await writings[-1].put(content)
    first, second = writings
    await first.writer.finish()
    looking = bucket.hold("HeadObject")
    finishing = asyncio.create_task(second.finish())
    await looking.arrived.wait()
    late = bucket.hold("PutObject", lambda call: call.body == b"old")
    looking.release()
    await late.arrived.wait()
    third = await site.patch(upload.id)
    await third.put(b"new")
    assert await third.finish()
    late.release()
    assert await finishing is None
    first.writer.close()
    assert await site.read(upload.id) == b"new"


async def test_a_lost_complete_is_not_settled_by_the_object_that_it_replaces(site: Site, bucket: MemoryBucket) -> None:
    """I2, S06: it is this upload's, and as long."""
    upload = await site.create(3)
    early = await site.patch(upload.id, node=site.add_node())
    await early.put(b"old")
    await early.writer.finish()
    bucket.late("CompleteMultipartUpload")
    writing = await site.patch(upload.id)
    await writing.put(b"new")
    with pytest.raises(StorageFault):
        await writing.finish()
    row = await site.row(upload.id)
    etag = await site.node.blobs.assemble(row, await site.rows.assembly(row.id))
    assert bucket.objects[f"uploads/{upload.id}"].etag == etag
    assert bucket.objects[f"uploads/{upload.id}"].content == b"new"
    early.writer.close()


async def test_another_uploads_object_is_never_replaced(site: Site, bucket: MemoryBucket) -> None:
    """S19, I9."""
    upload = await site.create(3)
    await foreign(bucket, f"uploads/{upload.id}")
    writing = await site.patch(upload.id)
    await writing.put(b"new")
    with pytest.raises(BytesMissing):
        await writing.finish()
    writing.writer.close()
    assert bucket.objects[f"uploads/{upload.id}"].content == b""


async def test_a_lost_answer_is_settled_by_looking(site: Site, bucket: MemoryBucket) -> None:
    """S02, S06."""
    bucket.lost("PutObject")
    upload = await site.create(3)
    await site.append(upload.id, b"abc")
    assert await site.read(upload.id) == b"abc"
    assert (await site.row(upload.id)).placement.unsettled  # type: ignore[union-attr]
    await site.clean_later()
    assert bucket.objects.keys() == {f"uploads/{upload.id}"}


async def test_a_put_that_may_land_yet_is_not_believed(site: Site, bucket: MemoryBucket) -> None:
    late = bucket.late("PutObject", times=None)
    upload = await site.create(3)
    with pytest.raises(StorageFault):
        await site.append(upload.id, b"old")
    late.times = 0
    await site.append(upload.id, b"new")
    late.land()
    assert await site.read(upload.id) == b"new"


async def test_a_409_is_tried_again_and_not_for_ever(site: Site, bucket: MemoryBucket) -> None:
    conflict = ConditionalConflict("PutObject", "ConditionalRequestConflict", 409)
    bucket.refuse("PutObject", conflict, times=2)
    upload = await site.create(3)
    await site.append(upload.id, b"abc")
    assert bucket.calls["PutObject"] == 3
    bucket.refuse("PutObject", conflict, times=None)
    upload = await site.create(3)
    with pytest.raises(TryLater):
        await site.append(upload.id, b"abc")


async def test_where_conditions_are_not_obeyed_no_late_put_can_do_harm(bucket: MemoryBucket) -> None:
    """K05 on such stores: everything is a multipart upload, zero bytes too."""
    bucket.ignores_conditions = True
    site = Site(bucket, puts_single=False)
    for content in (b"", b"abc"):
        upload = await site.create(len(content))
        await site.append(upload.id, content)
        assert await site.read(upload.id) == content
    assert bucket.calls["PutObject"] == 0
    await site.close()

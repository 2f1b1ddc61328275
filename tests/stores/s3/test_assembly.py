"""Putting together: repeated, by two at once, after lost answers, with parts that somebody else has changed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.stores.s3.harness import PART_BYTES, Site, until
from tests.stores.s3.test_single import foreign
from tests.support.memory_bucket import Call, MemoryBucket, Stored
from tuspy_server.model import PARTS_IN_FLIGHT, Upload, UploadStatus
from tuspy_server.ports import Assembly
from tuspy_server.protocol.errors import BytesMissing, StorageFault, TryLater
from tuspy_server.stores.s3.crc import crc32c_of
from tuspy_server.stores.s3.errors import NotSupported, S3Error, Unavailable

CONTESTED = 1 + PARTS_IN_FLIGHT
"""Parts that a claim over a writer contests which has not written yet; what follows them is a part of its own."""

CONTENT = random.Random(1).randbytes(CONTESTED * PART_BYTES + 99)
COMPLETE = "CompleteMultipartUpload"


async def completing(site: Site, bucket: MemoryBucket, *, contested: bool = False) -> Upload:
    """All bytes are durable; whoever was to put them together is gone."""
    upload = await site.create(len(CONTENT))
    if contested:
        await site.patch(upload.id, node=site.add_node())
    refused = bucket.refuse(COMPLETE, times=None)
    copies = bucket.refuse("UploadPartCopy", times=None)
    with pytest.raises(TryLater):
        await site.append(upload.id, CONTENT)
    refused.times = copies.times = 0
    row = await site.row(upload.id)
    assert row.status is UploadStatus.COMPLETING
    return row


async def assembled(site: Site, bucket: MemoryBucket, row: Upload) -> None:
    await site.reassemble(row.id)
    assert bucket.objects[f"uploads/{row.id}"].content == CONTENT
    await site.clean_later()
    assert bucket.objects.keys() == {f"uploads/{row.id}"}
    assert not bucket.multiparts


@pytest.mark.parametrize("contested", [True, False])
async def test_it_is_put_together_by_whoever_comes_next(site: Site, bucket: MemoryBucket, *, contested: bool) -> None:
    """Faults C04, C05."""
    row = await completing(site, bucket, contested=contested)
    await assembled(site, bucket, row)
    assert bucket.calls["UploadPartCopy"] == (2 * CONTESTED if contested else 0), "refused to the one who is gone"


@pytest.mark.parametrize("operation", [COMPLETE, "UploadPartCopy"])
@pytest.mark.parametrize("kind", ["lost", "late", "refuse"])
async def test_each_call_of_it_may_fail_at_any_time(
    site: Site, bucket: MemoryBucket, operation: str, kind: str
) -> None:
    """Faults S02, S05, S06: as often as it takes."""
    row = await completing(site, bucket, contested=True)
    rule = getattr(bucket, kind)(operation)
    try:
        await site.reassemble(row.id)
    except TryLater:
        rule.land()
        await site.reassemble(row.id)
    assert bucket.objects[f"uploads/{row.id}"].content == CONTENT
    await site.clean_later()
    assert bucket.objects.keys() == {f"uploads/{row.id}"}


async def test_one_that_was_done_before_is_found(site: Site, bucket: MemoryBucket) -> None:
    """Fault S06: the reply was lost with the node, the next one hears NoSuchUpload."""
    row = await completing(site, bucket)
    blobs, assembly = site.node.blobs, await site.rows.assembly(row.id)
    etag = await blobs.assemble(row, assembly)
    assert await blobs.assemble(row, assembly) == etag


@pytest.mark.parametrize("contested", [True, False])
async def test_two_at_once(bucket: MemoryBucket, *, contested: bool) -> None:
    """ETags that differ each time, as with buckets that encrypt."""
    bucket._random_etags = True
    site = Site(bucket)
    row = await completing(site, bucket, contested=contested)
    assembly = await site.rows.assembly(row.id)
    nodes = [site.node, site.add_node()]
    etags = await asyncio.gather(*(node.blobs.assemble(row, assembly) for node in nodes))
    assert etags[0] == etags[1]
    await assembled(site, bucket, row)
    await site.close()


@pytest.mark.parametrize("operation", [COMPLETE, "UploadPartCopy"])
async def test_one_that_is_cancelled_anywhere_is_begun_again(site: Site, bucket: MemoryBucket, operation: str) -> None:
    row = await completing(site, bucket, contested=True)
    held = bucket.hold(operation)
    task = asyncio.create_task(site.reassemble(row.id))
    await held.arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await site.reassemble(row.id)
    held.land()
    assert bucket.objects[f"uploads/{row.id}"].content == CONTENT


async def test_a_foreign_object_is_no_success(site: Site, bucket: MemoryBucket) -> None:
    """I7: 404 alone is neither failure nor success."""
    row = await completing(site, bucket)
    bucket.multiparts.clear()
    with pytest.raises(BytesMissing):
        await site.reassemble(row.id)
    await foreign(bucket, f"uploads/{row.id}")
    with pytest.raises(BytesMissing):
        await site.reassemble(row.id)


def other_part(bucket: MemoryBucket, number: int, content: bytes) -> Callable[[Call], bool]:
    """A fenced writer's part lands just before Complete."""

    def land(_: Call) -> bool:
        for multipart in bucket.multiparts.values():
            multipart.parts[number] = Stored(content, bucket._etag(content), crc32c=crc32c_of([memoryview(content)]))
        return False

    return land


async def test_a_contested_part_that_was_changed_is_put_again(site: Site, bucket: MemoryBucket) -> None:
    """Fault K05: with other bytes."""
    row = await completing(site, bucket, contested=True)
    landings = iter([True, True])
    land = other_part(bucket, 2, bytes(PART_BYTES))
    bucket.refuse(COMPLETE, matches=lambda call: land(call) if next(landings, False) else False, times=None)
    await assembled(site, bucket, row)


async def test_the_same_bytes_under_another_etag_are_taken(site: Site, bucket: MemoryBucket) -> None:
    """Fault S07, where ETags say nothing: the late landing of a part's first try."""
    bucket._random_etags = True
    row = await completing(site, bucket)
    land = other_part(bucket, 2, CONTENT[PART_BYTES : 2 * PART_BYTES])
    landings = iter([True])
    bucket.refuse(COMPLETE, matches=lambda call: land(call) if next(landings, False) else False, times=None)
    uploaded = bucket.calls["UploadPart"]
    await assembled(site, bucket, row)
    assert bucket.calls["UploadPart"] == uploaded
    assert bucket.calls["ListParts"] >= 1


async def test_a_part_that_counts_and_is_not_there_is_a_loss(site: Site, bucket: MemoryBucket) -> None:
    """I2: never an object of other bytes."""
    row = await completing(site, bucket)
    other_part(bucket, 2, bytes(PART_BYTES))(Call("", ""))
    with pytest.raises(BytesMissing):
        await site.reassemble(row.id)
    assert f"uploads/{row.id}" not in bucket.objects


async def test_a_stale_listing_is_not_believed_at_once(site: Site, bucket: MemoryBucket) -> None:
    """Fault S09."""
    row = await completing(site, bucket)
    multipart = next(iter(bucket.multiparts.values()))
    hidden = multipart.parts.pop(3)
    task = asyncio.create_task(site.reassemble(row.id))
    await until(lambda: bucket.calls["ListParts"] > 0)
    multipart.parts[3] = hidden
    await task
    assert bucket.objects[f"uploads/{row.id}"].content == CONTENT


async def test_a_part_of_the_wrong_size_is_a_loss(site: Site, bucket: MemoryBucket) -> None:
    """I2, fault S11."""
    row = await completing(site, bucket)
    assembly = await site.rows.assembly(row.id)
    parts = [replace(assembly.parts[0], part_bytes=PART_BYTES - 1), *assembly.parts[1:]]
    with pytest.raises(BytesMissing):
        await site.node.blobs.assemble(row, Assembly(parts=parts, pieces=assembly.pieces))


@pytest.mark.parametrize("missing", ["row", "object"])
async def test_a_piece_that_is_missing_is_a_loss(site: Site, bucket: MemoryBucket, missing: str) -> None:
    row = await completing(site, bucket, contested=True)
    assembly = await site.rows.assembly(row.id)
    if missing == "object":
        del bucket.objects[assembly.pieces[1].key]
    pieces = assembly.pieces if missing == "object" else assembly.pieces[:1]
    with pytest.raises(BytesMissing):
        await site.node.blobs.assemble(row, Assembly(parts=assembly.parts, pieces=pieces))
    assert site.node.pool.used_bytes == 0


async def test_where_parts_cannot_be_copied_they_are_read_and_sent(site: Site, bucket: MemoryBucket) -> None:
    row = await completing(site, bucket, contested=True)
    bucket.refuse("UploadPartCopy", NotSupported("UploadPartCopy", "NotImplemented", 501), times=None)
    await assembled(site, bucket, row)
    assert bucket.read_bytes == CONTESTED * PART_BYTES


@pytest.mark.parametrize(
    "error", [Unavailable(COMPLETE, "InternalError", 200, outcome_unknown=True), S3Error("X", "X", 400)]
)
async def test_what_stays_wrong_stays_to_be_done(site: Site, bucket: MemoryBucket, error: S3Error) -> None:
    """Fault S05: 200 with an error, always."""
    row = await completing(site, bucket)
    bucket.refuse(COMPLETE, error, times=None)
    with pytest.raises(StorageFault):
        await site.reassemble(row.id)
    assert (await site.row(row.id)).status is UploadStatus.COMPLETING

"""The faults of the catalogue on a real gateway: what was acknowledged is safe, the upload goes on, nothing is left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Literal

import pytest

from tests.stores.s3.gateways import a_site
from tests.stores.s3.harness import MIB, Site
from tests.support.strict_s3 import (
    CutBody,
    ErrorInOk,
    Fault,
    FlipIn,
    FlipOut,
    HideParts,
    LoseAnswer,
    Stall,
    Status,
    StrictS3,
)
from tuspy_server.model import UploadStatus
from tuspy_server.protocol.errors import BytesMissing, StorageFull, TryLater, WriterFenced

pytestmark = pytest.mark.parametrize("gateway", ["rclone"], indirect=True)

PART = 5 * MIB
CONTENT = random.Random(1).randbytes(2 * PART + 1000)


@pytest.fixture
async def faulty(strict_s3: StrictS3) -> AsyncIterator[Site]:
    async with a_site(strict_s3, part_bytes=PART, call_seconds=3, attempt_seconds=0.7) as site:
        yield site


async def go_on(site: Site, upload_id: str, content: bytes = CONTENT) -> None:
    """From the offset of the row to the end, as often as it takes; then all must be well."""
    for _ in range(5):
        row = await site.row(upload_id)
        if row.status is UploadStatus.FINISHED:
            break
        try:
            if row.status is UploadStatus.COMPLETING:
                await site.reassemble(upload_id)
            else:
                await site.append(upload_id, memoryview(content)[row.upload_offset :])
        except TryLater:
            continue
    assert await site.read(upload_id) == content
    await site.clean_later()
    assert list(await site.bucket.list_objects("")) == [f"uploads/{upload_id}"]
    assert not await site.bucket.list_multiparts("")


async def never_falls(site: Site, upload_id: str, content: bytes = CONTENT) -> int:
    """One PATCH that may fail; returns the offset that is acknowledged afterwards."""
    before = (await site.row(upload_id)).upload_offset
    writing = await site.patch(upload_id)
    try:
        await writing.put(content[before:])
        await writing.finish()
    except TryLater:
        with suppress(WriterFenced):
            await writing.settle()
    after = (await site.row(upload_id)).upload_offset
    assert after >= before
    return after


@pytest.mark.parametrize("length", [1000, len(CONTENT)])
@pytest.mark.parametrize(
    "fault",
    [
        Status(503, "SlowDown"),
        Status(500, "InternalError", stage="after_apply"),
        LoseAnswer(),
        CutBody(600),
        Stall(),
        FlipIn(5),
    ],
    ids=["S01", "S01-applied", "S02", "S03", "S04", "S14"],
)
@pytest.mark.parametrize("times", [1, 4])
async def test_calls_that_carry_bytes(faulty: Site, strict_s3: StrictS3, fault: Fault, length: int, times: int) -> None:
    """Faults S01, S02, S03, S04, S14: once, and longer than anybody is willing to wait."""
    content = CONTENT[:length]
    upload = await faulty.create(length)
    operation = "PutObject" if length == 1000 else "UploadPart"
    strict_s3.fail(operation, with_=fault, nth=1 if length == 1000 else 2, times=times)
    await never_falls(faulty, upload.id, content)
    strict_s3.heal()
    await go_on(faulty, upload.id, content)


@pytest.mark.parametrize(
    "fault",
    [Status(503, "SlowDown"), LoseAnswer(), ErrorInOk(), ErrorInOk(applied=True), Stall(stage="after_apply"), Stall()],
    ids=["S01", "S06", "S05", "S05-applied", "S06-stalled", "S04"],
)
async def test_complete(faulty: Site, strict_s3: StrictS3, fault: Fault) -> None:
    """Faults S01, S05, S06; I7: never taken for done when it is not, and found when it is."""
    upload = await faulty.create(len(CONTENT))
    strict_s3.fail("CompleteMultipartUpload", with_=fault)
    try:
        await faulty.append(upload.id, CONTENT)
    except TryLater:
        row = await faulty.row(upload.id)
        assert row.status is UploadStatus.COMPLETING
        assert row.upload_offset < len(CONTENT)
    await go_on(faulty, upload.id)


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "PutObject"])
async def test_a_lost_answer_leaves_nothing_behind(faulty: Site, strict_s3: StrictS3, operation: str) -> None:
    """Faults S02, C08: two multipart uploads, or a piece twice."""
    upload = await faulty.create(len(CONTENT))
    strict_s3.fail(operation, with_=LoseAnswer())
    await faulty.append(upload.id, CONTENT[: PART + 5])
    await go_on(faulty, upload.id)


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("length", [1000, len(CONTENT)])
async def test_a_paused_nodes_call_lands_late(faulty: Site, strict_s3: StrictS3, length: int, *, same: bool) -> None:
    """Faults K05, S07: of a writer that was fenced meanwhile, with the same and with other bytes."""
    content = CONTENT[:length]
    first = 100 if length == 1000 else PART  # so that both write into one multipart upload
    other = content[first:] if same else bytes(length - first)
    upload = await faulty.create(length)
    await faulty.append(upload.id, content[:first])
    hold = strict_s3.hold("PutObject" if length == 1000 else "UploadPart")
    paused = await faulty.patch(upload.id, node=faulty.add_node())
    await paused.put(other)
    finishing = asyncio.create_task(paused.finish())
    await hold.reached()
    writing = await faulty.patch(upload.id)
    await writing.put(content[first:])
    if length > PART:
        completing = strict_s3.hold("CompleteMultipartUpload")
        finish = asyncio.create_task(writing.finish())
        await completing.reached()
        hold.release()
        await hold.done()
        completing.release()
        assert await finish
    else:
        assert await writing.finish()
        hold.release()
        await hold.done()
    with suppress(WriterFenced, TryLater, BytesMissing):
        assert await finishing is None, "its commit matches no row"
    paused.writer.close()
    await go_on(faulty, upload.id, content)


@pytest.mark.parametrize(
    ("replaces", "same", "keeps_checksums"),
    [("by_same", True, True), ("never", True, True), ("never", True, False), ("by_same", False, True)],
)
async def test_a_store_that_replaces_no_part(
    faulty: Site, strict_s3: StrictS3, replaces: Literal["by_same", "never"], *, same: bool, keeps_checksums: bool
) -> None:
    """Faults S22, K05: a fenced writer's part has landed at a number. The same bytes are no trouble (I2). With
    others the upload cannot be put together any more: it fails at once, and is not tried again for ever (I12)."""
    strict_s3.rules.replaces_parts = replaces
    strict_s3.rules.keeps_checksums = keeps_checksums
    upload = await faulty.create(len(CONTENT))
    await faulty.append(upload.id, CONTENT[:PART])
    hold = strict_s3.hold("UploadPart")
    paused = await faulty.patch(upload.id, node=faulty.add_node())
    await paused.put(CONTENT[PART:] if same else bytes(PART + 1000))
    await hold.reached()
    writing = await faulty.patch(upload.id)
    hold.release()
    assert await hold.done() == 200
    await writing.put(CONTENT[PART:])
    if same:
        assert await writing.finish()
    else:
        with pytest.raises(BytesMissing):
            await writing.finish()
    paused.writer.close()
    if same:
        await go_on(faulty, upload.id)


async def test_a_flipped_byte_on_the_way_back_is_found(faulty: Site, strict_s3: StrictS3) -> None:
    """Fault S14: pieces that another node reads."""
    upload = await faulty.create(len(CONTENT))
    await faulty.append(upload.id, CONTENT[:3000])
    strict_s3.fail("GetObject", with_=FlipOut(1500))
    await faulty.append(upload.id, CONTENT[3000 : PART + 5], faulty.add_node())
    assert strict_s3.calls["GetObject"] == 2
    await go_on(faulty, upload.id)


async def test_a_byte_that_is_flipped_in_the_store_is_never_acknowledged_in_the_object(
    faulty: Site, strict_s3: StrictS3
) -> None:
    """Fault S14: the store's own disk; no finish."""
    upload = await faulty.create(1000)
    strict_s3.fail("PutObject", with_=FlipIn(5, checked=True))
    await faulty.append(upload.id, CONTENT[:100])
    with pytest.raises(BytesMissing):
        await faulty.append(upload.id, CONTENT[100:1000], faulty.add_node())
    assert (await faulty.row(upload.id)).status is UploadStatus.UPLOADING


async def test_a_store_without_checksums(faulty: Site, strict_s3: StrictS3) -> None:
    """Fault S16."""
    strict_s3.rules.refuses_checksums = True
    strict_s3.rules.refuses_sdk_checksums = True
    faulty.bucket.sends_crc32c = False
    upload = await faulty.create(len(CONTENT))
    await faulty.append(upload.id, CONTENT[: PART + 77])
    await go_on(faulty, upload.id)


async def test_etags_that_say_nothing(faulty: Site, strict_s3: StrictS3) -> None:
    """Fault S07 where the bucket encrypts: the same bytes under another ETag."""
    strict_s3.rules.etags_are_md5 = False
    upload = await faulty.create(len(CONTENT))
    hold = strict_s3.hold("UploadPart")
    appending = asyncio.create_task(faulty.append(upload.id, CONTENT))
    completing = strict_s3.hold("CompleteMultipartUpload")
    await hold.reached()
    await completing.reached()  # the second try of the part has come through
    hold.release()
    await hold.done()
    completing.release()
    await appending
    await go_on(faulty, upload.id)


async def test_a_stale_listing_decides_nothing(faulty: Site, strict_s3: StrictS3) -> None:
    """Fault S09."""
    strict_s3.fail("ListParts", with_=HideParts(3), times=None)
    upload = await faulty.create(len(CONTENT))
    await faulty.append(upload.id, CONTENT[: PART + 77])
    assert (await faulty.row(upload.id)).upload_offset == PART + 77
    await go_on(faulty, upload.id)


async def test_a_full_bucket_is_told_and_the_upload_goes_on_when_there_is_room(
    faulty: Site, strict_s3: StrictS3
) -> None:
    """Fault S18."""
    upload = await faulty.create(len(CONTENT))
    await faulty.append(upload.id, CONTENT[:500])
    strict_s3.rules.quota_bytes = 1000
    writing = await faulty.patch(upload.id)
    await writing.put(CONTENT[500 : PART - 1])
    with pytest.raises(StorageFull):
        await writing.leave()
    assert (await faulty.row(upload.id)).upload_offset == 500
    strict_s3.rules.quota_bytes = 1000
    strict_s3.rules.quota_bytes = 520
    with pytest.raises(StorageFull):
        await faulty.node.blobs.check()
    strict_s3.rules.quota_bytes = None
    await go_on(faulty, upload.id)


async def test_a_provider_that_reaps_multipart_uploads(faulty: Site, strict_s3: StrictS3) -> None:
    """Fault S10: what counted is gone, and is never pretended to be there."""
    upload = await faulty.create(len(CONTENT))
    await faulty.append(upload.id, CONTENT[: PART + 5])
    placement = (await faulty.row(upload.id)).placement
    assert placement is not None
    assert placement.multipart_id is not None
    await faulty.bucket.abort_multipart(placement.key, placement.multipart_id)
    with pytest.raises(BytesMissing):
        await faulty.append(upload.id, CONTENT[PART + 5 :])


async def test_a_store_that_obeys_no_conditions(strict_s3: StrictS3) -> None:
    """Fault S19, K05: it is told by `capabilities`."""
    strict_s3.rules.ignores_conditions = True
    async with a_site(strict_s3) as site:
        node = site.node.blobs
        node._shared = type(node._shared)(
            bucket=node._shared.bucket,
            pool=node._shared.pool,
            keys=node._shared.keys,
            cache=node._shared.cache,
            storage_seconds=30,
            puts_single=False,
        )
        for length in (0, 1000, len(CONTENT)):
            upload = await site.create(length)
            await site.append(upload.id, CONTENT[:length])
            assert await site.read(upload.id) == CONTENT[:length]

"""What a writer sends as what, and when: parts in flight, parts that a fenced writer may change, the last part."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.stores.s3.harness import PART_BYTES, Site, until
from tests.support.memory_bucket import MemoryBucket
from tuspy_server.model import PARTS_IN_FLIGHT
from tuspy_server.protocol.errors import StorageFault, UploadTooLarge, WriterFenced
from tuspy_server.stores.s3 import writer as writer_module


def some(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


async def test_parts_are_sent_while_the_next_fills_and_no_more_than_may_be_at_once(
    site: Site, bucket: MemoryBucket
) -> None:
    held = bucket.hold("UploadPart", times=None)
    content = some((PARTS_IN_FLIGHT + 4) * PART_BYTES)
    upload = await site.create(len(content))
    writing = await site.patch(upload.id)
    putting = asyncio.create_task(writing.put(content))
    await until(lambda: len(held.seen) == PARTS_IN_FLIGHT)
    for _ in range(100):
        await asyncio.sleep(0)
    assert [call.part_number for call in held.seen] == list(range(1, PARTS_IN_FLIGHT + 1))
    assert not putting.done(), "the client feels it"
    assert site.node.pool.used_bytes == (PARTS_IN_FLIGHT + 1) * PART_BYTES, "those, and the one that fills"
    held.release()
    await putting
    assert await writing.finish()
    assert bucket.most_in_flight <= PARTS_IN_FLIGHT
    assert await site.read(upload.id) == content


async def test_no_part_is_sent_further_past_the_last_commit_than_a_claim_contests(
    site: Site, bucket: MemoryBucket
) -> None:
    """Fault K05: the part of the offset, and `PARTS_IN_FLIGHT` more."""
    seen = bucket.hold("UploadPart", times=None)
    seen.release()
    at_once = PARTS_IN_FLIGHT + 1
    content = some((2 * at_once + 2) * PART_BYTES)
    upload = await site.create(len(content))
    writing = await site.patch(upload.id)
    writing.writer.wants_commit = None
    putting = asyncio.create_task(writing.put(content))
    await until(lambda: len(seen.seen) == at_once)
    for _ in range(100):
        await asyncio.sleep(0)
    assert sorted(call.part_number or 0 for call in seen.seen) == list(range(1, at_once + 1))
    await writing.commit()
    assert writing.upload.upload_offset == at_once * PART_BYTES
    await until(lambda: len(seen.seen) == 2 * at_once)
    await writing.commit()
    await putting
    assert await writing.finish()
    assert await site.read(upload.id) == content


async def test_a_commit_is_asked_for_where_parts_wait_for_it(site: Site, bucket: MemoryBucket) -> None:
    content = some((3 * PARTS_IN_FLIGHT + 2) * PART_BYTES)
    upload = await site.create(len(content))
    writing = await site.patch(upload.id)
    await writing.put(content)
    assert await writing.finish()
    assert bucket.calls["PutObject"] == 0


async def test_what_waits_for_a_commit_at_the_end_becomes_a_piece(site: Site, bucket: MemoryBucket) -> None:
    """Nobody commits any more when the body is at its end."""
    sendable = PARTS_IN_FLIGHT + 1
    body = some((sendable + 1) * PART_BYTES)
    rest = some(2 * PART_BYTES, 2)
    upload = await site.create(len(body) + len(rest))
    writing = await site.patch(upload.id)
    writing.writer.wants_commit = None
    await writing.put(body)
    row = await writing.leave()
    assert row is not None
    assert row.upload_offset == len(body)
    assert bucket.calls["UploadPart"] == sendable
    assert bucket.calls["PutObject"] == 1
    await site.append(upload.id, rest)
    assert await site.read(upload.id) == body + rest


@pytest.mark.parametrize("same", [True, False])
async def test_a_fenced_writers_late_parts_change_nothing(site: Site, bucket: MemoryBucket, *, same: bool) -> None:
    """I5, faults K05, S07: with the same bytes, and with others."""
    first = some(PART_BYTES)
    length = (PARTS_IN_FLIGHT + 3) * PART_BYTES
    old, new = some(length, 1), some(length, 1 if same else 2)
    upload = await site.create(len(first) + length)
    await site.append(upload.id, first)  # so that both write into one multipart upload
    late = bucket.hold("UploadPart", times=PARTS_IN_FLIGHT, matches=lambda call: call.part_number != 2)
    paused = await site.patch(upload.id, node=site.add_node())
    paused.writer.wants_commit = None
    putting = asyncio.create_task(paused.put(old))
    await until(lambda: len(late.seen) == PARTS_IN_FLIGHT)

    writing = await site.patch(upload.id)
    last = max(call.part_number or 0 for call in late.seen)
    assert (await site.row(upload.id)).placement.contested_to == last == 2 + PARTS_IN_FLIGHT  # type: ignore[union-attr]
    await writing.put(new)
    completing = bucket.hold("CompleteMultipartUpload")
    finishing = asyncio.create_task(writing.finish())
    await completing.arrived.wait()
    late.release()  # now, of all times
    await until(lambda: bucket.in_flight == 1)
    completing.release()
    assert await finishing
    assert await site.read(upload.id) == first + new
    assert bucket.calls["ListParts"] == (0 if same else 1), "what had been changed was put again"
    putting.cancel()
    await asyncio.gather(putting, return_exceptions=True)
    paused.writer.close()
    await site.clean_later()
    assert bucket.objects.keys() == {f"uploads/{upload.id}"}
    assert not bucket.multiparts


async def test_a_fenced_writers_calls_are_broken_off_and_raise(site: Site, bucket: MemoryBucket) -> None:
    """I5, I12: the next writer of this process need not wait for them."""
    late = bucket.hold("UploadPart", times=None)
    upload = await site.create(6 * PART_BYTES)
    early = await site.patch(upload.id)
    await early.put(some(PART_BYTES))
    await late.arrived.wait()
    assert early.writer.unsettled
    writing = await site.patch(upload.id)
    for call in (early.writer.buffer(), early.writer.sync(flush=False), early.writer.sync(flush=True)):
        with pytest.raises(WriterFenced):
            await call
    with pytest.raises(WriterFenced):
        await early.writer.finish()
    early.writer.close()
    late.times = 0
    content = some(6 * PART_BYTES, 2)
    await writing.put(content)
    late.land()
    assert await writing.finish()
    assert await site.read(upload.id) == content


async def test_a_part_of_unknown_outcome_is_contested_after_a_clean_release(site: Site, bucket: MemoryBucket) -> None:
    """Faults S04, S07: the writer has let go, and its call lands all the same."""
    late = bucket.late("UploadPart")
    upload = await site.create(3 * PART_BYTES)
    writing = await site.patch(upload.id)
    await writing.put(some(PART_BYTES + 1))
    with pytest.raises(StorageFault):
        await writing.leave()
    row = await site.row(upload.id)
    assert row.writer is None
    assert row.placement is not None
    assert row.placement.contested_to >= 1
    content = some(3 * PART_BYTES, 2)
    await site.append(upload.id, content[: 2 * PART_BYTES])
    late.land()
    await site.append(upload.id, content[2 * PART_BYTES :])
    assert await site.read(upload.id) == content


async def test_the_last_part_waits_for_the_finish(site: Site, bucket: MemoryBucket) -> None:
    """The offset that is shown is inside it, and another byte may follow there: nobody could read a part back."""
    upload = await site.create(2 * PART_BYTES)
    writing = await site.patch(upload.id)
    await writing.put(some(2 * PART_BYTES))
    row = await writing.leave()
    assert row is not None
    assert row.upload_offset == 2 * PART_BYTES - 1
    assert bucket.calls["UploadPart"] == 1
    other = bytes([some(2 * PART_BYTES)[-1] ^ 255])
    await site.append(upload.id, other, site.add_node())
    assert await site.read(upload.id) == some(2 * PART_BYTES)[:-1] + other


async def test_the_last_part_waits_for_a_commit_rather_than_become_a_piece(site: Site, bucket: MemoryBucket) -> None:
    """Seen on a busy machine: the body was whole before the commits that its last part had to wait for; it was put as a
    piece and copied, for two calls more than the architecture's table allows."""
    parts = PARTS_IN_FLIGHT + 2  # the last of them is one too far
    content = some(parts * PART_BYTES)
    upload = await site.create(len(content))
    writing = await site.patch(upload.id)
    writing.writer.wants_commit = None
    await writing.put(content)
    assert await writing.writer.is_behind()
    await writing.commit()
    assert not await writing.writer.is_behind()
    assert await writing.finish()
    assert bucket.calls == {"CreateMultipartUpload": 1, "UploadPart": parts, "CompleteMultipartUpload": 1}
    assert await site.read(upload.id) == content


async def test_one_byte_too_many_is_refused(site: Site) -> None:
    """I11."""
    upload = await site.create(5)
    writing = await site.patch(upload.id)
    await writing.put(b"12345")
    assert len(await writing.writer.buffer()) == 1, "the body may end here"
    await writing.put(b"6")
    with pytest.raises(UploadTooLarge):
        await writing.writer.buffer()
    writing.writer.close()


async def test_more_than_ten_thousand_parts_are_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault S12."""
    monkeypatch.setattr(writer_module, "MOST_PARTS", 3)
    upload = await site.create(None)
    writing = await site.patch(upload.id)
    most = 3 * 2 * PART_BYTES
    await writing.put(some(most))
    assert (await writing.commit(flush=True)) is not None
    await writing.put(b"!")
    with pytest.raises(UploadTooLarge):
        await writing.writer.buffer()
    writing.writer.close()
    assert (await site.row(upload.id)).upload_offset == most
    with pytest.raises(UploadTooLarge):
        await site.patch(upload.id, declared=10_000 * 2 * PART_BYTES + 1)


async def test_a_length_that_is_declared_late(site: Site, bucket: MemoryBucket) -> None:
    """Fault S13: the tail is not lost, at a boundary of parts and elsewhere."""
    for count in (0, 5, 2 * PART_BYTES, 4 * PART_BYTES, 5 * PART_BYTES + 3):
        upload = await site.create(None)
        await site.append(upload.id, some(count))
        writing = await site.patch(upload.id, node=site.add_node(), declared=count)
        assert await writing.finish()
        assert await site.read(upload.id) == some(count)

"""What a writer sends, when, and what becomes of it: parts in flight, parts that a fenced writer may change, bytes that
are held back, failures."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.stores.s3.harness import PART_BYTES, Site, until
from tests.support.memory_bucket import MemoryBucket
from tuspy_server.model import PARTS_IN_FLIGHT, UploadStatus
from tuspy_server.protocol.errors import BytesMissing, StorageFault, UploadTooLarge, WriterFenced
from tuspy_server.stores.s3 import writer as writer_module
from tuspy_server.stores.s3.errors import NoSuchUpload, QuotaExceeded, S3Error


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

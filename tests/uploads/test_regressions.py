"""What broke once. Each test tells the story that the state machine, or a reader, found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.uploads.bodies import ScriptedBody
from tests.uploads.gates import DiskFull
from tests.uploads.rig import LifecycleRig, sha1, until
from tuspy_server.model import UploadStatus
from tuspy_server.protocol.errors import (
    BodyStalled,
    StorageFull,
    StoreUnavailable,
    TusError,
    UploadBusy,
    UploadTooLarge,
    WriterFenced,
)


@pytest.fixture
async def rig() -> AsyncIterator[LifecycleRig]:
    rig = LifecycleRig()
    yield rig
    await rig.close()


async def test_an_overrun_after_a_commit_of_unknown_outcome_cuts_no_counted_byte_off(rig: LifecycleRig) -> None:
    """I1: the commit was reported as failed, but had taken effect, and HEAD had shown it."""
    upload = await rig.create(10)
    body, patch = await rig.running(upload, 0, b"12345")
    for _ in range(2):  # HEAD asks twice: the first commit may not have seen the last bytes
        rig.fail("commit", "after", StoreUnavailable)
    shown = await rig.uploads.look(upload.id)
    assert shown.upload_offset == 5
    body.send(b"6789ab")
    body.end()
    with pytest.raises(UploadTooLarge):
        await patch
    assert (await rig.row(upload)).upload_offset == 5
    assert rig.stored(upload) == b"12345"
    done = await rig.patch(upload, 5, b"67890")
    assert done.status is UploadStatus.FINISHED
    assert rig.stored(upload) == b"1234567890"


async def test_a_claim_that_is_answered_late_does_not_cut_a_newer_writers_bytes_off(rig: LifecycleRig) -> None:
    """I1, I5: claims of one upload take turns, however late a store answers them."""
    upload = await rig.create(10)
    rig.hold("claim", "after")
    late = rig.begin(rig.patch(upload, 0, b"late"))
    gate = await rig.held()
    newer = rig.begin(rig.patch(upload, 0, ScriptedBody.whole(b"newer")))
    await asyncio.sleep(0)
    rig.gates.let_go(gate)
    answers = await asyncio.gather(late, newer, return_exceptions=True)
    row = await rig.row(upload)
    assert rig.stored(upload)[: row.upload_offset] in (b"late", b"newer")
    assert any(not isinstance(answer, BaseException) for answer in answers)
    for answer, content in zip(answers, (b"late", b"newer"), strict=True):
        if not isinstance(answer, BaseException):
            assert rig.stored(upload)[: answer.upload_offset] == content


async def test_a_delete_during_a_claims_answer_leaves_no_bytes(rig: LifecycleRig) -> None:
    """I8, fault K03: the writer was not known yet when the bytes were removed, and made the file anew."""
    upload = await rig.create(10)
    rig.hold("claim", "after")
    patch = rig.begin(rig.patch(upload, 0, b"1234567890"))
    gate = await rig.held()
    delete = rig.begin(rig.uploads.terminate(upload.id))
    for _ in range(20):
        await asyncio.sleep(0)
    rig.gates.let_go(gate)
    answers = await asyncio.gather(patch, delete, return_exceptions=True)
    assert answers[0] is not None
    assert (await rig.row(upload)).status is UploadStatus.TERMINATED
    assert rig.blobs.blobs == {}
    assert await rig.rows.cleanups(10) == []


@pytest.mark.parametrize("ending", ["stalled", "drained"])
async def test_a_zero_length_post_that_is_not_finished_is_not_a_201(ending: str) -> None:
    """I6: 201 with offset = length = 0 would tell the client that it is done, and no event would ever come."""
    rig = LifecycleRig(idle_seconds=0.01 if ending == "stalled" else 1000)
    body = ScriptedBody()
    creating = rig.begin(rig.create(0, body))
    if ending == "drained":
        await until(lambda: rig.blobs.blobs)
        rig.uploads.drain()
    with pytest.raises(BodyStalled if ending == "stalled" else TusError):
        await creating
    assert await rig.rows.count_by_status() == {UploadStatus.TERMINATED: 1}
    assert rig.blobs.blobs == {}
    await rig.close()


@pytest.mark.parametrize("length", [5, 10, None])
async def test_a_disk_that_fills_up_with_the_last_bytes_is_a_507(rig: LifecycleRig, length: int | None) -> None:
    """I1, fault D02: it answered 204 with an offset below the bytes that it had taken."""
    upload = await rig.create(length)
    rig.fail("sync", "before", lambda: DiskFull(2))
    with pytest.raises(StorageFull):
        await rig.patch(upload, 0, b"12345")
    row = await rig.row(upload)
    assert (row.upload_offset, row.writer) == (2, None)
    assert (await rig.patch(upload, 2, b"345")).upload_offset == 5
    assert rig.stored(upload) == b"12345"


async def test_a_disk_that_fills_up_keeps_no_part_of_a_body_with_a_checksum(rig: LifecycleRig) -> None:
    """I2, faults D02, S15: such a body counts as a whole or not at all."""
    upload = await rig.create(10)
    rig.fail("sync", "before", lambda: DiskFull(2))
    with pytest.raises(StorageFull):
        await rig.patch(upload, 0, b"12345", checksum=sha1(b"12345"))
    assert (await rig.row(upload)).upload_offset == 0
    assert (await rig.patch(upload, 0, b"12345", checksum=sha1(b"12345"))).upload_offset == 5


async def test_a_writer_that_was_waited_for_in_vain_is_waited_for_by_the_next_one_too() -> None:
    """I1, I5: the one after the impatient one wrote while the stale one's open was still to come, which then cut it."""
    rig = LifecycleRig(storage_seconds=0.05)
    upload = await rig.create(10)
    rig.hold("open_writer", "before")
    stale = rig.begin(rig.patch(upload, 0, b"12"))
    gate = await rig.held()
    for _ in range(2):
        with pytest.raises(UploadBusy):
            await rig.patch(upload, 0, b"abc")
    assert rig.stored(upload) == b""
    rig.gates.let_go(gate)
    with pytest.raises(WriterFenced):
        await stale
    assert (await rig.patch(upload, 0, b"abc")).upload_offset == 3
    assert rig.stored(upload) == b"abc"
    await rig.close()

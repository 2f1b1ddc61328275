"""Requests beside and after one another: who writes, who is told what, and what an end leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.contracts.rows import event_types, new_id
from tests.uploads.bodies import ScriptedBody
from tests.uploads.rig import LifecycleRig, sha1, until
from tuspy_server.model import EventType, UploadStatus
from tuspy_server.protocol.errors import (
    ChecksumMismatch,
    ClientDisconnected,
    OffsetMismatch,
    StorageFault,
    StorageFull,
    StoreUnavailable,
    UploadBusy,
    UploadGone,
    UploadNotFound,
    UploadTooLarge,
    WriterFenced,
)


@pytest.fixture
async def rig() -> AsyncIterator[LifecycleRig]:
    rig = LifecycleRig()
    yield rig
    await rig.close()
    assert rig.uploads.held_writers == frozenset()


# --- creation --------------------------------------------------------------------------------------------------------


async def test_a_creation_without_body_is_a_row_and_an_event(rig: LifecycleRig) -> None:
    upload = await rig.create(10)
    assert (upload.status, upload.upload_offset, upload.writer) == (UploadStatus.UPLOADING, 0, None)
    assert await event_types(rig.rows, upload.id) == [EventType.CREATED]
    assert rig.blobs.blobs == {}


async def test_a_zero_length_upload_is_finished_by_its_creation(rig: LifecycleRig) -> None:
    """S21, I7: an empty object exists."""
    upload = await rig.create(0)
    assert upload.status is UploadStatus.FINISHED
    assert upload.id in rig.blobs.blobs
    assert await event_types(rig.rows, upload.id) == [EventType.CREATED, EventType.FINISHED]


@pytest.mark.parametrize(("content", "status"), [(b"123", UploadStatus.UPLOADING), (b"12345", UploadStatus.FINISHED)])
async def test_a_creation_with_upload_takes_its_body(rig: LifecycleRig, content: bytes, status: UploadStatus) -> None:
    upload = await rig.create(5, ScriptedBody.whole(content))
    assert (upload.status, upload.upload_offset, upload.writer) == (status, len(content), None)
    assert rig.stored(upload) == content


async def test_an_event_tells_the_checksum_of_a_file_that_came_whole(rig: LifecycleRig) -> None:
    whole = await rig.create(5, ScriptedBody.whole(b"12345"), sha1(b"12345"))
    halves = await rig.create(5, ScriptedBody.whole(b"123"), sha1(b"123"))
    await rig.patch(halves, 3, b"45", checksum=sha1(b"45"))
    await rig.rows.relay(100)
    events = await rig.rows.events(0, 100)
    told = {event.upload_id: event.data["checksum"] for event in events if event.type is EventType.FINISHED}
    assert told == {whole.id: str(sha1(b"12345")), halves.id: None}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("disconnect", ClientDisconnected),
        ("overrun", UploadTooLarge),
        ("checksum", ChecksumMismatch),
        ("open_writer", StorageFault),
        ("sync", StorageFault),
        ("buffer", StorageFull),
        ("commit", StoreUnavailable),
        ("create", StoreUnavailable),
    ],
)
async def test_a_creation_with_upload_that_fails_leaves_nothing(
    rig: LifecycleRig, fault: str, error: type[Exception]
) -> None:
    """I8: its client never learns the URL."""
    body = ScriptedBody(b"123", ended=fault not in ("disconnect", "overrun"))
    if fault in ("open_writer", "sync", "buffer", "commit"):
        rig.fail(fault, "before", error)
    if fault == "create":
        rig.fail(fault, "after", error)
    if fault == "disconnect":
        body.disconnect()
    if fault == "overrun":
        body.send(b"456")
    with pytest.raises(error):
        await rig.create(5, body, sha1(b"x") if fault == "checksum" else None)
    assert await rig.rows.count_by_status() == {UploadStatus.TERMINATED: 1}
    assert rig.blobs.blobs == {}
    assert await rig.rows.cleanups(10) == []


async def test_a_creation_whose_body_stalls_tells_how_far_it_came() -> None:
    """The client has the URL, and goes on by PATCH."""
    rig = LifecycleRig(idle_seconds=0.02)
    upload = await rig.create(5, ScriptedBody(b"123"))
    assert (upload.upload_offset, upload.writer) == (3, None)
    assert (await rig.patch(upload, 3, b"45")).status is UploadStatus.FINISHED
    await rig.close()


# --- claims ----------------------------------------------------------------------------------------------------------


async def test_the_newest_claim_wins_and_its_predecessor_is_stopped(rig: LifecycleRig) -> None:
    """I5, N01: with other bytes for the same range."""
    upload = await rig.create(10)
    early_body, early = await rig.running(upload, 0, b"EARLY")
    late = await rig.patch(upload, 0, b"late!")
    assert late.upload_offset == 5
    early_body.send(b"more!")
    early_body.end()
    with pytest.raises(WriterFenced):
        await early
    assert rig.stored(upload) == b"late!"
    assert (await rig.row(upload)).upload_offset == 5


async def test_a_writer_whose_bytes_were_shown_hands_over_where_it_stood(rig: LifecycleRig) -> None:
    """I1, I4, N01: HEAD, then PATCH from there, beside a dead connection."""
    upload = await rig.create(10)
    _, early = await rig.running(upload, 0, b"12345")
    offset = (await rig.uploads.look(upload.id)).upload_offset
    assert (await rig.patch(upload, offset, b"67890")).status is UploadStatus.FINISHED
    with pytest.raises(WriterFenced):
        await early
    assert rig.stored(upload) == b"1234567890"


async def test_of_many_clients_at_once_one_body_is_the_object(rig: LifecycleRig) -> None:
    """K01, I2: never a mix."""
    upload = await rig.create(50)
    contents = [bytes([65 + number]) * 50 for number in range(16)]
    answers = await asyncio.gather(*(rig.patch(upload, 0, content) for content in contents), return_exceptions=True)
    assert rig.stored(upload) in contents
    winners = [content for content, answer in zip(contents, answers, strict=True) if not _failed(answer)]
    assert rig.stored(upload) in winners
    assert all(isinstance(answer, UploadBusy | OffsetMismatch) for answer in answers if _failed(answer))
    assert (await event_types(rig.rows, upload.id)).count(EventType.FINISHED) == 1


async def test_a_wrong_offset_is_409_and_423_beside_a_writer(rig: LifecycleRig) -> None:
    """Some clients never retry 409; a writer may still move the offset to where the client stands."""
    upload = await rig.create(10)
    with pytest.raises(OffsetMismatch) as mismatch:
        await rig.patch(upload, 3, b"4")
    assert mismatch.value.upload_offset == 0
    body, patch = await rig.running(upload, 0, b"123")
    with pytest.raises(UploadBusy):
        await rig.patch(upload, 3, b"4")
    body.end()
    await patch
    assert (await rig.patch(upload, 3, b"4")).upload_offset == 4


async def test_a_claim_of_unknown_outcome_blocks_nobody(rig: LifecycleRig) -> None:
    """B02, I12."""
    upload = await rig.create(10)
    rig.fail("claim", "after", StoreUnavailable)
    with pytest.raises(StoreUnavailable):
        await rig.patch(upload, 0, b"123")
    assert (await rig.row(upload)).writer is not None
    assert (await rig.patch(upload, 0, b"123")).upload_offset == 3


async def test_a_writer_that_lost_the_upload_elsewhere_changes_nothing(rig: LifecycleRig) -> None:
    """I5, N04: the row says whose it is."""
    upload = await rig.create(10)
    body, patch = await rig.running(upload, 0, b"123")
    await rig.rows.release_writers(set)
    body.end()
    with pytest.raises(WriterFenced):
        await patch
    assert (await rig.row(upload)).upload_offset == 0


async def test_an_unknown_upload_is_404(rig: LifecycleRig) -> None:
    for work in (rig.uploads.look(new_id()), rig.uploads.find(new_id()), rig.uploads.terminate(new_id())):
        with pytest.raises(UploadNotFound):
            await work


# --- termination -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [3, 10])
async def test_a_delete_removes_row_state_and_bytes(rig: LifecycleRig, length: int) -> None:
    """I8: of unfinished and of finished uploads."""
    upload = await rig.create(length)
    await rig.patch(upload, 0, b"123")
    await rig.uploads.terminate(upload.id)
    assert (await rig.row(upload)).status is UploadStatus.TERMINATED
    assert rig.blobs.blobs == {}
    assert await rig.rows.cleanups(10) == []
    with pytest.raises(UploadGone):
        await rig.uploads.terminate(upload.id)
    with pytest.raises(UploadGone):
        await rig.patch(upload, 3, b"4")


async def test_a_delete_ends_a_running_body(rig: LifecycleRig) -> None:
    """K03."""
    upload = await rig.create(10)
    _, patch = await rig.running(upload, 0, b"123")
    await rig.uploads.terminate(upload.id)
    with pytest.raises(UploadGone):
        await patch
    assert rig.blobs.blobs == {}
    assert EventType.FINISHED not in await event_types(rig.rows, upload.id)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_delete_during_the_finish_comes_before_or_after_it(rig: LifecycleRig, when: str) -> None:
    """K03, I7: deleted without event, or finished with event and then deleted."""
    upload = await rig.create(3)
    rig.hold("finish", "before" if when == "before" else "after")
    patch = rig.begin(rig.patch(upload, 0, b"123"))
    gate = await rig.held()
    delete = rig.begin(rig.uploads.terminate(upload.id))
    await until(lambda: rig.now(upload).status is UploadStatus.TERMINATED)
    rig.gates.let_go(gate)
    answers = await asyncio.gather(patch, delete, return_exceptions=True)
    assert not _failed(answers[1])
    assert _failed(answers[0]) is (when == "before")
    types = await event_types(rig.rows, upload.id)
    assert (EventType.FINISHED in types) is (when == "after")
    assert rig.blobs.blobs == {}


async def test_a_delete_whose_storage_fails_is_done_and_its_bytes_are_left_to_the_sweeper(rig: LifecycleRig) -> None:
    """C12."""
    upload = await rig.create(10)
    await rig.patch(upload, 0, b"123")
    rig.fail("clean", "before", StorageFault)
    await rig.uploads.terminate(upload.id)
    assert [due.upload.id for due in await rig.rows.cleanups(10)] == [upload.id]
    assert rig.stored(upload) == b"123"
    assert (await rig.sweeper.sweep()).cleaned == 1
    assert rig.blobs.blobs == {}


def _failed(answer: object) -> bool:
    return isinstance(answer, BaseException)

"""Storage and database in trouble under a body: what is said, what counts, and that it goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contracts.rows import event_types
from tests.uploads.rig import LifecycleRig
from tuspy_server.model import EventType, UploadStatus
from tuspy_server.protocol.errors import StorageFault, StorageFull, StoreUnavailable, UploadGone


@pytest.fixture
async def rig() -> AsyncIterator[LifecycleRig]:
    rig = LifecycleRig()
    yield rig
    await rig.close()
    assert rig.uploads.held_writers == frozenset()


@pytest.mark.parametrize("call", ["open_writer", "buffer", "sync", "commit"])
async def test_a_storage_fault_is_503_and_the_upload_goes_on(rig: LifecycleRig, call: str) -> None:
    """D01, I12."""
    upload = await rig.create(10)
    await rig.patch(upload, 0, b"123")
    rig.fail(call, "before", StorageFault)
    with pytest.raises(StorageFault):
        await rig.patch(upload, 3, b"456")
    assert (await rig.row(upload)).upload_offset == 3
    assert (await rig.patch(upload, 3, b"456")).upload_offset == 6
    assert rig.stored(upload) == b"123456"


async def test_a_full_disk_is_507_with_the_offset_honest(rig: LifecycleRig) -> None:
    """D02, S18."""
    upload = await rig.create(10)
    body, patch = await rig.running(upload, 0, b"123")
    rig.fail("buffer", "before", StorageFull)
    body.send(b"4")
    with pytest.raises(StorageFull):
        await patch
    row = await rig.row(upload)
    assert (row.upload_offset, row.writer) == (4, None)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_finish_of_unknown_outcome_is_settled_by_the_next_request(rig: LifecycleRig, when: str) -> None:
    """B02, N03, I6: one event, whichever way it went."""
    upload = await rig.create(5)
    rig.fail("finish", "before" if when == "before" else "after", StoreUnavailable)
    with pytest.raises(StoreUnavailable):
        await rig.patch(upload, 0, b"12345")
    shown = await rig.uploads.look(upload.id)
    assert shown.upload_offset == (0 if when == "before" else 5)
    done = await rig.patch(upload, shown.upload_offset, b"12345"[shown.upload_offset :])
    assert done.status is UploadStatus.FINISHED
    assert await event_types(rig.rows, upload.id) == [EventType.CREATED, EventType.FINISHED]


async def test_a_commit_that_fails_in_passing_does_not_end_the_body(rig: LifecycleRig) -> None:
    """B03: the next commit counts the bytes too."""
    upload = await rig.create(10)
    body, patch = await rig.running(upload, 0, b"123")
    for _ in range(2):
        rig.fail("commit", "before", StoreUnavailable)
    assert (await rig.uploads.look(upload.id)).upload_offset == 0
    body.send(b"456")
    body.end()
    assert (await patch).upload_offset == 6


async def test_a_defect_in_a_commit_ends_the_body_with_a_fault(rig: LifecycleRig) -> None:
    upload = await rig.create(10)
    _, patch = await rig.running(upload, 0, b"123")
    rig.fail("commit", "before", ZeroDivisionError)
    await rig.uploads.look(upload.id)
    with pytest.raises(StorageFault):
        await patch


async def test_bytes_that_are_lost_fail_the_upload_loudly(rig: LifecycleRig) -> None:
    """D08, I1: 410 with an event; never a stale offset."""
    upload = await rig.create(10)
    await rig.patch(upload, 0, b"12345")
    rig.blobs.blobs.clear()
    with pytest.raises(UploadGone):
        await rig.patch(upload, 5, b"67890")
    assert (await rig.row(upload)).status is UploadStatus.FAILED
    assert await event_types(rig.rows, upload.id) == [EventType.CREATED, EventType.FAILED]
    with pytest.raises(UploadGone):
        await rig.patch(upload, 0, b"1")

"""`completing`: from the last byte to the object in its place. Time is virtual; two processes share rows and bucket."""

from __future__ import annotations

import pytest

from tests.uploads.bodies import ScriptedBody
from tests.uploads.gated_bucket import BucketFault
from tests.uploads.stage import WHOLE, Stage
from tuspy_server.model import EventType, UploadStatus
from tuspy_server.protocol.creation import Create
from tuspy_server.protocol.errors import (
    OffsetMismatch,
    UploadBusy,
    UploadGone,
)


def test_the_last_byte_is_acknowledged_with_the_finish_and_not_before(stage: Stage) -> None:
    """I1, I7: offset = length would say that the client may forget its file."""
    upload, patch = stage.completing()
    row = stage.row(upload)
    assert (row.upload_offset, row.upload_length) == (len(WHOLE) - 1, len(WHOLE))
    assert not patch.done()
    assert EventType.FINISHED not in stage.events()
    stage.let_go(stage.here)
    assert patch.result().status is UploadStatus.FINISHED
    assert stage.is_finished(upload)
    assert stage.events().count(EventType.FINISHED) == 1


@pytest.mark.parametrize("at", ["here", "there"])
def test_head_waits_for_the_finish(stage: Stage, at: str) -> None:
    upload, _ = stage.completing()
    head = stage.head(getattr(stage, at), upload)
    stage.loop.advance(5)
    assert not head.done()
    stage.let_go(stage.here)
    stage.loop.advance(1)
    assert head.result().status is UploadStatus.FINISHED
    assert head.result().upload_offset == len(WHOLE)


@pytest.mark.parametrize("at", ["here", "there"])
def test_patch_waits_for_the_finish_and_is_judged_by_the_new_row(stage: Stage, at: str) -> None:
    upload, _ = stage.completing()
    node = getattr(stage, at)
    stale = stage.patch(node, upload, len(WHOLE) - 1, b"?")
    at_the_end = stage.patch(node, upload, len(WHOLE), b"")
    stage.loop.advance(5)
    assert not stale.done()
    assert not at_the_end.done()
    stage.let_go(stage.here)
    stage.loop.advance(1)
    assert isinstance(stale.exception(), OffsetMismatch)
    assert at_the_end.result().upload_offset == len(WHOLE)
    assert stage.is_finished(upload)


def test_a_finish_that_takes_too_long_is_423_for_all_who_wait(stage: Stage) -> None:
    """The finish itself goes on."""
    upload, patch = stage.completing("assembly")
    head = stage.head(stage.there, upload)
    other = stage.patch(stage.there, upload, len(WHOLE) - 1, b"?")
    delete = stage.delete(stage.there, upload)
    stage.loop.advance(26)
    assert isinstance(patch.exception(), UploadBusy)
    assert head.result().status is UploadStatus.COMPLETING  # which HEAD tells as 423
    assert isinstance(other.exception(), UploadBusy)
    assert isinstance(delete.exception(), UploadBusy)
    stage.let_go(stage.here)
    assert stage.is_finished(upload)


@pytest.mark.parametrize("at", ["here", "there"])
def test_patches_wait_for_a_finish_beside_each_other(stage: Stage, at: str) -> None:
    """I12: each waited in the upload's turn, and the third one, which began when the others had given up, 75 s."""
    upload, _ = stage.completing("assembly")
    node = getattr(stage, at)
    patches = [stage.patch(node, upload, len(WHOLE) - 1, b"") for _ in range(3)]
    stage.loop.advance(24)
    assert not any(patch.done() for patch in patches)
    stage.loop.advance(2)
    assert [type(patch.exception()) for patch in patches if patch.done()] == 3 * [UploadBusy]
    stage.let_go(stage.here)
    assert stage.is_finished(upload)


def test_a_creation_whose_finish_takes_too_long_tells_its_url(stage: Stage) -> None:
    """Else nobody could ever learn of the upload, which will be finished."""
    stage.hold(stage.here, "assembly")
    creation = stage.create(WHOLE)
    stage.loop.advance(26)
    upload = creation.result()
    assert upload.upload_offset == len(WHOLE) - 1
    stage.let_go(stage.here)
    assert stage.is_finished(upload)


@pytest.mark.parametrize("at", ["here", "there"])
def test_delete_waits_for_the_finish_and_then_removes_the_object(stage: Stage, at: str) -> None:
    upload, patch = stage.completing()
    delete = stage.delete(getattr(stage, at), upload)
    stage.loop.advance(1)
    assert not delete.done()
    stage.let_go(stage.here)
    stage.loop.advance(1)
    assert delete.exception() is None
    assert patch.exception() is None or isinstance(patch.exception(), UploadGone)
    assert stage.row(upload).status is UploadStatus.TERMINATED
    assert stage.events()[-2:] == [EventType.FINISHED, EventType.TERMINATED]
    assert stage.world.stored_ids() == set()


def test_pieces_go_at_once_behind_the_finish(stage: Stage) -> None:
    """I8, without waiting for a sweep."""
    upload = stage.create().result()
    stage.patch(stage.here, upload, 0, WHOLE[:3])
    stage.patch(stage.here, upload, 3, WHOLE[3:6])
    assert any(name.startswith("piece") for name in stage.world.stored_ids())
    stage.patch(stage.here, upload, 6, WHOLE[6:])
    assert stage.is_finished(upload)
    assert stage.world.stored_ids() == {upload.id}
    assert stage.loop.do(stage.world.uploads.cleanups(10)) == []


def test_pieces_of_a_single_part_go_at_once_too(stage: Stage) -> None:
    create = Create(upload_length=3, upload_metadata=None, carries_body=False, most_bytes=40, checksum=None)
    upload = stage.begin(stage.here, lambda: stage.here.uploads.create(create, ScriptedBody.whole(b""))).result()
    stage.patch(stage.here, upload, 0, b"0")
    stage.patch(stage.there, upload, 1, b"12")
    assert stage.row(upload).status is UploadStatus.FINISHED
    assert stage.world.stored_ids() == {upload.id}


def test_trouble_with_the_pieces_is_left_to_the_sweeper(stage: Stage) -> None:
    upload = stage.create().result()
    stage.patch(stage.here, upload, 0, WHOLE[:3])
    stage.fail(stage.here, "DeleteObjects", lambda: BucketFault("refused"))
    patch = stage.patch(stage.here, upload, 3, WHOLE[3:])
    assert patch.result().status is UploadStatus.FINISHED
    assert len(stage.world.stored_ids()) > 1
    stage.begin(stage.there, stage.there.sweeper.sweep)
    assert stage.world.stored_ids() == {upload.id}


def test_a_delete_behind_the_finish_is_not_taken_for_cleaned(stage: Stage) -> None:
    """I8: the finisher says that the pieces are gone, when the whole object has become due for removal."""
    upload = stage.create().result()
    stage.patch(stage.here, upload, 0, WHOLE[:3])
    stage.hold(stage.here, "cleaned")
    stage.patch(stage.here, upload, 3, WHOLE[3:])
    stage.fail(stage.there, "HeadObject", lambda: BucketFault("refused"))
    delete = stage.delete(stage.there, upload)
    assert delete.exception() is None
    stage.let_go(stage.here)
    assert stage.world.stored_ids() == {upload.id}
    stage.begin(stage.there, stage.there.sweeper.sweep)
    assert stage.world.stored_ids() == set()

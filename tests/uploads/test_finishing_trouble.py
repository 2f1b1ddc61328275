"""`completing` in trouble: finishers that are lost, calls that fail, processes that drain."""

from __future__ import annotations

import pytest

from tests.uploads.gated_bucket import BucketFault
from tests.uploads.gates import When
from tests.uploads.stage import WHOLE, Stage
from tuspy_server.model import EventType, UploadStatus
from tuspy_server.protocol.errors import (
    BytesMissing,
    StorageFault,
    StoreUnavailable,
    UploadBusy,
    UploadGone,
)
from tuspy_server.uploads.finishing import MOST_TRIES


@pytest.mark.parametrize("call", ["assembly", "UploadPart", "CompleteMultipartUpload", "finish"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_finisher_is_followed_by_whoever_is_asked(stage: Stage, call: str, when: When) -> None:
    """C04, C06: the process dies at any call between the last byte and the finish."""
    upload = stage.create().result()
    stage.patch(stage.here, upload, 0, WHOLE[:3])
    stage.hold(stage.here, call, when)
    stage.patch(stage.here, upload, 3, WHOLE[3:])
    stage.here.die()
    stage.world.kill(stage.here.seat, power_cut=False)
    head = stage.head(stage.there, upload)
    stage.loop.advance(14)
    if stage.row(upload).status is UploadStatus.COMPLETING:
        assert not head.done()  # its heart may still beat
    stage.loop.advance(3)
    if stage.row(upload).status is not UploadStatus.FINISHED:  # it had not come to `completing`
        done = stage.patch(
            stage.there, upload, stage.row(upload).upload_offset, WHOLE[stage.row(upload).upload_offset :]
        )
        assert done.result().status is UploadStatus.FINISHED
    assert stage.is_finished(upload)
    assert stage.events().count(EventType.FINISHED) == 1


def test_recovery_takes_over_what_nobody_asks_for(stage: Stage) -> None:
    """C04: any node's sweeper does it."""
    upload, _ = stage.completing()
    stage.here.die()
    stage.world.kill(stage.here.seat, power_cut=True)
    stage.begin(stage.there, stage.there.uploads.recover)
    assert stage.is_finished(upload)


def test_a_live_finisher_is_left_alone(stage: Stage) -> None:
    upload, _ = stage.completing()
    writer = stage.row(upload).writer
    stage.begin(stage.there, stage.there.uploads.recover)
    stage.begin(stage.here, stage.here.uploads.recover)
    assert stage.row(upload).writer == writer
    stage.let_go(stage.here)
    assert stage.is_finished(upload)


@pytest.mark.parametrize("call", ["assembly", "CompleteMultipartUpload", "finish"])
def test_trouble_that_passes_is_tried_again(stage: Stage, call: str) -> None:
    """S01, P01, I12."""
    upload = stage.create().result()
    error = (lambda: BucketFault("refused")) if call[0].isupper() else StoreUnavailable
    for _ in range(3):
        stage.fail(stage.here, call, error)
    patch = stage.patch(stage.here, upload, 0, WHOLE)
    assert not patch.done()
    stage.loop.advance(0.5 + 1 + 2)
    assert patch.result().status is UploadStatus.FINISHED
    assert stage.is_finished(upload)


@pytest.mark.parametrize("call", ["CompleteMultipartUpload", "finish"])
def test_a_lost_answer_is_settled(stage: Stage, call: str) -> None:
    """S06, P02: it happened; the second try finds that out, and the event is one."""
    upload = stage.create().result()
    stage.fail(stage.here, call, lambda: BucketFault("lost") if call[0].isupper() else StoreUnavailable(), "after")
    patch = stage.patch(stage.here, upload, 0, WHOLE)
    stage.loop.advance(1)
    assert patch.result().status is UploadStatus.FINISHED
    assert stage.is_finished(upload)
    assert stage.events().count(EventType.FINISHED) == 1


def test_bytes_that_are_gone_fail_the_upload_loudly(stage: Stage) -> None:
    """S10: 410, and an event, instead of an upload that never ends."""
    upload, patch = stage.completing()
    head = stage.head(stage.here, upload)
    stage.world.bucket.multiparts.clear()
    stage.let_go(stage.here)
    assert isinstance(patch.exception(), UploadGone)
    assert head.result().status is UploadStatus.FAILED
    assert stage.events()[-1] is EventType.FAILED
    assert isinstance(stage.patch(stage.there, upload, 11, b"b").exception(), UploadGone)
    stage.begin(stage.there, stage.there.sweeper.sweep)
    assert stage.world.stored_ids() == set()


def test_a_failure_that_cannot_be_written_down_is_tried_again(stage: Stage) -> None:
    upload = stage.create().result()
    stage.fail(stage.here, "assemble", BytesMissing)
    stage.fail(stage.here, "end", StoreUnavailable)
    patch = stage.patch(stage.here, upload, 0, WHOLE)
    stage.loop.advance(1)
    assert patch.result().status is UploadStatus.FINISHED  # the bytes were there when it looked again


def test_an_error_that_nobody_knows_ends_the_upload_after_some_tries(stage: Stage) -> None:
    upload = stage.create().result()
    for _ in range(MOST_TRIES - 1):
        stage.fail(stage.here, "assemble", RuntimeError)
    stage.fail(stage.here, "tried", StoreUnavailable)  # that one is not counted
    patch = stage.patch(stage.here, upload, 0, WHOLE)
    stage.loop.advance(200)
    assert isinstance(patch.exception(), UploadBusy)
    assert stage.is_finished(upload)

    upload = stage.create().result()
    for _ in range(MOST_TRIES):
        stage.fail(stage.here, "assemble", RuntimeError)
    stage.patch(stage.here, upload, 0, WHOLE)
    stage.loop.advance(200)
    assert stage.row(upload).status is UploadStatus.FAILED
    assert stage.events()[-1] is EventType.FAILED


def test_tries_are_counted_across_finishers(stage: Stage) -> None:
    """An upload that kills its finisher's attempt everywhere must not go round for ever."""
    upload = stage.create().result()
    for node in (stage.here, stage.there):
        for _ in range(MOST_TRIES):
            stage.fail(node, "assemble", RuntimeError)
    stage.patch(stage.here, upload, 0, WHOLE)
    stage.loop.advance(2)
    stage.here.die()
    stage.world.kill(stage.here.seat, power_cut=True)
    stage.begin(stage.there, stage.there.uploads.recover)
    stage.loop.advance(200)
    assert stage.row(upload).status is UploadStatus.FAILED
    assert len([trap for trap in stage.there.gates.traps if trap.call == "assemble"]) > 1


def test_a_drain_ends_the_waiting_and_leaves_the_rest_to_others(stage: Stage) -> None:
    """C10, C11."""
    upload = stage.create().result()
    for _ in range(3):
        stage.fail(stage.here, "assemble", StorageFault)
    patch = stage.patch(stage.here, upload, 0, WHOLE)
    head = stage.head(stage.here, upload)
    closing = stage.begin(stage.here, lambda: stage.here.uploads.close(5))
    stage.loop.advance(1)
    assert closing.done()
    assert isinstance(patch.exception(), UploadBusy)
    assert head.result().status is UploadStatus.COMPLETING
    stage.here.die()
    stage.world.kill(stage.here.seat, power_cut=True)
    stage.begin(stage.there, stage.there.uploads.recover)
    assert stage.is_finished(upload)


def test_a_drain_is_over_at_its_limit_though_a_finish_hangs(stage: Stage) -> None:
    """C11: one limit for the bodies and the finishes together."""
    upload, _ = stage.completing("assembly")
    closing = stage.begin(stage.here, lambda: stage.here.uploads.close(5))
    stage.loop.advance(7)
    assert closing.done()
    stage.here.gates.open_all()
    stage.here.die()
    stage.world.kill(stage.here.seat, power_cut=True)
    stage.begin(stage.there, stage.there.uploads.recover)
    assert stage.is_finished(upload)


def test_two_finishers_at_once_make_one_finish(stage: Stage) -> None:
    """K05, C14: the first one stood still and was taken for dead; then both go on."""
    upload = stage.create().result()
    stage.patch(stage.here, upload, 0, WHOLE[:3])
    stage.hold(stage.here, "assembly", "after")
    patch = stage.patch(stage.here, upload, 3, WHOLE[3:])
    stage.world.stand_still(stage.here.seat, still=True)
    stage.loop.advance(16)
    stage.hold(stage.there, "CompleteMultipartUpload")
    stage.begin(stage.there, stage.there.uploads.recover)
    stage.let_go(stage.here)
    stage.let_go(stage.there)
    stage.loop.advance(1)
    assert stage.is_finished(upload)
    assert patch.result().status is UploadStatus.FINISHED
    assert stage.events().count(EventType.FINISHED) == 1
    stage.begin(stage.there, stage.there.sweeper.sweep)
    assert stage.world.stored_ids() == {upload.id}


def test_a_call_of_unknown_outcome_before_the_last_byte_is_looked_after(stage: Stage) -> None:
    """I8, S02: a second multipart upload may come of it later; `completing` must remember that."""
    upload = stage.create().result()
    stage.fail(stage.here, "CreateMultipartUpload", lambda: BucketFault("twice"))
    patch = stage.patch(stage.here, upload, 0, WHOLE)
    assert patch.result().status is UploadStatus.FINISHED
    stage.world.land(0)
    assert len(stage.world.bucket.multiparts) == 1
    stage.loop.advance(1e6 + 1)
    stage.begin(stage.there, stage.there.sweeper.sweep)
    assert stage.world.stored_ids() == {upload.id}

"""`pre_finish` where the storage works on after the last byte, and where one call puts the whole object."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.uploads.asked import Asked
from tests.uploads.node import IDLE_SECONDS
from tests.uploads.stage import REQUEST, WHOLE, Stage
from tuspy_server.model import EventType, UploadStatus
from tuspy_server.protocol.errors import HookFailed, Refused, StoreUnavailable, TusError, UploadGone

SINGLE = b"abcd"
"""One part."""


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def stage(asked: Asked) -> Iterator[Stage]:
    stage = Stage(asked)
    yield stage
    stage.close()


def failed_of(stage: Stage) -> list[str]:
    events = stage.loop.do(stage.world.outbox.events(0, 100))
    return [event.data["reason"] for event in events if event.type is EventType.FAILED]


@pytest.mark.parametrize("content", [WHOLE, SINGLE])
def test_it_sees_the_object_in_its_place(stage: Stage, asked: Asked, content: bytes) -> None:
    upload = stage.create(length=len(content)).result()
    assert stage.patch(stage.here, upload, 0, content).result().status is UploadStatus.FINISHED
    assert asked.seen == [content]
    (stored,) = asked.stored
    assert stored.upload.placement is not None
    assert stored.upload.placement.etag is not None
    assert stored.upload.upload_length == len(content)
    assert stored.request is REQUEST


@pytest.mark.parametrize("content", [WHOLE, SINGLE])
def test_a_refused_object_goes(stage: Stage, asked: Asked, content: bytes) -> None:
    """I8. The client that brought the last bytes gets the hook's answer, everybody else 410."""
    upload = stage.create(length=len(content)).result()
    asked.answers = [Refused("a virus", 422)]
    patch = stage.patch(stage.here, upload, 0, content)
    assert isinstance(patch.exception(), Refused)
    assert stage.row(upload).status is UploadStatus.FAILED
    stage.loop.do(stage.world.outbox.relay(100))
    assert failed_of(stage) == ["a virus"]
    assert stage.head(stage.there, upload).result().is_gone
    assert isinstance(stage.patch(stage.here, upload, 3, content[3:]).exception(), UploadGone)
    assert stage.world.stored_ids() == set()
    assert stage.loop.do(stage.world.uploads.cleanups(10)) == []


def test_a_refused_post_of_a_whole_upload_goes(stage: Stage, asked: Asked) -> None:
    asked.answers = [Refused("no", 403)] * 3
    for content in (WHOLE, SINGLE, b""):
        assert isinstance(stage.create(content, len(content)).exception(), Refused)
    assert stage.world.stored_ids() == set()


@pytest.mark.parametrize("error", [HookFailed(), StoreUnavailable()])
def test_a_put_object_that_is_not_allowed_yet_counts_for_nothing(stage: Stage, asked: Asked, error: TusError) -> None:
    """I3, I4: only the object holds the bytes; the next writer sends them again and finds it in its place."""
    upload = stage.create(length=len(SINGLE)).result()
    asked.answers = [error]
    assert isinstance(stage.patch(stage.here, upload, 0, SINGLE).exception(), type(error))
    row = stage.head(stage.there, upload).result()
    assert (row.status, row.upload_offset, row.writer) == (UploadStatus.UPLOADING, 0, None)
    assert stage.patch(stage.there, upload, 0, SINGLE).result().status is UploadStatus.FINISHED
    assert stage.world.content(stage.row(upload))[0] == SINGLE
    assert asked.seen == [SINGLE, SINGLE]


def test_other_bytes_after_a_put_object_that_was_not_allowed(stage: Stage, asked: Asked) -> None:
    """I2: what is finished is what was asked about last, and what its client has sent."""
    upload = stage.create(length=len(SINGLE)).result()
    asked.answers = [HookFailed()]
    stage.patch(stage.here, upload, 0, SINGLE)
    assert stage.patch(stage.there, upload, 0, SINGLE[::-1]).result().status is UploadStatus.FINISHED
    assert stage.world.content(stage.row(upload))[0] == SINGLE[::-1]
    assert asked.seen == [SINGLE, SINGLE[::-1]]


def test_pieces_before_a_put_object_that_was_not_allowed_still_count(stage: Stage, asked: Asked) -> None:
    """I1: an offset that was shown stays."""
    upload = stage.create(length=len(SINGLE)).result()
    assert stage.patch(stage.here, upload, 0, SINGLE[:2]).result().upload_offset == 2
    asked.answers = [HookFailed()]
    assert isinstance(stage.patch(stage.here, upload, 2, SINGLE[2:]).exception(), HookFailed)
    assert stage.head(stage.here, upload).result().upload_offset == 2
    assert stage.patch(stage.there, upload, 2, SINGLE[2:]).result().status is UploadStatus.FINISHED
    assert stage.world.content(stage.row(upload))[0] == SINGLE


def test_an_abandoned_object_goes_with_its_upload(stage: Stage, asked: Asked) -> None:
    """I8: in its place, never finished, expired."""
    upload = stage.create(length=len(SINGLE)).result()
    asked.answers = [HookFailed()]
    stage.patch(stage.here, upload, 0, SINGLE)
    assert stage.world.stored_ids() == {upload.id}
    stage.loop.advance(10_000)
    stage.loop.carry_out(stage.here.sweeper.sweep())
    assert stage.row(upload).status is UploadStatus.EXPIRED
    assert stage.world.stored_ids() == set()


def test_requests_hear_of_a_hook_that_fails_and_have_it_asked_again(stage: Stage, asked: Asked) -> None:
    """500 while the upload goes on completing; it is finished by the next request, or by itself a little later."""
    upload = stage.create().result()
    asked.answers = [HookFailed(), HookFailed()]
    patch = stage.patch(stage.here, upload, 0, WHOLE)
    assert isinstance(patch.exception(), HookFailed)
    assert stage.row(upload).status is UploadStatus.COMPLETING
    assert isinstance(stage.head(stage.here, upload).exception(), HookFailed)
    assert stage.head(stage.here, upload).result().status is UploadStatus.FINISHED
    assert len(asked.stored) == 3
    assert stage.is_finished(upload)


def test_a_hook_that_fails_is_asked_again_without_anybody(stage: Stage, asked: Asked) -> None:
    """I6, I12."""
    upload = stage.create().result()
    asked.answers = [HookFailed()] * 3
    stage.patch(stage.here, upload, 0, WHOLE)
    stage.loop.advance(10)
    assert stage.is_finished(upload)
    assert len(asked.stored) == 4
    assert not stage.here.uploads.held_writers


def test_a_hook_that_fails_until_the_upload_would_have_expired_ends_it(stage: Stage, asked: Asked) -> None:
    """I8, I12."""
    upload = stage.create().result()
    asked.answers = [HookFailed()] * 1000
    stage.patch(stage.here, upload, 0, WHOLE)
    stage.loop.advance(IDLE_SECONDS / 2)
    assert stage.row(upload).status is UploadStatus.COMPLETING
    stage.loop.advance(IDLE_SECONDS)
    assert stage.row(upload).status is UploadStatus.FAILED
    stage.loop.do(stage.world.outbox.relay(100))
    assert failed_of(stage) == ["pre_finish"]


def test_last_bytes_that_come_just_before_the_expiry_leave_the_hook_as_much_time_as_any(
    stage: Stage, asked: Asked
) -> None:
    """I1: one failed answer would cost the whole upload."""
    upload = stage.create().result()
    stage.loop.advance(IDLE_SECONDS - 1)
    asked.answers = [HookFailed()] * 5
    assert isinstance(stage.patch(stage.here, upload, 0, WHOLE).exception(), HookFailed)
    stage.loop.advance(60)
    assert stage.is_finished(upload)


def test_a_post_whose_hook_fails_behind_its_last_byte_still_tells_its_url(stage: Stage, asked: Asked) -> None:
    """The upload cannot be taken back any more: a 500 would have its client send another."""
    asked.answers = [HookFailed()]
    upload = stage.create(WHOLE).result()
    assert upload.status is UploadStatus.COMPLETING
    assert upload.upload_offset == len(WHOLE) - 1
    assert stage.patch(stage.here, upload, len(WHOLE) - 1, WHOLE[-1:]).done()
    assert stage.is_finished(upload)


def test_a_crash_while_it_is_asked_has_another_node_ask(stage: Stage, asked: Asked) -> None:
    """I6, C-class: nothing was acknowledged; the finisher that comes after it asks for itself."""
    upload = stage.create().result()
    asked.open.clear()
    patch = stage.patch(stage.here, upload, 0, WHOLE)
    assert stage.row(upload).status is UploadStatus.COMPLETING
    assert not patch.done()
    stage.here.die()
    stage.world.kill(stage.here.seat, power_cut=False)
    asked.open.set()
    stage.loop.advance(60)
    stage.loop.carry_out(stage.there.uploads.recover())
    stage.loop.advance(5)
    assert stage.is_finished(upload)
    assert asked.seen == [WHOLE, WHOLE]
    assert stage.events().count(EventType.FINISHED) == 1


def test_a_server_that_comes_back_after_the_expiry_asks_more_than_once(stage: Stage, asked: Asked) -> None:
    """I1: the application may come up a moment later, and all bytes are there."""
    upload = stage.create().result()
    asked.open.clear()
    stage.patch(stage.here, upload, 0, WHOLE)
    stage.here.die()
    stage.world.kill(stage.here.seat, power_cut=False)
    asked.open.set()
    asked.answers = [HookFailed()] * 5
    stage.loop.advance(2 * IDLE_SECONDS)
    stage.loop.carry_out(stage.there.uploads.recover())
    stage.loop.advance(60)
    assert stage.is_finished(upload)


def test_a_crash_behind_a_put_object_has_the_next_writer_ask(stage: Stage, asked: Asked) -> None:
    upload = stage.create(length=len(SINGLE)).result()
    asked.open.clear()
    stage.patch(stage.here, upload, 0, SINGLE)
    assert asked.seen == [SINGLE]
    stage.here.die()
    stage.world.kill(stage.here.seat, power_cut=False)
    asked.open.set()
    head = stage.head(stage.there, upload)
    stage.loop.advance(2)
    assert head.result().upload_offset == 0
    assert stage.patch(stage.there, upload, 0, SINGLE).result().status is UploadStatus.FINISHED
    assert stage.world.content(stage.row(upload))[0] == SINGLE


def test_a_delete_behind_a_refusal_is_a_410(stage: Stage, asked: Asked) -> None:
    upload = stage.create().result()
    asked.open.clear()
    asked.answers = [Refused("no")]
    stage.patch(stage.here, upload, 0, WHOLE)
    delete = stage.delete(stage.here, upload)
    asked.open.set()
    stage.loop.settle()
    assert isinstance(delete.exception(), UploadGone)

"""`completing`: from the last byte to the object in its place. Time is virtual; two processes share rows and bucket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.uploads.asked import Asked
from tests.uploads.bodies import ScriptedBody
from tests.uploads.book import Book, Request, current_request
from tests.uploads.bucket_world import BucketWorld
from tests.uploads.gated_bucket import BucketFault
from tests.uploads.gates import Gate, Trap, When
from tests.uploads.node import Node
from tests.uploads.stepping import SteppedLoop
from tuspy_server.access import RequestContext
from tuspy_server.model import EventType, Upload, UploadStatus
from tuspy_server.protocol.core import Patch
from tuspy_server.protocol.creation import Create
from tuspy_server.protocol.errors import (
    BytesMissing,
    OffsetMismatch,
    StorageFault,
    StoreUnavailable,
    UploadBusy,
    UploadGone,
)
from tuspy_server.uploads.finishing import MOST_TRIES

WHOLE = b"0123456789ab"
REQUEST = RequestContext(method="PATCH", path="/files/u", headers={"authorization": "Bearer x"})


class Stage:
    """Parts of 4 bytes; requests wait 25 s for a finish, calls of the bucket 20 s, hearts stop after 15 s."""

    def __init__(self, gate: Asked | None = None) -> None:
        gate_of = None if gate is None else lambda _: gate
        self.loop = SteppedLoop()
        self.world = BucketWorld(self.loop)
        self.book = Book(self.world)
        self.here, self.there = (Node(self.loop, self.world, self.book, gate_of) for _ in range(2))

    def close(self) -> None:
        self.here.die()
        self.there.die()
        self.world.close()
        self.loop.close()

    def begin(
        self, node: Node, work: Callable[[], Coroutine[Any, Any, Any]], body: ScriptedBody | None = None
    ) -> asyncio.Task[Any]:
        def start() -> asyncio.Task[Any]:
            current_request.set(Request("patch", body or ScriptedBody.whole(b"")))
            return self.loop.create_task(work())

        task = node.run(start)
        self.loop.settle()
        return task

    def create(self, body: bytes = b"", length: int = len(WHOLE)) -> asyncio.Task[Upload]:
        create = Create(
            upload_length=length, upload_metadata=None, carries_body=bool(body), most_bytes=40, checksum=None
        )
        source = ScriptedBody.whole(body)
        return self.begin(self.here, lambda: self.here.uploads.create(create, source), source)

    def patch(self, node: Node, upload: Upload, offset: int, content: bytes) -> asyncio.Task[Upload]:
        body = ScriptedBody.whole(content)
        patch = Patch(upload_offset=offset, body_bytes=len(content), declared_length=None, checksum=None)
        return self.begin(node, lambda: node.uploads.append(upload.id, patch, body, request=REQUEST), body)

    def head(self, node: Node, upload: Upload) -> asyncio.Task[Upload]:
        return self.begin(node, lambda: node.uploads.look(upload.id))

    def delete(self, node: Node, upload: Upload) -> asyncio.Task[None]:
        return self.begin(node, lambda: node.uploads.terminate(upload.id))

    def hold(self, node: Node, call: str, when: When = "before") -> None:
        node.gates.traps.append(Trap(call, when))

    def fail(self, node: Node, call: str, error: Callable[[], Exception], when: When = "before") -> None:
        node.gates.traps.append(Trap(call, when, error))

    def held(self, node: Node) -> Gate:
        (gate,) = node.gates.waiting
        return gate

    def let_go(self, node: Node) -> None:
        node.gates.let_go(self.held(node))
        self.loop.settle()

    def completing(self, call: str = "CompleteMultipartUpload") -> tuple[Upload, asyncio.Task[Upload]]:
        """An upload whose last byte has come, held at a call of its finisher, `here`."""
        upload = self.create().result()
        self.hold(self.here, call)
        task = self.patch(self.here, upload, 0, WHOLE)
        assert self.row(upload).status is UploadStatus.COMPLETING
        return upload, task

    def row(self, upload: Upload) -> Upload:
        row = self.loop.do(self.world.uploads.get(upload.id))
        assert row is not None
        return row

    def is_finished(self, upload: Upload) -> bool:
        row = self.row(upload)
        whole = row.status is UploadStatus.FINISHED and row.upload_offset == len(WHOLE) and row.writer is None
        return whole and self.world.content(row)[0] == WHOLE

    def events(self) -> list[EventType]:
        return [event.type for event in self.loop.do(self.world.outbox.events(0, 100))]


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


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

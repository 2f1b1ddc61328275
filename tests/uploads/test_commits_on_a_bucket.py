"""Commits that a storage waits for: parts go only so far past the last one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.uploads.bodies import ScriptedBody
from tests.uploads.bucket_world import PART_BYTES
from tests.uploads.stage import Stage
from tuspy_server.model import PARTS_IN_FLIGHT, UploadStatus
from tuspy_server.protocol.core import Patch
from tuspy_server.protocol.errors import StoreUnavailable, WriterFenced


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


CONTENT = bytes(range(40))


def test_a_commit_that_failed_is_made_again_while_the_storage_waits_for_it(stage: Stage) -> None:
    """I12, B02: no byte comes that would cause the next one."""
    upload = stage.create(length=len(CONTENT)).result()
    stage.fail(stage.here, "commit", StoreUnavailable)
    patch = stage.patch(stage.here, upload, 0, CONTENT)
    stage.loop.advance(2)
    assert patch.result().status is UploadStatus.FINISHED
    assert stage.world.content(patch.result())[0] == CONTENT


def test_a_stale_writer_whose_storage_waits_for_a_commit_ends_at_once(stage: Stage) -> None:
    """I5, I12: it can never commit again; found by the machine, which saw a 503 at the storage's deadline."""
    upload = stage.create(length=len(CONTENT)).result()
    stage.hold(stage.here, "commit")
    stale = stage.patch(stage.here, upload, 0, CONTENT)
    assert stage.patch(stage.there, upload, 0, CONTENT[::-1]).result().status is UploadStatus.FINISHED
    stage.let_go(stage.here)
    assert isinstance(stale.exception(), WriterFenced)
    assert stage.world.content(stage.row(upload))[0] == CONTENT[::-1]


def test_a_stale_body_is_not_told_that_a_finished_upload_is_gone(stage: Stage) -> None:
    """I4: the sweep of the node where it still waits for its client comes to the finished upload's cleanup."""
    upload = stage.create(length=len(CONTENT)).result()
    body = ScriptedBody(CONTENT[:5])
    patch = Patch(upload_offset=0, body_bytes=len(CONTENT), declared_length=None, checksum=None)
    stale = stage.begin(stage.here, lambda: stage.here.uploads.append(upload.id, patch, body), body)
    stage.loop.advance(2)
    offset = stage.row(upload).upload_offset
    stage.hold(stage.there, "cleanup")
    finishing = stage.patch(stage.there, upload, offset, CONTENT[offset:])
    assert stage.row(upload).status is UploadStatus.FINISHED
    stage.loop.carry_out(stage.here.sweeper.sweep())
    assert isinstance(stale.exception(), WriterFenced)
    stage.let_go(stage.there)
    assert finishing.result().status is UploadStatus.FINISHED


def test_a_part_that_is_stored_is_counted_though_no_byte_comes_after_it(stage: Stage) -> None:
    """I12: a kill while the client is silent would cost whole parts that are there."""
    upload = stage.create(length=len(CONTENT)).result()
    stage.hold(stage.here, "UploadPart")
    body = ScriptedBody(CONTENT[:5])  # a part of four, and a byte
    patch = Patch(upload_offset=0, body_bytes=len(CONTENT), declared_length=None, checksum=None)
    stage.begin(stage.here, lambda: stage.here.uploads.append(upload.id, patch, body), body)
    stage.loop.advance(2)
    assert stage.row(upload).upload_offset == 0
    stage.let_go(stage.here)
    stage.loop.advance(2)
    assert stage.row(upload).upload_offset == 4


def test_the_last_part_waits_for_a_commit_rather_than_become_a_piece(stage: Stage) -> None:
    """Seen on a busy machine: the body was whole before its first commit, and the last of 13 parts was put as a piece
    and copied, for two calls more than the architecture's table allows."""
    parts = PARTS_IN_FLIGHT + 2  # the last of them may not go before one is counted
    content = bytes(range(parts * PART_BYTES))
    upload = stage.create(length=len(content)).result()
    assert stage.patch(stage.here, upload, 0, content).result().status is UploadStatus.FINISHED
    assert stage.world.bucket.calls == {"CreateMultipartUpload": 1, "UploadPart": parts, "CompleteMultipartUpload": 1}

"""What passes with time, on a time that moves when it is told to."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from tests.uploads.bodies import ScriptedBody
from tests.uploads.book import Book, Request, current_request
from tests.uploads.gates import Trap
from tests.uploads.node import Node
from tests.uploads.stepping import SteppedLoop
from tests.uploads.worlds import MemoryWorld
from tuspy_server.model import Upload
from tuspy_server.protocol.core import Patch
from tuspy_server.protocol.creation import Create
from tuspy_server.protocol.errors import BodyStalled, UploadBusy, WriterFenced


class Stage:
    """Body idle 30 s, commits each 0.2 s, HEAD waits 1 s, storage 60 s: see `node`."""

    def __init__(self) -> None:
        self.loop = SteppedLoop()
        self.world = MemoryWorld(self.loop)
        self.book = Book(self.world)
        self.node = Node(self.loop, self.world, self.book)

    def close(self) -> None:
        self.node.die()
        self.loop.close()

    def begin(self, work: Coroutine[Any, Any, Any], body: ScriptedBody | None = None) -> asyncio.Task[Any]:
        def start() -> asyncio.Task[Any]:
            current_request.set(Request("patch", body or ScriptedBody()))
            return self.loop.create_task(work)

        task = self.node.run(start)
        self.loop.settle()
        return task

    def create(self) -> Upload:
        create = Create(upload_length=40, upload_metadata=None, carries_body=False, most_bytes=40, checksum=None)
        upload: Upload = self.begin(self.node.uploads.create(create, ScriptedBody.whole(b""))).result()
        return upload

    def patch(self, upload: Upload, body: ScriptedBody) -> asyncio.Task[Any]:
        patch = Patch(upload_offset=0, body_bytes=None, declared_length=None, checksum=None)
        return self.begin(self.node.uploads.append(upload.id, patch, body), body)

    def offset(self, upload: Upload) -> int:
        row = self.loop.do(self.world.uploads.get(upload.id))
        assert row is not None
        return row.upload_offset


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


def test_a_body_may_be_slow_as_long_as_it_moves(stage: Stage) -> None:
    """CORE-PATCH-22, N11: the time runs from the last byte."""
    upload, body = stage.create(), ScriptedBody(b"1")
    patch = stage.patch(upload, body)
    for _ in range(5):
        stage.loop.advance(29.9)
        assert not patch.done()
        body.send(b"2")
        stage.loop.settle()
    stage.loop.advance(29.9)
    assert not patch.done()
    stage.loop.advance(0.2)
    assert isinstance(patch.exception(), BodyStalled)
    assert stage.offset(upload) == 6


def test_a_running_body_commits_a_few_times_a_second(stage: Stage) -> None:
    """I1 on the way: a kill loses at most an interval, and no client's pace makes more commits."""
    upload, body = stage.create(), ScriptedBody()
    stage.patch(upload, body)
    commits = 0
    for _ in range(20):
        body.send(b"1")
        before = stage.offset(upload)
        stage.loop.advance(0.05)
        commits += stage.offset(upload) > before
    assert 4 <= commits <= 6
    stage.loop.advance(0.25)
    assert stage.offset(upload) == 20


def test_a_quiet_body_commits_nothing(stage: Stage) -> None:
    upload, body = stage.create(), ScriptedBody(b"123")
    stage.patch(upload, body)
    stage.loop.advance(1)
    stage.node.gates.hold_next = math.inf
    stage.loop.advance(20)
    assert not stage.node.gates.waiting


def test_head_waits_a_second_for_storage_that_hangs_and_then_shows_the_row(stage: Stage) -> None:
    """N01, S04, I12."""
    upload, body = stage.create(), ScriptedBody(b"123")
    patch = stage.patch(upload, body)
    stage.node.gates.traps.append(Trap("sync", "before"))
    head = stage.begin(stage.node.uploads.look(upload.id))
    stage.loop.advance(0.9)
    assert not head.done()
    stage.loop.advance(0.2)
    assert head.result().upload_offset == 0
    assert not patch.done(), "the body goes on"


def test_a_claim_waits_for_a_writer_that_hangs_and_then_says_busy(stage: Stage) -> None:
    """K05, I5: two writers never write at once."""
    upload, body = stage.create(), ScriptedBody(b"123")
    early = stage.patch(upload, body)
    stage.node.gates.traps.append(Trap("sync", "before"))
    body.end()
    stage.loop.settle()
    late = stage.patch(upload, ScriptedBody.whole(b"456"))
    stage.loop.advance(59)
    assert not late.done()
    stage.loop.advance(2)
    assert isinstance(late.exception(), UploadBusy)
    stage.node.gates.open_all()
    stage.loop.settle()
    assert isinstance(early.exception(), WriterFenced)
    again = stage.patch(upload, ScriptedBody.whole(b"456"))
    assert again.result().upload_offset == 3
    assert stage.world.content(upload)[0] == b"456"

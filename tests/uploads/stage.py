"""Two processes on one bucket, in virtual time, and an upload that is put together between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tests.uploads.asked import Asked
from tests.uploads.bodies import ScriptedBody
from tests.uploads.book import Book, Request, current_request
from tests.uploads.bucket_world import BucketWorld
from tests.uploads.gates import Gate, Trap, When
from tests.uploads.node import Node
from tests.uploads.stepping import SteppedLoop
from tuspy_server.access import RequestContext
from tuspy_server.model import EventType, Upload, UploadStatus
from tuspy_server.protocol.core import Patch
from tuspy_server.protocol.creation import Create

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

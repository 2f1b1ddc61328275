"""A Hypothesis machine: clients, faults, crashes and time against the lifecycle, between any two of its awaits.

A step lets the server run until each of its tasks waits at a gate, for body bytes or for time; then the book is checked.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.uploads.bodies import ScriptedBody
from tests.uploads.book import Book, Entry, Request, current_request
from tests.uploads.gates import BLOB_CALLS, STORE_CALLS, Trap
from tests.uploads.judge import judge
from tests.uploads.node import CAP_SECONDS, IDLE_SECONDS, Node
from tests.uploads.stepping import SteppedLoop
from tests.uploads.worlds import MemoryWorld, World
from tuspy_server.model import UploadStatus
from tuspy_server.protocol.checksum import Checksum
from tuspy_server.protocol.core import Patch
from tuspy_server.protocol.creation import Create
from tuspy_server.protocol.errors import Overloaded, StorageFault, StorageFull, StoreUnavailable

MOST_BYTES: Final = 40
INDEX = st.integers(0, 7)
SIZE = st.integers(0, 12)
CHECKSUM = st.sampled_from(["none", "none", "none", "right", "wrong"])
WHEN = st.sampled_from(["before", "after"])
FAULTS: Final[dict[str, list[Callable[[], Exception]]]] = {
    **dict.fromkeys(STORE_CALLS, [StoreUnavailable, StorageFull]),
    **dict.fromkeys(BLOB_CALLS, [StorageFault, StorageFull]),
    "buffer": [StorageFault, StorageFull, Overloaded],
    "sync": [StorageFault],
}


def checksum_of(content: bytes, kind: str) -> Checksum | None:
    if kind == "none":
        return None
    return Checksum("sha1", hashlib.sha1(content if kind == "right" else content + b"?").digest())


class UploadsMachine(RuleBasedStateMachine):
    """In-memory stores; a subclass names another world."""

    make_world: ClassVar[Callable[[SteppedLoop], World]] = MemoryWorld
    checks_events_each_step: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.loop = SteppedLoop()
        self.world = type(self).make_world(self.loop)
        self.world.start()
        self.book = Book(self.world)
        self.node = Node(self.loop, self.world, self.book)
        self.requests: list[Request] = []
        self.faulted = False
        self.sound = True
        self.random = random.Random(0)

    # --- clients -------------------------------------------------------------------------------------------------

    @rule(length=st.none() | SIZE, carries=st.booleans(), size=SIZE, sent=SIZE, ends=st.booleans(), checksum=CHECKSUM)
    @precondition(lambda self: len(self.book.entries) < 3)
    def create(self, length: int | None, carries: bool, size: int, sent: int, ends: bool, checksum: str) -> None:
        planned = self.random.randbytes(size) if carries else b""
        request = Request("create", ScriptedBody(), planned=planned, chunked=True, checksum=checksum)
        create = Create(
            upload_length=length,
            upload_metadata=None,
            carries_body=carries,
            most_bytes=MOST_BYTES if length is None else length,
            checksum=checksum_of(planned, checksum) if carries else None,
        )
        request.checksum = checksum if carries else "none"
        self._begin(request, lambda: self.node.uploads.create(create, request.body), sent, ends=ends or not carries)

    @rule(
        index=INDEX,
        astray=st.sampled_from([0, 0, 0, 0, -1, 1, -5]),
        size=SIZE,
        sent=SIZE,
        ends=st.booleans(),
        chunked=st.booleans(),
        declares=st.sampled_from([None, None, 0, 3]),
        checksum=CHECKSUM,
    )
    @precondition(lambda self: self._known())
    def patch(
        self,
        index: int,
        astray: int,
        size: int,
        sent: int,
        ends: bool,
        chunked: bool,
        declares: int | None,
        checksum: str,
    ) -> None:
        entry = self._pick(self._known(), index)
        start = max(len(entry.counted) + astray, 0)
        if entry.length is not None and size % 3 == 0:
            size = max(entry.length - start, 0)  # to the end, often
        planned = self.random.randbytes(size)
        request = Request(
            "patch",
            ScriptedBody(),
            upload_id=entry.upload_id,
            start=start,
            planned=planned,
            chunked=chunked,
            checksum=checksum,
        )
        patch = Patch(
            upload_offset=start,
            body_bytes=None if chunked else size,
            declared_length=None if declares is None else start + size + declares,
            checksum=checksum_of(planned, checksum),
        )
        self._begin(request, lambda: self.node.uploads.append(entry.upload_id, patch, request.body), sent, ends=ends)

    @rule(index=INDEX)
    @precondition(lambda self: self._known())
    def head(self, index: int) -> None:
        entry = self._pick(self._known(), index)
        request = Request("head", ScriptedBody.whole(b""), upload_id=entry.upload_id)
        self._begin(request, lambda: self.node.uploads.look(entry.upload_id))

    @rule(index=INDEX)
    @precondition(lambda self: self._known())
    def delete(self, index: int) -> None:
        entry = self._pick(self._known(), index)
        entry.delete_asked = True
        request = Request("delete", ScriptedBody.whole(b""), upload_id=entry.upload_id)
        self._begin(request, lambda: self.node.uploads.terminate(entry.upload_id))

    @rule(index=INDEX, count=st.integers(1, 12))
    @precondition(lambda self: self._open_bodies())
    def send(self, index: int, count: int) -> None:
        request = self._pick(self._open_bodies(), index)
        self._send(request, count)
        self.loop.settle()

    @rule(index=INDEX, how=st.sampled_from(["end", "disconnect", "overrun"]))
    @precondition(lambda self: self._open_bodies())
    def end_body(self, index: int, how: str) -> None:
        request = self._pick(self._open_bodies(), index)
        if how == "disconnect":
            request.body.disconnect()
        else:
            self._send(request, MOST_BYTES)
            if how == "overrun" and request.chunked:
                request.body.send(self.random.randbytes(MOST_BYTES + 1))
            request.body.end()
        self.loop.settle()

    @rule(index=INDEX)
    @precondition(lambda self: self._pending())
    def cancel(self, index: int) -> None:
        """Faults C11, B09: the task of the request, at whatever await it stands."""
        request = self._pick(self._pending(), index)
        request.cancelled = True
        if request.task is not None:
            request.task.cancel()
        self.loop.settle()

    # --- gates and faults ----------------------------------------------------------------------------------------

    @rule()
    def hold_everything(self) -> None:
        self.node.gates.hold_all = True

    @rule(call=st.sampled_from([*STORE_CALLS, *BLOB_CALLS]), when=WHEN)
    def hold_one(self, call: str, when: Any) -> None:
        self.node.gates.traps.append(Trap(call, when))

    @rule(call=st.sampled_from([*STORE_CALLS, *BLOB_CALLS]), when=WHEN, which=INDEX)
    def fail_one(self, call: str, when: Any, which: int) -> None:
        self.faulted = True
        self.node.gates.traps.append(Trap(call, when, self._pick(FAULTS[call], which)))

    @rule(index=INDEX)
    @precondition(lambda self: self.node.gates.waiting)
    def let_go(self, index: int) -> None:
        self.node.gates.let_go(self._pick(self.node.gates.waiting, index))
        self.loop.settle()

    @rule(index=INDEX, which=INDEX)
    @precondition(lambda self: self.node.gates.waiting)
    def fail_waiting(self, index: int, which: int) -> None:
        self.faulted = True
        gate = self._pick(self.node.gates.waiting, index)
        self.node.gates.let_go(gate, self._pick(FAULTS[gate.call], which)())
        self.loop.settle()

    @rule()
    def let_all_go(self) -> None:
        self.node.gates.open_all()
        self.loop.settle()

    # --- time and death ------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.3, 1.1, 31.0, 61.0, IDLE_SECONDS]))
    def pass_time(self, seconds: float) -> None:
        self.loop.advance(seconds)

    @rule()
    def sweep(self) -> None:
        request = Request("sweep", ScriptedBody.whole(b""))
        self._begin(request, self.node.sweeper.sweep)

    @rule(power_cut=st.booleans())
    def crash(self, power_cut: bool) -> None:
        """Faults C01, C03, D03, D04."""
        self._die(power_cut=power_cut)

    @rule(patient=st.booleans())
    def drain_and_restart(self, patient: bool) -> None:
        """Faults C10, C11: a drain that ends by itself, or at its limit."""
        if patient:
            self.let_all_go()
        closing = self.loop.create_task(self.node.uploads.close(5.0))
        self.loop.settle()
        if patient and not closing.done():
            self.book.complain("C10: with no fault and no gate, the drain does not end")
        self.loop.advance(7)
        if not closing.done():
            self.book.complain("C11: the drain passed its limit")
        self._die(power_cut=False)

    # --- what must hold ------------------------------------------------------------------------------------------

    @initialize(seed=st.integers(0, 2**16))
    def seed_bodies(self, seed: int) -> None:
        self.random = random.Random(seed)

    @invariant()
    def everything_holds(self) -> None:
        self._settle_answers()
        self.book.check_rows()
        if self.checks_events_each_step:
            self.book.check_events()
        self._raise_complaints()

    def teardown(self) -> None:
        try:
            if self.sound:
                self.finish_everything()
        finally:
            self.node.die()
            self.world.close()
            self.loop.close()

    def finish_everything(self) -> None:
        """I12: faults are over, everybody comes back, every upload that is known is finished; then time sweeps the rest."""
        self.let_all_go()
        for request in self.requests:
            request.body.disconnect()
        self.loop.settle()
        self.loop.advance(1.1)  # what HEAD may wait
        self.everything_holds()
        stuck = [request.kind for request in self._pending()]
        if stuck or self.node.gates.waiting:
            self.book.complain(f"I12: {stuck} do not end though no fault is left")
        for entry in self._known():
            self._finish(entry)
        self.everything_holds()
        self.loop.advance(CAP_SECONDS + 1)
        self.loop.do(self.node.sweeper.sweep())
        self.book.check_rows()
        self.book.check_events()
        self._check_nothing_is_left()
        self._raise_complaints()

    def _finish(self, entry: Entry) -> None:
        """I4: with nothing under way, the offset of HEAD is the one that the next PATCH may have."""
        upload = self.loop.do(self.node.uploads.look(entry.upload_id))
        if upload.is_gone or upload.status is UploadStatus.FINISHED:
            return
        self.book.shown(entry.upload_id, upload.upload_offset)
        length = upload.upload_offset + 3 if upload.upload_length is None else upload.upload_length
        rest = self.random.randbytes(length - upload.upload_offset)
        request = Request("patch", ScriptedBody.whole(rest), entry.upload_id, upload.upload_offset, rest)
        patch = Patch(upload_offset=upload.upload_offset, body_bytes=len(rest), declared_length=length, checksum=None)
        self._begin(request, lambda: self.node.uploads.append(entry.upload_id, patch, request.body))
        self._settle_answers()
        if not entry.was_finished:
            self.book.complain(f"I4, I12: the upload cannot be finished: {request.answer}")

    def _check_nothing_is_left(self) -> None:
        finished = {entry.upload_id for entry in self.book.entries.values() if entry.was_finished and not entry.end}
        if self.world.stored_ids() != finished:
            self.book.complain("I8: bytes are left that no live upload has, or the other way round")
        if self.loop.do(self.world.uploads.cleanups(10)):
            self.book.complain("I8: a cleanup is left")
        if self.node.uploads.held_writers:
            self.book.complain("I12: a writer is held though nothing runs")

    # --- helpers -------------------------------------------------------------------------------------------------

    def _begin(
        self, request: Request, work: Callable[[], Coroutine[Any, Any, Any]], sent: int = 0, *, ends: bool = False
    ) -> None:
        self._send(request, sent)
        if ends and (request.chunked or len(request.body.sent) == len(request.planned)):
            request.body.end()
        token = current_request.set(request)
        request.task = self.loop.create_task(work())
        current_request.reset(token)
        self.requests.append(request)
        self.loop.settle()

    def _send(self, request: Request, count: int) -> None:
        done = len(request.body.sent)
        request.body.send(request.planned[done : done + count])
        if not request.chunked and len(request.body.sent) == len(request.planned):
            request.body.end()  # Content-Length says so

    def _settle_answers(self) -> None:
        for request in self.requests:
            if request.task is not None and request.task.done() and request.answer == "none yet":
                judge(request, self.book, self.node, faulted=self.faulted)

    def _raise_complaints(self) -> None:
        if self.book.complaints:
            self.sound = False
            raise AssertionError("; ".join(self.book.complaints))

    def _die(self, *, power_cut: bool) -> None:
        self._settle_answers()
        self.node.die()
        for request in self._pending():
            request.answer = "died"
            request.body.disconnect()
        self.world.kill(power_cut=power_cut)
        self.world.start()
        self.node = Node(self.loop, self.world, self.book)

    def _known(self) -> list[Entry]:
        return [entry for entry in self.book.entries.values() if entry.known]

    def _pending(self) -> list[Request]:
        return [request for request in self.requests if request.answer == "none yet"]

    def _open_bodies(self) -> list[Request]:
        return [request for request in self.requests if request.body.is_open and request.answer != "died"]

    @staticmethod
    def _pick(items: list[Any], index: int) -> Any:
        return items[index % len(items)]

"""A Hypothesis machine: clients, faults, crashes and time against the lifecycle, between any two of its awaits.

A step lets the server run until each of its tasks waits at a gate, for body bytes or for time; then all is checked.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.uploads.bodies import ScriptedBody
from tests.uploads.book import Request
from tests.uploads.gates import BLOB_CALLS, STORE_CALLS, DiskFull, Trap
from tests.uploads.node import IDLE_SECONDS
from tests.uploads.scene import MOST_BYTES, Scene
from tuspy_server.protocol.checksum import Checksum
from tuspy_server.protocol.core import Patch
from tuspy_server.protocol.creation import Create
from tuspy_server.protocol.errors import Overloaded, StorageFault, StorageFull, StoreUnavailable

MOST_REQUESTS: Final = 6
INDEX = st.integers(0, 7)
SIZE = st.integers(0, 12)
RARELY = st.integers(0, 3).map(lambda number: number == 3)
CHECKSUM = st.sampled_from(["none", "none", "none", "right", "wrong"])
WHEN = st.sampled_from(["before", "after"])
CALL = st.sampled_from(
    [
        *STORE_CALLS,
        *BLOB_CALLS,
        "claim",
        "claim",
        "commit",
        "commit",
        "commit",
        "finish",
        "open_writer",
        "sync",
        "end",
        "pre_finish",
    ]
)
FAULTS: Final[dict[str, list[Callable[[], Exception]]]] = {
    **{call: [StoreUnavailable, StorageFull] for call in STORE_CALLS},
    **{call: [StorageFault, StorageFull] for call in BLOB_CALLS},
    "pre_finish": [StoreUnavailable, StorageFull],
    "buffer": [StorageFault, StorageFull, Overloaded],
    "sync": [StorageFault],
}


def checksum_of(content: bytes, kind: str) -> Checksum | None:
    if kind == "none":
        return None
    return Checksum("sha1", hashlib.sha1(content if kind == "right" else content + b"?").digest())


class UploadsMachine(Scene):
    """The rules."""

    waits_are_limited: ClassVar[bool] = False
    first_lengths: ClassVar[tuple[int | None, ...]] = (20, None)

    @initialize(seed=st.integers(0, 2**16))
    def begin(self, seed: int) -> None:
        self.random = random.Random(seed)
        for length in self.first_lengths:
            self.create(length, carries=False, size=0, sent=0, ends=True, checksum="none")
        self._settle_answers()

    def faults_of(self, call: str) -> list[Callable[[], Exception]]:
        """What it may raise."""
        return FAULTS[call]

    # --- clients -------------------------------------------------------------------------------------------------

    @rule(
        length=st.sampled_from([None, 0, 0, 1, 8, 12, 20]),
        carries=st.booleans(),
        size=SIZE,
        sent=SIZE,
        ends=st.booleans(),
        checksum=CHECKSUM,
    )
    @precondition(lambda self: sum(entry.end is None for entry in self.book.entries.values()) < 3)
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
        rival=RARELY,
    )
    @precondition(lambda self: self._known() and len(self._pending()) < MOST_REQUESTS)
    def patch(
        self,
        *,
        index: int,
        rival: bool,
        astray: int,
        size: int,
        sent: int,
        ends: bool,
        chunked: bool,
        declares: int | None,
        checksum: str,
    ) -> None:
        entry = self._pick_target(index, rival=rival)
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

    @rule(
        index=INDEX,
        rival=RARELY,
        size=st.integers(2, 12),
        sent=st.integers(1, 6),
        checksum=CHECKSUM,
        pause=st.booleans(),
    )
    @precondition(lambda self: self._known() and len(self._pending()) < MOST_REQUESTS)
    def begin_a_body(self, index: int, rival: bool, size: int, sent: int, checksum: str, pause: bool) -> None:
        """A PATCH that is accepted and then waits for its client: most of what can go wrong goes wrong there."""
        entry = self._pick_target(index, rival=rival)
        room = MOST_BYTES if entry.length is None else entry.length - len(entry.counted)
        self.patch(
            index=index,
            rival=rival,
            astray=0,
            size=min(size, room),
            sent=sent,
            ends=False,
            chunked=True,
            declares=None,
            checksum=checksum,
        )
        if pause:
            self.loop.advance(0.3)

    @rule(index=INDEX)
    @precondition(lambda self: self._known() and len(self._pending()) < MOST_REQUESTS)
    def head(self, index: int) -> None:
        entry = self._pick(self._known(), index)
        request = Request("head", ScriptedBody.whole(b""), upload_id=entry.upload_id)
        self._begin(request, lambda: self.node.uploads.look(entry.upload_id))

    @rule(index=INDEX, really=RARELY)
    @precondition(lambda self: self._known())
    def delete(self, index: int, really: bool) -> None:
        if not really:
            return
        entry = self._pick(self._known(), index)
        entry.delete_asked = True
        request = Request("delete", ScriptedBody.whole(b""), upload_id=entry.upload_id)
        self._begin(request, lambda: self.node.uploads.terminate(entry.upload_id))

    @rule(index=INDEX, count=st.integers(1, 12), pause=st.booleans())
    @precondition(lambda self: self._open_bodies())
    def send(self, index: int, count: int, pause: bool) -> None:
        request = self._pick(self._open_bodies(), index)
        self._send(request, count)
        self.loop.settle()
        if pause:
            self.loop.advance(0.3)

    @rule(index=INDEX, how=st.sampled_from(["end", "disconnect", "overrun"]))
    @precondition(lambda self: self._open_bodies())
    def end_body(self, index: int, how: str) -> None:
        self._end(self._pick(self._open_bodies(), index), how)

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

    @rule(count=st.integers(1, 5))
    def hold_some(self, count: int) -> None:
        """Not all: a server in which nothing moves shows nothing."""
        self.node.gates.hold_next = count

    @rule(call=CALL, when=WHEN)
    def hold_one(self, call: str, when: Any) -> None:
        self.node.gates.traps.append(Trap(call, when))

    @rule(call=CALL, when=WHEN, which=INDEX)
    def fail_one(self, call: str, when: Any, which: int) -> None:
        self.faulted = True
        self.node.gates.traps.append(Trap(call, when, self._pick(self.faults_of(call), which)))

    @rule(
        index=INDEX,
        count=st.integers(1, 8),
        call=st.sampled_from(["commit", "sync"]),
        when=WHEN,
        how=st.sampled_from(["go on", "end", "disconnect", "overrun"]),
    )
    @precondition(lambda self: self._open_bodies())
    def fail_a_commit_of_a_running_body(self, index: int, count: int, call: str, when: Any, how: str) -> None:
        """What the others rarely come to: a body goes on after a commit of unknown outcome."""
        request = self._pick(self._open_bodies(), index)
        self._send(request, count)
        self.loop.settle()
        self.fail_one(call, when, 0)
        self.pass_time(0.3)
        if how != "go on" and request.body.is_open:
            self._end(request, how)

    @rule(index=INDEX)
    @precondition(lambda self: self._waiting())
    def let_go(self, index: int) -> None:
        gates, gate = self._pick(self._waiting(), index)
        gates.let_go(gate)
        self.loop.settle()

    @rule(index=INDEX, which=INDEX)
    @precondition(lambda self: self._waiting())
    def fail_waiting(self, index: int, which: int) -> None:
        self.faulted = True
        gates, gate = self._pick(self._waiting(), index)
        faults = self.faults_of(gate.call)
        gates.let_go(gate, self._pick(faults, which)() if faults else None)
        self.loop.settle()

    @rule()
    def let_all_go(self) -> None:
        self._open_all_gates()

    @rule(keep=st.integers(0, 3))
    def fill_the_disk(self, keep: int) -> None:
        """Fault D02: the next sync keeps `keep` bytes more, and there is no room for others."""
        self.faulted = True
        self.node.gates.traps.append(Trap("sync", "before", lambda: DiskFull(keep)))

    # --- time and death ------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.3, 0.3, 0.3, 1.1, 1.1, 31.0, 61.0, IDLE_SECONDS]))
    def pass_time(self, seconds: float) -> None:
        self.faulted = self.faulted or (self.waits_are_limited and seconds > 1.1 and bool(self._waiting()))
        self.loop.advance(seconds)

    @rule(really=RARELY)
    def sweep(self, really: bool) -> None:
        if not really:
            return
        request = Request("sweep", ScriptedBody.whole(b""))
        self._begin(request, lambda: self.node.sweeper.sweep())  # noqa: PLW0108  (it may be another node by then)

    @rule(power_cut=st.booleans(), really=RARELY)
    def crash(self, power_cut: bool, really: bool) -> None:
        """Faults C01, C03, D03, D04."""
        if really:
            self._die(power_cut=power_cut)

    @rule(patient=st.booleans(), really=RARELY)
    def drain_and_restart(self, patient: bool, really: bool) -> None:
        """Faults C10, C11: a drain that ends by itself, or at its limit."""
        if not really:
            return
        if patient:
            self._open_all_gates()
        closing = self.node.run(lambda: self.loop.create_task(self.node.uploads.close(5.0)))
        self.loop.settle()
        if patient and self.patience_seconds > 2:
            self.loop.advance(2)
        if patient and not closing.done():
            self.book.complain("C10: with no fault and no gate, the drain does not end")
        self.loop.advance(7)
        if not closing.done():
            self.book.complain("C11: the drain passed its limit")
        self._die(power_cut=False)

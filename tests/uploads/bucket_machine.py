"""The machine on object storage: two processes, parts and pieces, and a bucket whose calls fail and come late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.uploads.bodies import ScriptedBody
from tests.uploads.book import Entry, Request
from tests.uploads.bucket_world import PART_BYTES, SETTLED_SECONDS, BucketWorld
from tests.uploads.gated_bucket import BUCKET_CALLS, BUCKET_FAULTS
from tests.uploads.gates import ASSEMBLY_CALLS, BLOB_CALLS, STORE_CALLS, Trap
from tests.uploads.machine import INDEX, MOST_REQUESTS, RARELY, WHEN, UploadsMachine
from tests.uploads.node import Node
from tests.uploads.scene import MOST_BYTES
from tuspy_server.protocol.core import Patch
from tuspy_server.protocol.errors import StorageFull, StoreUnavailable

CALL: Final = st.sampled_from(
    [
        *STORE_CALLS,
        *ASSEMBLY_CALLS,
        *BUCKET_CALLS,
        *("claim", "commit", "commit", "finish", "finish", "complete", "complete", "pre_finish"),
        *("PutObject", "PutObject", "UploadPart", "UploadPart", "UploadPart", "CompleteMultipartUpload"),
        *("CreateMultipartUpload", "CompleteMultipartUpload", "HeadObject"),
    ]
)


LAST_CALL: Final = st.sampled_from(
    [
        *(
            "complete",
            "assembly",
            "finish",
            "finish",
            "cleanup",
            "cleaned",
            "pre_finish",
            "UploadPartCopy",
            "CompleteMultipartUpload",
        ),
        *("CompleteMultipartUpload", "UploadPart", "PutObject", "DeleteObjects", "CreateMultipartUpload", "assemble"),
    ]
)


class BucketMachine(UploadsMachine):
    """Each request goes to one of the processes by chance."""

    world_type = BucketWorld
    node_count = 2
    checks_events_each_step = False
    patience_seconds = 65.0
    waits_are_limited = True
    first_lengths = (20, None, PART_BYTES - 1, MOST_BYTES)

    world: BucketWorld
    chosen: Node | None = None

    def faults_of(self, call: str) -> list[Callable[[], Exception]]:
        if call in BUCKET_CALLS:
            return BUCKET_FAULTS
        return [] if call in (*BLOB_CALLS, "assemble") else [StoreUnavailable, StorageFull]

    def _begin(self, request: Request, work: Callable[[], Any], sent: int = 0, *, ends: bool = False) -> None:
        awake = [node for node in self.nodes if not node.is_still] or self.nodes
        self.node = self.chosen or self.random.choice(awake)
        super()._begin(request, work, sent, ends=ends)

    def _settle_answers(self) -> None:
        self.faulted = self.faulted or self.world.wire.timeouts > 0
        super()._settle_answers()

    @rule(call=CALL, when=WHEN)
    def hold_one(self, call: str, when: Any) -> None:
        self._some_node().gates.traps.append(Trap(call, when))

    @rule(call=CALL, when=WHEN, which=INDEX)
    def fail_one(self, call: str, when: Any, which: int) -> None:
        self.faulted = True
        self._some_node().gates.traps.append(Trap(call, when, self._pick(self.faults_of(call), which)))

    @rule(call=CALL, when=WHEN, which=INDEX)
    def fail_another(self, call: str, when: Any, which: int) -> None:
        self.fail_one(call, when, which)

    fill_the_disk = None  # type: ignore[assignment]

    @rule(
        index=INDEX,
        count=st.integers(1, 8),
        call=st.sampled_from(["commit", "PutObject", "UploadPart", "CreateMultipartUpload"]),
        when=WHEN,
        which=INDEX,
        how=st.sampled_from(["go on", "end", "disconnect", "overrun"]),
    )
    @precondition(lambda self: self._open_bodies())
    def fail_a_commit_of_a_running_body(
        self, index: int, count: int, call: str, when: Any, which: int, how: str
    ) -> None:
        request = self._pick(self._open_bodies(), index)
        self.faulted = True
        node = request.node if request.node in self.nodes else self.node
        node.gates.traps.append(Trap(call, when, self._pick(self.faults_of(call), which)))
        self._send(request, count)
        self.loop.settle()
        self.pass_time(0.3)
        if how != "go on" and request.body.is_open:
            self._end(request, how)

    def _some_node(self) -> Any:
        return self.random.choice(self.nodes)

    # --- what chance alone rarely comes to -----------------------------------------------------------------------

    @rule(
        index=INDEX,
        call=LAST_CALL,
        when=WHEN,
        which=st.integers(0, 11),
        then=st.sampled_from(["go on", "head", "patch", "delete", "crash", "crash", "pause", "land", "land"]),
    )
    @precondition(lambda self: len(self._pending()) < MOST_REQUESTS)
    def finish_in_trouble(self, index: int, call: str, when: Any, which: int, then: str) -> None:
        """The last bytes come, and something happens on the way from them to the finished upload."""
        entries = [entry for entry in self._known() if not entry.end and entry.whole is None and entry.length]
        if not entries:
            return
        entry = self._pick(entries, index)
        self.chosen = self._some_node()
        if (entry.length or 0) <= PART_BYTES and which % 2:
            call = "PutObject"
        faults = self.faults_of(call)
        error = self._pick(faults, which) if faults and which < 6 else None
        self.faulted = True
        self.chosen.gates.traps.append(Trap(call, when, error))
        self._send_rest(entry)
        if then == "crash":
            self.node = self.chosen
            self._die(power_cut=which % 2 == 0)
        elif then == "pause" and not any(node.is_still for node in self.nodes):
            self.chosen.stand_still(still=True)
        elif then == "land":
            self._land_all()
        self.chosen = None
        if then != "go on":
            self.loop.advance(self.random.choice([0.1, 1.1, 16.0]))
        if then == "delete":
            entry.delete_asked = True
            request = Request("delete", ScriptedBody.whole(b""), upload_id=entry.upload_id)
            self._begin(request, lambda: self.node.uploads.terminate(entry.upload_id))
        elif then == "patch":
            self._send_rest(entry)
        elif then != "go on":
            request = Request("head", ScriptedBody.whole(b""), upload_id=entry.upload_id)
            self._begin(request, lambda: self.node.uploads.look(entry.upload_id))

    def _land_all(self) -> None:
        while self.world.wire.late:
            self.world.land(0)

    @rule(index=INDEX, sent=st.integers(1, 20))
    @precondition(lambda self: self._known() and len(self._pending()) < MOST_REQUESTS)
    def begin_a_long_body(self, index: int, sent: int) -> None:
        """To the end of the upload."""
        self.patch(
            index=index,
            rival=False,
            astray=0,
            size=0,
            sent=sent,
            ends=False,
            chunked=True,
            declares=None,
            checksum="none",
        )

    def _send_rest(self, entry: Entry) -> None:
        start = len(entry.counted)
        rest = self.random.randbytes(max((entry.length or 0) - start, 0))
        request = Request("patch", ScriptedBody(), upload_id=entry.upload_id, start=start, planned=rest)
        patch = Patch(upload_offset=start, body_bytes=len(rest), declared_length=None, checksum=None)
        self._begin(
            request, lambda: self.node.uploads.append(entry.upload_id, patch, request.body), len(rest), ends=True
        )

    @rule(
        index=INDEX,
        count=st.sampled_from([4, 8, 12, 16, MOST_BYTES]),
        call=st.sampled_from(["UploadPart", "UploadPart", "PutObject", "CreateMultipartUpload", "commit"]),
        when=WHEN,
        which=INDEX,
        then=st.sampled_from(["go on", "crash", "pause"]),
    )
    @precondition(lambda self: self._open_bodies() and len(self._pending()) < MOST_REQUESTS)
    def overtake(self, *, index: int, count: int, call: str, when: Any, which: int, then: str) -> None:
        """A client that has lost its connection goes on with other bytes through another process, while calls of the
        first one are on their way (fault K05)."""
        request = self._pick(self._open_bodies(), index)
        entry = self.book.entries.get(request.upload_id or "")
        if (
            request.node not in self.nodes
            or entry is None
            or entry.end
            or entry.was_finished
            or entry.whole is not None
        ):
            return
        self.faulted = True
        first: Any = request.node
        error = self._pick(self.faults_of(call), which) if which < 3 else None
        first.gates.traps.append(Trap(call, when, error))
        self._send(request, count)
        self.loop.settle()
        if then == "crash":
            self.node = first
            self._die(power_cut=which % 2 == 0)
        elif then == "pause" and not any(node.is_still for node in self.nodes):
            first.stand_still(still=True)
        self.chosen = self._pick([node for node in self.nodes if node is not first], 0)
        start, room = len(entry.counted), (MOST_BYTES if entry.length is None else entry.length) - len(entry.counted)
        planned = self.random.randbytes(min(count, room))
        rival = Request("patch", ScriptedBody(), entry.upload_id, start, planned, chunked=True)
        patch = Patch(upload_offset=start, body_bytes=None, declared_length=None, checksum=None)
        self._begin(
            rival,
            lambda: self.node.uploads.append(entry.upload_id, patch, rival.body),
            len(planned),
            ends=which % 2 == 0,
        )
        self.chosen = None

    # --- processes that stand still, calls that come late --------------------------------------------------------

    @rule(really=st.booleans())
    @precondition(lambda self: not any(node.is_still for node in self.nodes))
    def pause_a_process(self, really: bool) -> None:
        """Faults K05, C14: it is taken for dead, and comes back."""
        if really:
            self.faulted = True
            node = self._some_node()
            node.stand_still(still=True)

    @rule()
    @precondition(lambda self: any(node.is_still for node in self.nodes))
    def wake_it_up(self) -> None:
        for node in self.nodes:
            if node.is_still:
                node.stand_still(still=False)
        self.loop.settle()

    @rule(index=INDEX)
    @precondition(lambda self: self.world.wire.late)
    def land_one(self, index: int) -> None:
        """Faults S07, S08: a call whose caller is gone."""
        self.world.land(index)

    @rule(really=RARELY)
    def recover(self, really: bool) -> None:
        if really:
            self._begin(Request("sweep", ScriptedBody.whole(b"")), lambda: self.node.uploads.recover())  # noqa: PLW0108  (it may be another node by then)

    # --- the end -------------------------------------------------------------------------------------------------

    def let_time_sweep(self) -> None:
        self._land_all()
        super().let_time_sweep()
        self.loop.advance(SETTLED_SECONDS + 1)
        self.loop.carry_out(self.node.sweeper.sweep())

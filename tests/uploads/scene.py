"""What the machine's rules are played on: one process after the other over one world, and what must hold on it."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, ClassVar, Final
from unittest import mock

from hypothesis.stateful import RuleBasedStateMachine, invariant

from tests.uploads.asked import AskedBook
from tests.uploads.bodies import ScriptedBody
from tests.uploads.book import Book, Entry, Request, current_request
from tests.uploads.gates import Gate, Gates
from tests.uploads.judge import judge
from tests.uploads.node import CAP_SECONDS, Node
from tests.uploads.stepping import SteppedLoop
from tests.uploads.worlds import MemoryWorld, World
from tuspy_server.model import UploadStatus
from tuspy_server.protocol.core import Patch

MOST_BYTES: Final = 40
OPEN: Final = ("none yet", "cancelled")
HELD_STEPS: Final = 5
OPEN_STEPS: Final = 10


class Scene(RuleBasedStateMachine):
    """In-memory stores; a subclass names another world."""

    world_type: ClassVar[type[World]] = MemoryWorld
    checks_events_each_step: ClassVar[bool] = True
    node_count: ClassVar[int] = 1
    asks: ClassVar[bool] = False  # whether there is a `pre_finish`
    patience_seconds: ClassVar[float] = 1.1  # what HEAD may wait

    def __init__(self) -> None:
        super().__init__()
        # The same steps must make the same ids: some orders are theirs.
        ids = random.Random(0)
        self.chance = mock.patch.object(secrets, "token_hex", lambda count: ids.randbytes(count).hex())
        self.chance.start()
        self.loop = SteppedLoop()
        self.world = self.world_type(self.loop)
        self.book = Book(self.world)
        self.nodes = [self._new_node() for _ in range(self.node_count)]
        self.node = self.nodes[0]
        self.requests: list[Request] = []
        self.faulted = False
        self.sound = True
        self.random = random.Random(0)

    # --- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def everything_holds(self) -> None:
        self._settle_answers()
        self._lose_patience()
        self.book.check_rows()
        if self.checks_events_each_step:
            self.book.check_events()
        self._raise_complaints()

    def teardown(self) -> None:
        try:
            if self.sound:
                self.finish_everything()
        finally:
            self.chance.stop()
            for node in self.nodes:
                node.die()
            self.world.close()
            self.loop.close()

    def finish_everything(self) -> None:
        """I12: faults are over, everybody comes back, each known upload is finished; then time sweeps the rest."""
        self._open_all_gates()
        for request in self.requests:
            request.body.disconnect()
        self.loop.settle()
        self.loop.advance(self.patience_seconds)
        self.everything_holds()
        stuck = [request.kind for request in self._pending()]
        if stuck or self._waiting():
            self.book.complain(f"I12: {stuck} do not end though no fault is left")
        self.recover_all()
        for entry in self._known():
            self._finish(entry)
        self.everything_holds()
        self.let_time_sweep()
        self.book.check_rows()
        self.book.check_events()
        self._check_nothing_is_left()
        self._raise_complaints()

    def recover_all(self) -> None:
        """What each process does every few seconds."""
        for node in self.nodes:
            node.run(partial(self.loop.create_task, node.uploads.recover()))
        self.loop.advance(1.1)

    def let_time_sweep(self) -> None:
        """What is not finished by now expires; all that has ended loses its bytes."""
        self.loop.advance(CAP_SECONDS + 1)
        self.loop.carry_out(self.node.sweeper.sweep())

    def _finish(self, entry: Entry) -> None:
        """I4: with nothing under way, the offset of HEAD is the one that the next PATCH may have."""
        upload = self.loop.carry_out(self.node.uploads.look(entry.upload_id))
        if upload.is_gone or upload.status is UploadStatus.FINISHED:
            return
        self.book.shown(entry.upload_id, upload.upload_offset)
        length = upload.upload_offset + 3 if upload.upload_length is None else upload.upload_length
        rest = self.random.randbytes(length - upload.upload_offset)
        request = Request("patch", ScriptedBody.whole(rest), entry.upload_id, upload.upload_offset, rest)
        patch = Patch(upload_offset=upload.upload_offset, body_bytes=len(rest), declared_length=length, checksum=None)
        self._begin(request, lambda: self.node.uploads.append(entry.upload_id, patch, request.body))
        self.loop.advance(1.1)
        self._settle_answers()
        if not entry.was_finished:
            self.book.complain(f"I4, I12: the upload cannot be finished: {request.answer}")

    def _check_nothing_is_left(self) -> None:
        finished = {entry.upload_id for entry in self.book.entries.values() if entry.was_finished and not entry.end}
        if self.world.stored_ids() != finished:
            self.book.complain("I8: bytes are left that no live upload has, or the other way round")
        if self.loop.do(self.world.uploads.cleanups(10)):
            self.book.complain("I8: a cleanup is left")
        if any(node.uploads.held_writers for node in self.nodes):
            self.book.complain("I12: a writer is held though nothing runs")

    # --- helpers -------------------------------------------------------------------------------------------------

    def _lose_patience(self) -> None:
        """A call held for ever, or a client that never goes on, would hold up what the later steps could find."""
        for gates, gate in self._waiting():
            gate.steps += 1
            if gate.steps > HELD_STEPS and gate in gates.waiting:
                gates.let_go(gate)
                self.loop.settle()
        for request in self._open_bodies():
            request.steps += 1
            if request.steps > OPEN_STEPS:
                self._end(request, ("disconnect", "end", "overrun")[len(request.planned) % 3])

    def _open_all_gates(self) -> None:
        for node in self.nodes:
            if node.is_still:
                node.stand_still(still=False)
            node.gates.open_all()
        self.loop.settle()

    def _waiting(self) -> list[tuple[Gates, Gate]]:
        return [(node.gates, gate) for node in self.nodes for gate in node.gates.waiting]

    def _begin(
        self, request: Request, work: Callable[[], Coroutine[Any, Any, Any]], sent: int = 0, *, ends: bool = False
    ) -> None:
        self._send(request, sent)
        if ends and (request.chunked or len(request.body.sent) == len(request.planned)):
            request.body.end()
        node = request.node = self.node

        def start() -> None:
            token = current_request.set(request)
            request.task = self.loop.create_task(work())
            current_request.reset(token)

        node.run(start)
        self.requests.append(request)
        self.loop.settle()

    def _send(self, request: Request, count: int) -> None:
        done = len(request.body.sent)
        request.body.send(request.planned[done : done + count])
        if not request.chunked and len(request.body.sent) == len(request.planned):
            request.body.end()  # Content-Length says so

    def _end(self, request: Request, how: str) -> None:
        if how == "disconnect":
            request.body.disconnect()
        else:
            self._send(request, MOST_BYTES)
            if how == "overrun" and request.chunked:
                request.body.send(self.random.randbytes(MOST_BYTES + 1))
            request.body.end()
        self.loop.settle()

    def _settle_answers(self) -> None:
        for request in self.requests:
            if request.task is not None and request.task.done() and request.answer == "none yet":
                judge(request, self.book, faulted=self.faulted)

    def _raise_complaints(self) -> None:
        if self.book.complaints:
            self.sound = False
            raise AssertionError("; ".join(self.book.complaints))

    def _new_node(self) -> Node:
        gate_of = (lambda gates: AskedBook(gates, self.book)) if self.asks else None
        return Node(self.loop, self.world, self.book, gate_of)

    def _die(self, *, power_cut: bool) -> None:
        self._settle_answers()
        dead = self.node
        dead.die()
        for request in self._pending():
            if request.node is dead:
                request.answer = "died"
                request.body.disconnect()
        self.world.kill(dead.seat, power_cut=power_cut)
        self.node = self._new_node()
        self.nodes = [self.node if node is dead else node for node in self.nodes]

    def _known(self) -> list[Entry]:
        """Those that are over too, sometimes: their answers must be right as well."""
        known = [entry for entry in self.book.entries.values() if entry.known]
        return [entry for entry in known if not entry.end and not entry.was_finished] or known

    def _pick_target(self, index: int, *, rival: bool) -> Entry:
        """An upload for a PATCH: one that has a body already only for a rival, or little would ever be counted."""
        busy = {request.upload_id for request in self._open_bodies()}
        known = self._known()
        entry: Entry = self._pick(
            known if rival else [entry for entry in known if entry.upload_id not in busy] or known, index
        )
        return entry

    def _pending(self) -> list[Request]:
        return [request for request in self.requests if request.answer == "none yet"]

    def _open_bodies(self) -> list[Request]:
        return [request for request in self.requests if request.body.is_open and request.answer in OPEN]

    @staticmethod
    def _pick(items: list[Any], index: int) -> Any:
        return items[index % len(items)]

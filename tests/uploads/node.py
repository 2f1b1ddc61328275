"""One process of the server over gated stores, which can die at any of its awaits."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from tests.uploads.gated import GatedBlobStore, GatedUploadStore, Witness
from tests.uploads.gated_assemblies import GatedAssemblies
from tests.uploads.gates import Gates
from tests.uploads.stepping import SteppedLoop, owner_of_tasks
from tests.uploads.worlds import World
from tuspy_server.events.wakeup import LocalWakeup
from tuspy_server.ports import Gate, Lifetime
from tuspy_server.protocol.policy import Policy
from tuspy_server.uploads.lifecycle import Uploads
from tuspy_server.uploads.means import AppendOptions
from tuspy_server.uploads.observer import NullObserver
from tuspy_server.uploads.sweeper import Sweeper

Result = TypeVar("Result")

IDLE_SECONDS: Final = 600.0
CAP_SECONDS: Final = 2000.0
YEARS: Final = 10.0**9

POLICY: Final = Policy(
    tus_max_size=40, max_header_bytes=1 << 14, max_metadata_bytes=1 << 12, checksum_max_bytes=30, expiration=True
)
OPTIONS: Final = AppendOptions(
    commit_interval_seconds=0.2,
    body_idle_seconds=30,
    storage_seconds=60,
    lifetime=Lifetime(idle_seconds=IDLE_SECONDS, cap_seconds=CAP_SECONDS),
)


class Node:
    """`Uploads` and `Sweeper` as `compose` joins them."""

    def __init__(
        self, loop: SteppedLoop, world: World, witness: Witness, gate_of: Callable[[Gates], Gate] | None = None
    ) -> None:
        self._loop = loop
        self.gates = Gates()
        self.is_still = False
        self._context = contextvars.copy_context()
        self._context.run(owner_of_tasks.set, self)
        self._world = world
        self.seat = self.run(lambda: world.seat(self.gates))
        seat = self.seat
        store = GatedUploadStore(seat.uploads, self.gates, witness)
        assemblies = None if seat.assemblies is None else GatedAssemblies(seat.assemblies, self.gates, witness)
        wakeup, observer = LocalWakeup(), NullObserver()
        self.uploads = Uploads(
            store=store,
            blobs=GatedBlobStore(seat.blobs, self.gates, fails_for_good=assemblies is None),
            wakeup=wakeup,
            policy=POLICY,
            options=replace(OPTIONS, storage_seconds=world.storage_seconds),
            head_wait_seconds=1,
            observer=observer,
            assemblies=assemblies,
            peers=seat.peers,
            gate=None if gate_of is None else gate_of(self.gates),
        )
        self.sweeper = Sweeper(
            self.uploads,
            store,
            wakeup,
            observer,
            gone_seconds=YEARS,
            event_seconds=YEARS,
        )

    def run(self, work: Callable[[], Result]) -> Result:
        """The tasks that begin here are this process's."""
        return self._context.run(work)

    def stand_still(self, *, still: bool) -> None:
        """A paused process's calls wait; what it has under way goes on when it does."""
        self.is_still = still
        self._world.stand_still(self.seat, still=still)
        if still:
            self.gates.hold_next = float("inf")
        else:
            self.gates.hold_next = 0
            for gate in list(self.gates.waiting):
                self.gates.let_go(gate)

    def die(self) -> None:
        """Nothing of this process reaches a store from now on; its tasks are swept up."""
        self.gates.alive = False
        for _ in range(20):
            tasks = self._loop.tasks_of(self)
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            self._loop.settle()
        raise AssertionError("a cancelled task does not end")

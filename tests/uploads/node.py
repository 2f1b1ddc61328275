"""One process of the server over gated stores, which can die at any of its awaits."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.uploads.gated import GatedBlobStore, GatedUploadStore, Witness
from tests.uploads.gates import Gates
from tests.uploads.stepping import SteppedLoop
from tests.uploads.worlds import World
from tuspy_server.events.wakeup import LocalWakeup
from tuspy_server.ports import Lifetime
from tuspy_server.protocol.policy import Policy
from tuspy_server.uploads.append import AppendOptions
from tuspy_server.uploads.lifecycle import Uploads
from tuspy_server.uploads.observer import NullObserver
from tuspy_server.uploads.sweeper import Sweeper

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

    def __init__(self, loop: SteppedLoop, world: World, witness: Witness) -> None:
        self._loop = loop
        self.gates = Gates(loop)
        store = GatedUploadStore(world.uploads, self.gates, witness)
        wakeup, observer = LocalWakeup(), NullObserver()
        self.uploads = Uploads(
            store=store,
            blobs=GatedBlobStore(world.blobs, self.gates),
            wakeup=wakeup,
            policy=POLICY,
            options=OPTIONS,
            head_wait_seconds=1,
            observer=observer,
        )
        self.sweeper = Sweeper(
            self.uploads,
            store,
            wakeup,
            observer,
            gone_seconds=YEARS,
            event_seconds=YEARS,
            events_are_awaited=lambda: True,
        )

    def die(self) -> None:
        """Nothing of this process reaches a store from now on; its tasks are swept up."""
        self.gates.alive = False
        for _ in range(20):
            tasks = asyncio.all_tasks(self._loop)
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            self._loop.settle()
        raise AssertionError("a cancelled task does not end")

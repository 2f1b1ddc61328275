"""A relay over an outbox in memory, with hooks that a test writes, and a clock that it sets."""

from __future__ import annotations

import asyncio

from tests.contracts.rig import ManualClock
from tests.contracts.rows import create, finished, terminate
from tests.uploads.rig import until
from tuspy_server.events.hooks import Hooks
from tuspy_server.events.relay import Relay
from tuspy_server.events.wakeup import LocalWakeup
from tuspy_server.model import Event, Upload
from tuspy_server.stores.memory.uploads import MemoryUploadStore


class RelayRig:
    """`start` and `stop` are the life of a process; the store outlives it."""

    def __init__(self, *, call_seconds: float = 1000, most_attempts: int = 3) -> None:
        self.clock = ManualClock()
        self.store = MemoryUploadStore(self.clock)
        self.hooks = Hooks()
        self.wakeup = LocalWakeup()
        self._call_seconds = call_seconds
        self._most_attempts = most_attempts
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.store.open()
        relay = Relay(
            self.store, self.hooks, self.wakeup, call_seconds=self._call_seconds, most_attempts=self._most_attempts
        )
        self._running = asyncio.create_task(relay.run())

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.wakeup.notify()

    def waiting(self) -> int:
        return sum(waiting.status == "waiting" for waiting in self.store._log.deliveries.values())

    async def settled(self) -> None:
        """Every delivery has been made or given up."""
        await until(lambda: self.store._log.relayed == len(self.store._log.events) and not self.waiting())

    async def create(self) -> Upload:
        upload = await create(self.store)
        self.wakeup.notify()
        return upload

    async def finished(self) -> Upload:
        upload = await finished(self.store)
        self.wakeup.notify()
        return upload

    async def terminate(self, upload: Upload) -> None:
        await terminate(self.store, upload)
        self.wakeup.notify()


class Seen(list[Event]):
    """What a hook has been given."""

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self]

    @property
    def types(self) -> list[str]:
        return [str(event.type) for event in self]

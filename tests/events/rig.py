"""A relay over a real outbox (SQLite), with hooks that a test writes, and a clock that it sets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from tests.contracts.rig import ManualClock
from tests.contracts.rows import create, finished, terminate
from tests.stores.sqlite.rigs import SqliteRig
from tuspy_server.events.hooks import Hooks
from tuspy_server.events.recipients import Recipient
from tuspy_server.events.relay import Relay
from tuspy_server.events.retries import hook_retries
from tuspy_server.events.wakeup import LocalWakeup
from tuspy_server.model import Event, Upload
from tuspy_server.ports import DeliveryFilter, DeliveryRecord, DeliveryStatus
from tuspy_server.stores.sqlite.outbox import SqliteOutbox
from tuspy_server.stores.sqlite.store import SqliteUploadStore


class RelayRig:
    """`start` and `stop` are the life of a process; what is stored outlives it."""

    def __init__(self, folder: Path, *, call_seconds: float = 1000, most_attempts: int = 3) -> None:
        self.clock = ManualClock()
        self._stores = SqliteRig(self.clock, folder / "rig.sqlite3")
        self.hooks = Hooks()
        self.recipients: list[Recipient] = []
        """Besides the hooks."""
        self.on_numbered: Callable[[], Awaitable[None]] | None = None
        self.wakeup = LocalWakeup()
        self._call_seconds = call_seconds
        self._retries = hook_retries(most_attempts)
        self._running: asyncio.Task[None] | None = None
        self._passes = 0
        self._numbered_by = 0

    @property
    def outbox(self) -> SqliteOutbox:
        return self._stores.outbox

    @property
    def store(self) -> SqliteUploadStore:
        return self._stores.uploads

    async def open(self) -> None:
        await self._stores.start()

    async def start(self) -> None:
        relay = Relay(
            self.outbox,
            lambda: [*self.hooks.recipients(self._call_seconds, self._retries), *self.recipients],
            self.wakeup,
            self,
        )
        self._running = asyncio.create_task(relay.run())

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
            self._running = None

    async def restart(self) -> None:
        """The process dies, and the next one opens what it has left."""
        await self.stop()
        await self._stores.reopen()
        await self.start()

    async def close(self) -> None:
        await self.stop()
        await self._stores.stop()

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.wakeup.notify()

    async def deliveries(self, status: DeliveryStatus | None = None) -> Sequence[DeliveryRecord]:
        return await self.outbox.deliveries(DeliveryFilter(status=status), 10_000)

    async def settled(self) -> None:
        """Every delivery has been made or given up."""

        async def is_settled() -> bool:
            if self._passes < self._numbered_by:
                self.wakeup.notify()
                return False
            return not await self.deliveries(DeliveryStatus.WAITING)

        await eventually(is_settled)

    async def create(self) -> Upload:
        upload = await create(self.store)
        self._tell()
        return upload

    async def finished(self) -> Upload:
        upload = await finished(self.store)
        self._tell()
        return upload

    async def terminate(self, upload: Upload) -> None:
        await terminate(self.store, upload)
        self._tell()

    def _tell(self) -> None:
        self._numbered_by = self._passes + 2  # one pass may have looked already
        self.wakeup.notify()

    @property
    def position(self) -> None:
        """See `Readers`."""

    async def advance(self, events: Sequence[Event], after: int | None) -> None:
        """See `Readers`."""
        self._passes += 1
        if self.on_numbered is not None:
            await self.on_numbered()


async def eventually(condition: Callable[[], Awaitable[object]], seconds: float = 20) -> None:
    """Wait for a condition that has to be asked for; a deadline, not a guess, ends it."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110  (what is waited for has no event of its own)
            await asyncio.sleep(0.002)


class Seen(list[Event]):
    """A hook, and what it has been given."""

    async def __call__(self, event: Event) -> None:
        self.append(event)

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self]

    @property
    def types(self) -> list[str]:
        return [str(event.type) for event in self]

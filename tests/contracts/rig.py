"""What a contract suite needs of an adapter: stores over data that outlive them, and a clock that a test sets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta

from tuspy_server.ports import BlobStore, Outbox, UploadStore


class ManualClock:
    """`ports.Clock` that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class StoreRig(ABC):
    """One database. `reopen` is what a killed process and the next one do to it."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock

    @property
    @abstractmethod
    def uploads(self) -> UploadStore: ...

    @property
    @abstractmethod
    def outbox(self) -> Outbox: ...

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def stop(self) -> None: ...

    async def reopen(self) -> None:
        await self.stop()
        await self.start()


class BlobRig(ABC):
    """One storage."""

    @property
    @abstractmethod
    def blobs(self) -> BlobStore: ...

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def stop(self) -> None: ...

    async def reopen(self) -> None:
        await self.stop()
        await self.start()

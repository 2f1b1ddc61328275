"""What a contract suite needs of an adapter: stores over data that outlive them, and a clock that a test sets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Protocol

from tests.contracts.rows import a_row
from tuspy_server.model import UploadStatus
from tuspy_server.ports import BlobStore, BlobWriter, Catalogue, Claimed, Cleanup, JobStore, Outbox, UploadStore


class ManualClock:
    """`ports.Clock` that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class Jobs(JobStore, Catalogue, Protocol):
    """Both; every adapter has one object for them."""


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

    @property
    @abstractmethod
    def jobs(self) -> Jobs: ...

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def stop(self) -> None: ...

    async def reopen(self) -> None:
        await self.stop()
        await self.start()


class BlobRig(ABC):
    """One storage, and what a row would know of each upload in it."""

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

    async def open_writer(self, upload_id: str, upload_offset: int, *, held_back: bool = False) -> BlobWriter:
        claimed = Claimed(upload=a_row(upload_id, upload_offset=upload_offset))
        return await self.blobs.open_writer(claimed, held_back=held_back)

    async def sync(self, writer: BlobWriter) -> int:
        """The durable offset."""
        return (await writer.sync(flush=True)).upload_offset

    def read(self, upload_id: str, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        return self.blobs.read(a_row(upload_id, UploadStatus.FINISHED, upload_offset=stop), start, stop)

    async def delete(self, upload_id: str) -> None:
        await self.blobs.clean(Cleanup(upload=a_row(upload_id, UploadStatus.TERMINATED)))

"""The in-memory adapters as the contract suites take them."""

from __future__ import annotations

from tests.contracts.rig import BlobRig, ManualClock, StoreRig
from tuspy_server.stores.memory.blobs import MemoryBlobStore
from tuspy_server.stores.memory.uploads import MemoryUploadStore


class MemoryStoreRig(StoreRig):
    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.store = MemoryUploadStore(clock)

    @property
    def uploads(self) -> MemoryUploadStore:
        return self.store

    @property
    def outbox(self) -> MemoryUploadStore:
        return self.store

    @property
    def jobs(self) -> MemoryUploadStore:
        return self.store

    async def start(self) -> None:
        await self.store.open()

    async def stop(self) -> None:
        await self.store.close()


class MemoryBlobRig(BlobRig):
    def __init__(self) -> None:
        self.store = MemoryBlobStore()

    @property
    def blobs(self) -> MemoryBlobStore:
        return self.store

    async def start(self) -> None:
        await self.store.open()

    async def stop(self) -> None:
        await self.store.close()
        self.store.crash()

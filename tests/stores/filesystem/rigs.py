"""The filesystem adapter as the contract suite takes it."""

from __future__ import annotations

from pathlib import Path

from tests.contracts.rig import BlobRig
from tuspy_server.pages import PagePool
from tuspy_server.stores.filesystem.store import FilesystemBlobStore


class FilesystemRig(BlobRig):
    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = True,
        pool_bytes: int = 8 << 20,
        wait_seconds: float = 10,
        deadline_seconds: float = 30,
    ) -> None:
        self.folder = folder
        self.pool = PagePool(pool_bytes, wait_seconds)
        self._durable = durable
        self._deadline_seconds = deadline_seconds
        self._renew()

    def _renew(self) -> None:
        self._blobs = FilesystemBlobStore(
            self.folder, self.pool, durable=self._durable, deadline_seconds=self._deadline_seconds
        )

    def wait_for_calls(self, seconds: float) -> None:
        """Another deadline, from the next call on."""
        self._blobs._deadline_seconds = seconds

    @property
    def blobs(self) -> FilesystemBlobStore:
        return self._blobs

    async def start(self) -> None:
        await self.blobs.open()

    async def stop(self) -> None:
        await self.blobs.close()
        self._renew()

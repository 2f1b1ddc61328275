"""The filesystem adapter keeps the contract of its port, and gives back what it took."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contracts.blob_store import BlobStoreContract
from tests.stores.filesystem.rigs import FilesystemRig


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class TestFilesystemBlobStore(BlobStoreContract):
    @pytest.fixture(params=[True, False], ids=["durable", "process"])
    async def rig(self, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[FilesystemRig]:
        """Each test also shows that no page and no descriptor stays behind (I10, fault R09)."""
        before = open_descriptors()
        rig = FilesystemRig(tmp_path / "files", durable=request.param)
        await rig.start()
        yield rig
        await rig.stop()
        assert rig.pool.used_bytes == 0
        assert open_descriptors() == before

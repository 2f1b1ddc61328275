"""The S3 adapter keeps the contract of its port, and gives back what it took."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contracts.blob_store import BlobStoreContract
from tests.stores.s3.gateways import a_client
from tests.stores.s3.rigs import S3Rig
from tests.support.memory_bucket import MemoryBucket
from tests.support.strict_s3 import StrictS3


class TestS3BlobStore(BlobStoreContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[S3Rig]:
        """Each test also shows that no page stays behind (I10, fault R09)."""
        rig = S3Rig(MemoryBucket())
        await rig.start()
        yield rig
        await rig.stop()
        assert rig.pool.used_bytes == 0


@pytest.mark.parametrize("gateway", ["rclone"], indirect=True)
class TestS3BlobStoreOnAGateway(BlobStoreContract):
    @pytest.fixture
    async def rig(self, strict_s3: StrictS3) -> AsyncIterator[S3Rig]:
        async with a_client(strict_s3) as client:
            rig = S3Rig(client)
            await rig.start()
            yield rig
            await rig.stop()
            assert rig.pool.used_bytes == 0

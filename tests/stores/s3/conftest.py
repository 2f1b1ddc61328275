"""A bucket in memory, and a site of nodes over it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.stores.s3.harness import Site
from tests.support.memory_bucket import MemoryBucket


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


@pytest.fixture
async def site(bucket: MemoryBucket) -> AsyncIterator[Site]:
    """Each test also shows that no page stays behind (I10, fault R09)."""
    site = Site(bucket)
    yield site
    await site.close()

"""Every shape of upload on real gateways, behind a layer that is as strict as AWS."""

from __future__ import annotations

import random

import pytest

from tests.stores.s3.gateways import a_site
from tests.stores.s3.harness import KIB, MIB
from tests.support.strict_s3 import StrictS3


@pytest.mark.parametrize("length", [0, 1, KIB, 5 * MIB, 5 * MIB + 1, 11 * MIB])
async def test_one_patch(strict_s3: StrictS3, length: int) -> None:
    """I2, fault S21."""
    content = random.Random(length).randbytes(length)
    async with a_site(strict_s3) as site:
        upload = await site.create(length)
        await site.append(upload.id, content)
        assert await site.read(upload.id) == content
        parts = -(-length // (5 * MIB))
        assert sum(strict_s3.calls.values()) == (1 if parts < 2 else parts + 2) + (1 if length else 0)


@pytest.mark.parametrize("step", [300_001, 3 * MIB])
async def test_many_patches(strict_s3: StrictS3, step: int) -> None:
    """I2, faults S11, S12."""
    strict_s3.rules.equal_parts = True
    content = random.Random(step).randbytes(12 * MIB)
    async with a_site(strict_s3) as site:
        upload = await site.create(len(content))
        for start in range(0, len(content), step):
            await site.append(upload.id, memoryview(content)[start : start + step])
        assert await site.read(upload.id) == content
        await site.clean()
        assert list(await site.bucket.list_objects("")) == [f"uploads/{upload.id}"]
        assert not await site.bucket.list_multiparts("")


async def test_nodes_take_turns(strict_s3: StrictS3) -> None:
    """What another node has written is read back, and merged."""
    content = random.Random(1).randbytes(6 * MIB)
    async with a_site(strict_s3) as site:
        nodes = [site.node, site.add_node()]
        upload = await site.create(len(content))
        step = 123_457
        for number, start in enumerate(range(0, len(content), step)):
            await site.append(upload.id, memoryview(content)[start : start + step], nodes[number % 2])
        assert await site.read(upload.id) == content
        await site.clean()
        assert list(await site.bucket.list_objects("")) == [f"uploads/{upload.id}"]

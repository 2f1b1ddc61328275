from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contracts.rig import ManualClock
from tests.stores.postgres.rigs import MakeRig, PostgresRig


@pytest.fixture
async def make_rig(postgres_dsn: str) -> AsyncIterator[MakeRig]:
    """Nodes on one database, with one clock."""
    rigs: list[PostgresRig] = []
    clock = ManualClock()

    async def make(*, through: str | None = None, **options: Any) -> PostgresRig:
        rig = PostgresRig(clock, postgres_dsn, **options)
        if through is not None:
            rig.go_through(through)
        rigs.append(rig)
        await rig.start()
        return rig

    yield make
    for rig in rigs:
        await rig.stop()


@pytest.fixture
async def rig(make_rig: MakeRig) -> PostgresRig:
    """One node."""
    return await make_rig()

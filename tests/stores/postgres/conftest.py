from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contracts.rig import ManualClock
from tests.stores.postgres.rigs import PostgresRig


@pytest.fixture
async def rig(postgres_dsn: str) -> AsyncIterator[PostgresRig]:
    rig = PostgresRig(ManualClock(), postgres_dsn)
    await rig.start()
    yield rig
    await rig.stop()

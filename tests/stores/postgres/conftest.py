from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contracts.rig import ManualClock
from tests.stores.postgres.rigs import MakeRig, PostgresRig, Start, listens, until
from tuspy_server.stores.postgres.notifications import PostgresNotifications


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


@pytest.fixture
async def start(make_rig: MakeRig) -> AsyncIterator[Start]:
    """Nodes that hear one another."""
    started: list[PostgresNotifications] = []

    async def start(*, hears: bool = True, **options: Any) -> tuple[PostgresRig, PostgresNotifications]:
        rig = await make_rig(**options)
        notifications = PostgresNotifications(rig.pool, rig.node, check_seconds=0.2)
        started.append(notifications)
        await notifications.open()
        if hears:
            await until(lambda: listens(notifications))
            await notifications.wait(0)
        return rig, notifications

    yield start
    for notifications in started:
        await notifications.close()

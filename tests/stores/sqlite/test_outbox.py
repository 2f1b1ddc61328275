"""Leases that nobody hears of."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from tests.contracts.outbox import lease, relay
from tests.contracts.rig import ManualClock
from tests.contracts.rows import create
from tests.stores.sqlite.rigs import SqliteRig
from tuspy_server.protocol.errors import StoreUnavailable


@pytest.mark.parametrize("how", ["deadline", "cancelled"])
async def test_a_lease_whose_answer_is_lost_hides_nothing(tmp_path: Path, how: str) -> None:
    """Fault B02: else its deliveries would wait for as long as the lease."""
    before = SqliteRig(ManualClock(), tmp_path / "db.sqlite3")
    await before.start()
    await create(before.uploads)
    await relay(before, "a")
    await before.stop()
    deadline_seconds = 0.3 if how == "deadline" else 30.0
    rig = SqliteRig(before.clock, before.path, deadline_seconds=deadline_seconds)
    await rig.start()
    begun, going_on = threading.Event(), threading.Event()

    def hang(connection: sqlite3.Connection) -> None:
        begun.set()
        going_on.wait(20)

    lost = asyncio.create_task(rig.outbox.lease(["a"], 10, 3600))
    behind = asyncio.create_task(rig.database.write(hang))
    await asyncio.to_thread(begun.wait, 20)
    if how == "cancelled":
        lost.cancel()
    with pytest.raises(StoreUnavailable if how == "deadline" else asyncio.CancelledError):
        await lost
    going_on.set()
    await asyncio.wait([behind])
    rig.wait_longer()
    assert behind.cancelled() or behind.exception() is None or isinstance(behind.exception(), StoreUnavailable)
    [delivery] = await lease(rig, "a")
    assert (delivery.attempt, delivery.tried_seconds) == (1, 0.0)
    await rig.stop()

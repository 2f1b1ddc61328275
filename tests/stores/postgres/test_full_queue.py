"""One session of the database that listens, and stays in a transaction, fills the queue of NOTIFY for all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.contracts.rows import create
from tests.stores.postgres.rigs import Start
from tests.stores.postgres.test_notifications import is_woken
from trial import lifeline
from trial.postgres import PostgresServer
from tuspy_server.stores.postgres import outbox as outbox_module
from tuspy_server.stores.postgres.outbox import PostgresOutbox

LEAST_PAGES = 64
"""Of 8 KiB; a server has a million of them."""


@pytest.fixture
def postgres_dsn() -> Iterator[str]:
    """A server whose queue is soon full, which is one for all of its databases."""
    with tempfile.TemporaryDirectory(prefix="tuspy-postgres-") as folder:
        lifeline.remove_at_end(Path(folder))
        Path(folder).chmod(0o755)
        settings = {"max_notify_queue_pages": str(LEAST_PAGES)}
        server = PostgresServer(Path(folder) / "server", fsync=False, settings=settings)
        try:
            yield server.start().dsn()
        finally:
            server.stop()


async def fill(dsn: str) -> None:
    """One by one: listeners are not woken for what a failing transaction has put into the queue before it was full."""
    connection = await asyncpg.connect(dsn)
    try:
        for _ in range(LEAST_PAGES + 1):
            await connection.execute("SELECT pg_notify('another', repeat('x', 7900))")
    finally:
        await connection.close()


async def test_a_full_queue_of_notifications_holds_up_no_event(
    start: Start, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I12: the NOTIFY of the numbering failed its transaction, and so did every later one: PostgreSQL makes no room
    unless it is asked how full the queue is."""
    monkeypatch.setattr(outbox_module, "FULL_SECONDS", 0.0)
    rig, here = await start()
    _, there = await start()
    outbox = PostgresOutbox(rig.pool, rig.node, lambda: here.events_channel)
    idle = await asyncpg.connect(postgres_dsn)
    await idle.execute("LISTEN anything")
    await idle.execute("BEGIN; SELECT")
    with pytest.raises(asyncpg.ProgramLimitExceededError):
        await fill(postgres_dsn)
    for _ in range(2):
        upload = await create(rig.uploads)
        [event] = await outbox.relay(10)
        assert (event.upload_id, event.position is None) == (upload.id, False)
    assert await there.wait(0), "nobody has been told: what comes to the poll"
    await idle.close()
    await create(rig.uploads)
    await outbox.relay(10)
    assert not await is_woken(there), "it is numbered already"

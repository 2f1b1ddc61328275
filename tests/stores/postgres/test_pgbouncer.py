"""Fault B07: PgBouncer in transaction mode between us and the server. No session state may be relied on."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.rows import claimed, commit, create, event_types, finish, finished
from tests.stores.postgres.rigs import until
from tests.support.pgbouncer import PgBouncer
from trial.postgres import PostgresServer
from tuspy_server.model import EventType
from tuspy_server.ports import Consumer
from tuspy_server.stores.postgres.options import PostgresOptions
from tuspy_server.stores.postgres.stores import PostgresStores


@pytest.fixture
def narrow_dsn(postgres_dsn: str, postgres_server: PostgresServer) -> Iterator[str]:
    """Through a pooler that has two connections to the server for all of ours."""
    with tempfile.TemporaryDirectory(prefix="tuspy-pgbouncer-") as folder:
        Path(folder).chmod(0o755)
        pooler = PgBouncer(Path(folder), postgres_server.port, pool_size=2)
        try:
            yield pooler.start().dsn(postgres_dsn.rpartition("/")[2])
        finally:
            pooler.stop()


async def test_everything_goes_through_a_pooler_in_transaction_mode(narrow_dsn: str, postgres_dsn: str) -> None:
    options = PostgresOptions(url=narrow_dsn, listen_url=postgres_dsn, prepared=False, connections=8)
    nodes = [PostgresStores(options) for _ in range(3)]
    await asyncio.gather(*(node.open() for node in nodes))
    try:
        here, there, _ = nodes

        async def hears() -> bool:
            return all(node.notifications.hears for node in nodes)

        await until(hears)

        async def upload(node: PostgresStores) -> str:
            row = await claimed(node.uploads, await create(node.uploads, length=10))
            assert await node.uploads.commit(commit(row, 5)) is not None
            done = await finish(node.uploads, row, 10)
            assert done is not None
            node.notifications.notify()
            return done.id

        ids = await asyncio.gather(*(upload(node) for node in nodes for _ in range(20)))
        assert len(set(ids)) == 60
        await here.outbox.register([Consumer(name="a", types=frozenset({EventType.FINISHED}))])
        relays = [node.outbox.relay(30) for node in nodes for _ in range(4)]
        assert sum(map(len, await asyncio.gather(*relays))) == 120
        leases = await asyncio.gather(*(node.outbox.lease(["a"], 30, 60) for node in nodes))
        leased = [delivery.event.upload_id for deliveries in leases for delivery in deliveries]
        assert sorted(leased) == sorted(ids)
        done = await finished(here.uploads)
        assert await event_types(there.outbox, done.id) == [EventType.CREATED, EventType.FINISHED]
        row = await claimed(there.uploads, await create(there.uploads))
        seen = await here.uploads.get(row.id)
        assert seen is not None
        assert seen.writer_node == there.node.id
        async with asyncio.timeout(10):
            await here.notifications.ask(seen, 60)
    finally:
        await asyncio.gather(*(node.close() for node in nodes))

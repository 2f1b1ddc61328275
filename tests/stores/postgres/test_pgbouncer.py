"""Fault B07: PgBouncer in transaction mode between us and the server. No session state may be relied on."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.contracts.rows import claimed, commit, create, event_types, finish, finished
from tests.stores.postgres.rigs import until
from tests.support.fixtures import need
from trial.processes import Child, free_port, listens
from tuspy_server.model import EventType
from tuspy_server.stores.postgres.options import PostgresOptions
from tuspy_server.stores.postgres.stores import PostgresStores


@pytest.fixture
def pooled_dsn(postgres_dsn: str) -> Iterator[str]:
    """Through PgBouncer, which has two connections to the server for all of ours."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        need("pgbouncer")
    server = urlsplit(postgres_dsn)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="tuspy-pgbouncer-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "users.txt").write_text('"postgres" ""\n')
        (folder / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"* = host=127.0.0.1 port={server.port}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {folder / 'users.txt'}\n"
            "pool_mode = transaction\ndefault_pool_size = 2\n"
        )
        user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
        child = Child([program, folder / "pgbouncer.ini"], folder / "pgbouncer.log", user=user)
        child.wait_until(lambda: listens(port))
        yield postgres_dsn.replace(f":{server.port}/", f":{port}/")
        child.end()


async def test_everything_goes_through_a_pooler_in_transaction_mode(pooled_dsn: str, postgres_dsn: str) -> None:
    options = PostgresOptions(url=pooled_dsn, listen_url=postgres_dsn, prepared=False, connections=8)
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
        relays = [node.outbox.relay({"a": {EventType.FINISHED}}, 30) for node in nodes for _ in range(4)]
        assert sum(await asyncio.gather(*relays)) == 120
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

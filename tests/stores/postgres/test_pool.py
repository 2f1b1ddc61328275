"""How the pool comes to its connections."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tests.stores.postgres.proxy import PostgresProxy
from tests.stores.postgres.rigs import MakeRig, until
from tuspy_server.protocol.errors import StoreUnavailable
from tuspy_server.stores.postgres.options import PostgresOptions
from tuspy_server.stores.postgres.pool import Pool

HOLD = "SELECT pg_advisory_xact_lock_shared(1)"
HELD = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'
"""


async def test_where_all_connections_are_held_more_are_made_up_to_the_limit(make_rig: MakeRig) -> None:
    """Fault B05."""
    rig = await make_rig(connections=3)
    other = await asyncpg.connect(rig.dsn)
    await other.execute("SELECT pg_advisory_lock(1)")
    calls = [asyncio.create_task(rig.pool.fetch(HOLD)) for _ in range(5)]

    async def as_many_as_may_be() -> bool:
        return bool(await other.fetchval(HELD) == 3)

    await until(as_many_as_may_be)
    await other.execute("SELECT pg_advisory_unlock(1)")
    await asyncio.gather(*calls)
    await other.close()


async def test_a_server_makes_all_of_them_before_it_serves(postgres_dsn: str) -> None:
    async with PostgresProxy(postgres_dsn) as proxy:
        pool = Pool(PostgresOptions(url=f"{proxy.dsn}?sslmode=disable", connections=4))
        await pool.open()
        await pool.fill()
        proxy.refuses = True
        answers = [pool.fetch_value("SELECT pg_sleep(0.01)") for _ in range(20)]
        await asyncio.gather(*answers)
        assert not proxy.refused
        await pool.close()


async def test_a_server_starts_with_the_connections_that_it_gets(postgres_dsn: str) -> None:
    """Fault B05."""
    async with PostgresProxy(postgres_dsn) as proxy:
        pool = Pool(PostgresOptions(url=f"{proxy.dsn}?sslmode=disable", connections=4))
        await pool.open()
        proxy.refuses = True
        await pool.fill()
        assert proxy.refused == 3
        assert await pool.fetch_value("SELECT 1") == 1
        await pool.close()


async def test_a_connection_that_cannot_be_made_fails_no_call(postgres_dsn: str) -> None:
    """Fault B05: a server with as many connections as it takes; the pool goes on with those that it has."""
    async with PostgresProxy(postgres_dsn) as proxy:
        pool = Pool(PostgresOptions(url=f"{proxy.dsn}?sslmode=disable"))
        await pool.open()
        proxy.refuses = True
        answers = [pool.fetch_value("SELECT $1::integer", number) for number in range(50)]
        assert await asyncio.gather(*answers) == list(range(50))
        assert proxy.refused
        await pool.close()


async def test_a_connection_that_dies_is_missed_by_no_call_while_there_are_others(make_rig: MakeRig) -> None:
    """Faults B02, B05: its server takes no new ones."""
    rig = await make_rig()
    other = await asyncpg.connect(rig.dsn)
    await other.execute("SELECT pg_advisory_lock(1)")
    async with PostgresProxy(rig.dsn) as proxy:
        pool = Pool(PostgresOptions(url=f"{proxy.dsn}?sslmode=disable", connections=2))
        await pool.open()
        await pool.fill()
        held = asyncio.create_task(pool.fetch(HOLD))

        async def is_held() -> bool:
            return bool(await other.fetchval(HELD) == 1)

        await until(is_held)
        pid = await pool.fetch_value("SELECT pg_backend_pid()")
        proxy.refuses = True
        await other.execute("SELECT pg_terminate_backend($1)", pid)
        calls = [asyncio.create_task(pool.fetch_value("SELECT 1", repeatable=True)) for _ in range(3)]
        await until(lambda: are_refused(proxy))
        await other.execute("SELECT pg_advisory_unlock(1)")
        assert await asyncio.gather(*calls) == [1, 1, 1]
        await held
        await pool.close()
    await other.close()


async def are_refused(proxy: PostgresProxy) -> bool:
    return proxy.refused > 0


async def test_a_server_that_falls_silent_after_the_login_holds_up_no_call(postgres_dsn: str) -> None:
    """Fault B04: nor the heart, whose deadline is short; what is asked once a connection counts, too."""
    async with PostgresProxy(postgres_dsn) as proxy, asyncio.timeout(30):
        pool = Pool(PostgresOptions(url=f"{proxy.dsn}?sslmode=disable", call_seconds=60.0))
        await pool.open()
        proxy.cut()
        proxy.silent_at = frozenset("Z")
        with pytest.raises(StoreUnavailable):
            await pool.run(lambda connection: connection.fetch("SELECT 1"), seconds=0.5, repeatable=True)
        await pool.close()

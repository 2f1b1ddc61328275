"""Faults of the database and of the way to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from tests.contracts.rows import claimed, commit, create, event_types, finish
from tests.stores.postgres.proxy import EXECUTED, PostgresProxy
from tests.stores.postgres.rigs import MakeRig, PostgresRig, until, with_schema
from trial.postgres import PostgresServer, Stop
from trial.processes import free_port
from tuspy_server.model import EventType, Upload, UploadStatus
from tuspy_server.protocol.errors import StoreUnavailable
from tuspy_server.stores.postgres.errors import DatabaseUnreachable
from tuspy_server.stores.postgres.options import PostgresOptions
from tuspy_server.stores.postgres.pool import Pool

WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
Change = Callable[[PostgresRig, Upload], Coroutine[Any, Any, Upload | None]]


@asynccontextmanager
async def locked(rig: PostgresRig, upload: Upload) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The row is somebody else's, until the end of the block."""
    connection = await asyncpg.connect(with_schema(rig.dsn))
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM uploads WHERE id = $1 FOR UPDATE", upload.id)
            yield connection
    finally:
        await connection.close()


@pytest.fixture
async def proxy(postgres_dsn: str) -> AsyncIterator[PostgresProxy]:
    async with PostgresProxy(postgres_dsn) as proxy:
        yield proxy


@pytest.fixture
async def proxied(proxy: PostgresProxy, make_rig: MakeRig) -> tuple[PostgresRig, PostgresProxy]:
    rig = await make_rig(through=proxy.dsn, connections=4, call_seconds=1.0, connect_seconds=1.0)
    return rig, proxy


async def claims(rig: PostgresRig, row: Upload) -> Upload | None:
    return await claimed(rig.uploads, row)


async def commits(rig: PostgresRig, row: Upload) -> Upload | None:
    return await rig.uploads.commit(commit(row, 5))


async def finishes(rig: PostgresRig, row: Upload) -> Upload | None:
    return await finish(rig.uploads, row, 10)


@pytest.mark.parametrize("change", [claims, commits, finishes])
async def test_a_backend_that_is_killed_in_a_transaction_has_changed_nothing(rig: PostgresRig, change: Change) -> None:
    """Fault B01."""
    row = await claimed(rig.uploads, await create(rig.uploads))
    async with locked(rig, row) as other:
        call = asyncio.create_task(change(rig, row))
        await until(lambda: other.fetchval(WAITING))
        await other.execute(f"SELECT pg_terminate_backend(pid) FROM ({WAITING}) AS waiting")
        with pytest.raises(StoreUnavailable):
            await call
    assert await rig.uploads.get(row.id) == row
    assert await event_types(rig.outbox, row.id) == [EventType.CREATED]
    assert await change(rig, row) is not None, "the pool has dropped the connection"


@pytest.mark.parametrize("change", [commits, finishes])
async def test_an_answer_that_is_lost_is_no_answer(proxied: tuple[PostgresRig, PostgresProxy], change: Change) -> None:
    """Fault B02: what the statement did is seen by the next `get`."""
    rig, proxy = proxied
    # What a connection asks when it first meets a statement is not what is to be cut.
    await change(rig, await claimed(rig.uploads, await create(rig.uploads)))
    row = await claimed(rig.uploads, await create(rig.uploads))
    proxy.cut_at = EXECUTED
    with pytest.raises(StoreUnavailable):
        await change(rig, row)
    now = await rig.uploads.get(row.id)
    assert now is not None
    if change is commits:
        assert (now.upload_offset, now.writer) == (5, row.writer)
        assert await change(rig, row) == now, "it may come again"
    else:
        assert now.status is UploadStatus.FINISHED
        assert await change(rig, row) is None
        assert await event_types(rig.outbox, row.id) == [EventType.CREATED, EventType.FINISHED]


async def test_an_answer_to_a_question_that_is_lost_is_asked_for_again(
    proxied: tuple[PostgresRig, PostgresProxy],
) -> None:
    """Fault B02: what only reads may be read twice."""
    rig, proxy = proxied
    upload = await create(rig.uploads)
    proxy.cut_at = EXECUTED
    assert await rig.uploads.get(upload.id) == upload
    assert not proxy.cut_at


@pytest.mark.parametrize("mode", [Stop.FAST, Stop.IMMEDIATE])
async def test_a_restart_is_over_when_the_server_is_back(
    rig: PostgresRig, postgres_server: PostgresServer, mode: Stop
) -> None:
    """Fault B03, I12: 503 meanwhile, nothing acknowledged is lost, the pool heals by itself."""
    upload = await create(rig.uploads, length=10**9)
    row = await claimed(rig.uploads, upload)
    await asyncio.gather(*(rig.uploads.get(upload.id) for _ in range(30)))  # all connections of the pool are there
    acknowledged = 0

    async def write() -> None:
        nonlocal acknowledged
        while True:
            try:
                done = await rig.uploads.commit(commit(row, acknowledged + 1))
            except StoreUnavailable:  # or none: a call that has not been sent is made again
                await asyncio.sleep(0.01)
            else:
                assert done is not None
                acknowledged = done.upload_offset

    writing = asyncio.create_task(write())
    restarting = asyncio.create_task(asyncio.to_thread(postgres_server.restart, mode))
    await restarting
    before = acknowledged

    async def goes_on() -> bool:
        return acknowledged > before

    await until(goes_on)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    now = await rig.uploads.get(upload.id)
    assert now is not None
    assert now.upload_offset >= acknowledged
    results = await asyncio.gather(*(rig.uploads.commit(commit(row, 1)) for _ in range(30)))
    assert all(results), "no dead connection is left in the pool"


async def test_a_connection_that_was_told_of_its_end_costs_no_call(
    proxied: tuple[PostgresRig, PostgresProxy],
) -> None:
    """Faults B01, B03: it is still open, and in the pool; the driver refuses what it is to send, so that it can be sent
    again."""
    rig, proxy = proxied
    row = await claimed(rig.uploads, await create(rig.uploads))
    for offset in range(1, 4):
        proxy.tell_of_the_end()
        await asyncio.sleep(0.05)  # for the message to be read
        assert await rig.uploads.commit(commit(row, offset)) is not None


async def test_a_way_that_has_fallen_silent_costs_each_call_its_deadline_and_no_more(
    proxied: tuple[PostgresRig, PostgresProxy],
) -> None:
    """Fault B04, I10, I12."""
    rig, proxy = proxied
    upload = await create(rig.uploads)
    await asyncio.gather(*(rig.uploads.get(upload.id) for _ in range(8)))
    proxy.silent = True
    async with asyncio.timeout(30):  # one after the other, the calls would take longer
        for _ in range(2):
            calls = [rig.uploads.get(upload.id) for _ in range(20)] + [create(rig.uploads) for _ in range(20)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(result) for result in results} == {StoreUnavailable}
    proxy.silent = False
    await until(lambda: rig.uploads.get(upload.id))
    assert await create(rig.uploads) is not None


async def test_a_start_without_a_server_names_the_host_and_no_secret() -> None:
    """Faults B03, B04."""
    port = free_port()
    pool = Pool(PostgresOptions(url=f"postgresql://somebody:secret@127.0.0.1:{port}/there"))
    with pytest.raises(DatabaseUnreachable, match=f"127.0.0.1:{port}") as caught:
        await pool.open()
    told: BaseException | None = caught.value
    while told is not None:
        assert "secret" not in str(told)
        told = told.__cause__
    assert "secret" not in repr(pool.options)


async def test_a_silent_server_does_not_hold_up_the_start(postgres_dsn: str) -> None:
    """Fault B04."""
    async with PostgresProxy(postgres_dsn) as proxy:
        proxy.silent = True
        pool = Pool(PostgresOptions(url=f"{proxy.dsn}?sslmode=disable", call_seconds=1.0, connect_seconds=0.2))
        with pytest.raises(DatabaseUnreachable):
            await pool.open()


async def test_a_wrong_password_is_told_as_it_is(postgres_dsn: str) -> None:
    pool = Pool(PostgresOptions(url=postgres_dsn.replace("/test_", "/no_test_")))
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await pool.open()


async def test_an_exhausted_pool_is_503_in_time(make_rig: MakeRig) -> None:
    """Fault B05."""
    rig = await make_rig(connections=2, call_seconds=1.0)
    row = await claimed(rig.uploads, await create(rig.uploads))
    async with locked(rig, row) as other, asyncio.timeout(30):
        held = [asyncio.create_task(rig.uploads.commit(commit(row, offset))) for offset in (1, 2)]
        waiting = [asyncio.create_task(rig.uploads.get(row.id)) for _ in range(20)]
        results = await asyncio.gather(*held, *waiting, return_exceptions=True)

        async def are_taken_back() -> bool:
            return await other.fetchval(WAITING) is None

        await until(are_taken_back)
    assert {type(result) for result in results} == {StoreUnavailable}
    assert await rig.uploads.get(row.id) == row
    assert await rig.uploads.commit(commit(row, 1)) is not None


async def test_a_cancelled_call_leaves_no_broken_connection_and_no_open_transaction(make_rig: MakeRig) -> None:
    """Fault B09, at every await of a commit."""
    rig = await make_rig(connections=1)
    row = await claimed(rig.uploads, await create(rig.uploads, length=1000))
    pid = await rig.pool.fetch_value("SELECT pg_backend_pid()")
    cancelled = 0
    for steps in range(40):
        call = asyncio.create_task(rig.uploads.commit(commit(row, steps)))
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        [result] = await asyncio.gather(call, return_exceptions=True)
        cancelled += isinstance(result, asyncio.CancelledError)
        now = await rig.uploads.get(row.id)
        assert now is not None
        assert now.upload_offset <= steps
        assert now.writer == row.writer
    assert cancelled
    assert await rig.pool.fetch_value("SELECT pg_backend_pid()") == pid, "it is still the same connection"
    open_ones = await rig.sql(
        "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
    )
    assert open_ones == []


async def test_a_call_that_is_cancelled_while_it_waits_for_a_connection_is_never_made(make_rig: MakeRig) -> None:
    """Fault B09."""
    rig = await make_rig(connections=1)
    row = await claimed(rig.uploads, await create(rig.uploads))
    async with locked(rig, row) as other:
        first = asyncio.create_task(rig.uploads.commit(commit(row, 1)))
        await until(lambda: other.fetchval(WAITING))
        second = asyncio.create_task(rig.uploads.commit(commit(row, 2)))
        await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
    assert (await first) is not None
    now = await rig.uploads.get(row.id)
    assert now is not None
    assert now.upload_offset == 1


async def test_a_standby_that_was_the_primary_is_trouble_that_passes(make_rig: MakeRig) -> None:
    """A failover: the server that still has our connections takes no writes any more."""
    rig = await make_rig(connections=2)
    name = rig.dsn.rpartition("/")[2]
    await rig.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await rig.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    try:
        with pytest.raises(StoreUnavailable):
            await create(rig.uploads)
    finally:
        connection = await asyncpg.connect(rig.dsn)
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await connection.close()
    await until(lambda: create(rig.uploads))

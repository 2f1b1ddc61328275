"""What nodes tell one another."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from tests.contracts.rows import a_row, claimed, create
from tests.stores.postgres.proxy import PostgresProxy
from tests.stores.postgres.rigs import MakeRig, PostgresRig, Start, listens, until, with_schema
from tuspy_server.model import Upload
from tuspy_server.stores.postgres.notifications import PostgresNotifications
from tuspy_server.stores.postgres.outbox import PostgresOutbox

LONG = 30.0
"""More than a test has: what waits so long waits in vain."""

KILL_LISTENERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
)


async def deaf(notifications: PostgresNotifications) -> bool:
    return not notifications.hears


async def is_woken(notifications: PostgresNotifications) -> bool:
    """Whether something is to be numbered."""
    before = time.monotonic()
    to_number = await notifications.wait(LONG)
    assert time.monotonic() - before < LONG
    return to_number


async def number(rig: PostgresRig, notifications: PostgresNotifications) -> None:
    """As a process does whose outbox tells the others."""
    await PostgresOutbox(rig.pool, rig.node, lambda: notifications.events_channel).relay(10)


async def foreign(there: PostgresRig, here: PostgresRig) -> Upload:
    """An upload that `there` writes, as `here` sees it."""
    row = await claimed(there.uploads, await create(there.uploads))
    seen = await here.uploads.get(row.id)
    assert seen is not None
    assert seen.writer_node == there.node.id
    return seen


# --- wake-ups -----------------------------------------------------------------------------------------------------


async def test_a_commit_wakes_this_node_and_its_numbering_the_others(start: Start) -> None:
    rig, here = await start()
    _, there = await start()
    for notifications in (here, there):
        await notifications.wait(0)  # that it listens has been news
    await create(rig.uploads)
    here.notify()
    assert await is_woken(here), "to be numbered"
    await number(rig, here)
    assert not await is_woken(there), "it is numbered already"


async def test_where_nothing_was_numbered_nobody_is_woken(start: Start) -> None:
    rig, here = await start()
    _, there = await start()
    await there.wait(0)
    await number(rig, here)
    # What comes on one channel comes in its order: had the first told something, it would have been heard before.
    await create(rig.uploads)
    await number(rig, here)
    assert not await is_woken(there)
    assert not there._flag.is_set()


async def test_a_wait_ends_by_itself(start: Start) -> None:
    _, here = await start()
    await here.wait(0.01)


async def test_nodes_of_another_schema_are_not_woken(start: Start, make_rig: MakeRig) -> None:
    rig, here = await start()
    await rig.sql("CREATE SCHEMA another")
    stranger = await make_rig()
    stranger.options = replace(stranger.options, url=with_schema(stranger.dsn, "another"))
    await stranger.stop()
    await stranger.start()
    there = PostgresNotifications(stranger.pool, stranger.node)
    await there.open()
    await until(lambda: listens(there))
    await there.wait(0)
    await create(rig.uploads)
    await number(rig, here)
    assert await there.wait(0.3), "by the clock"
    await there.close()
    await stranger.stop()


async def test_without_a_way_to_listen_only_this_node_is_woken(start: Start) -> None:
    rig, here = await start(hears=False, listens=False)
    here.notify()
    await is_woken(here)
    await here.ask(a_row("0" * 32), LONG)
    assert not here.hears
    listening = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
    assert await rig.sql(listening) == []


# --- asking -------------------------------------------------------------------------------------------------------


async def test_the_writers_node_is_asked_and_its_answer_awaited(start: Start) -> None:
    rig, here = await start()
    other, there = await start()
    asked: list[tuple[str, str]] = []
    may_answer = asyncio.Event()

    async def answer(upload_id: str, writer: str) -> None:
        asked.append((upload_id, writer))
        await may_answer.wait()

    there.answer_with(answer)
    seen = await foreign(other, rig)
    asking = [asyncio.create_task(here.ask(seen, LONG)) for _ in range(5)]

    async def are_heard() -> bool:
        return len(there._answering.get((seen.id, seen.writer or ""), [])) == len(asking)

    await until(are_heard)
    assert not any(task.done() for task in asking)
    may_answer.set()
    async with asyncio.timeout(LONG):
        await asyncio.gather(*asking)
    assert asked == [(seen.id, seen.writer)], "those who ask together are answered together"


async def test_a_question_ends_in_time_though_nobody_answers(start: Start) -> None:
    rig, here = await start()
    other, there = await start()

    async def never(upload_id: str, writer: str) -> None:
        await asyncio.Event().wait()

    there.answer_with(never)
    seen = await foreign(other, rig)
    await here.ask(seen, 0.05)
    await here.ask(replace(seen, writer_node="gone"), 0.05)


async def test_a_node_that_fails_to_answer_says_so_at_once(start: Start) -> None:
    rig, here = await start()
    other, there = await start()

    async def fail(upload_id: str, writer: str) -> None:
        raise RuntimeError("no")

    there.answer_with(fail)
    async with asyncio.timeout(LONG):
        await here.ask(await foreign(other, rig), 2 * LONG)


async def test_what_is_no_message_of_ours_is_passed_over(start: Start) -> None:
    rig, here = await start()
    for payload in ("", "{", "[]", "7", '{"ask": "x"}', '{"answer": "unknown"}', '{"answer": []}'):
        await rig.sql("SELECT pg_notify($1, $2)", here._prefix + rig.node.id, payload)
    other, _ = await start()
    async with asyncio.timeout(LONG):
        await here.ask(await foreign(other, rig), 2 * LONG)


# --- trouble ------------------------------------------------------------------------------------------------------


async def test_a_killed_listener_comes_back(start: Start) -> None:
    """Fault B11, I12: and what it may have missed is looked for."""
    rig, here = await start()
    for _ in range(3):
        await rig.sql(KILL_LISTENERS)
        await is_woken(here)
        await until(lambda: listens(here))
    await here.wait(0)
    another, there = await start()
    await create(another.uploads)
    await number(another, there)
    await is_woken(here)


async def test_those_who_ask_do_not_wait_for_a_listener_that_has_died(start: Start) -> None:
    """Fault B11."""
    rig, here = await start()
    other, there = await start()
    begun = asyncio.Event()

    async def never(upload_id: str, writer: str) -> None:
        begun.set()
        await asyncio.Event().wait()

    there.answer_with(never)
    asking = asyncio.create_task(here.ask(await foreign(other, rig), 2 * LONG))
    await begun.wait()
    await rig.sql(KILL_LISTENERS)
    async with asyncio.timeout(LONG):
        await asking


async def test_a_listener_that_hears_nothing_any_more_notices(start: Start, postgres_dsn: str) -> None:
    """Fault B11: the way to the server has fallen silent; the pool's is another."""
    async with PostgresProxy(postgres_dsn) as proxy:
        _, here = await start(listen_url=with_schema(proxy.dsn), connect_seconds=0.5)
        proxy.silent = True
        await until(lambda: deaf(here))
        proxy.silent = False
        await until(lambda: listens(here))
        await here.wait(0)
        rig, there = await start()
        await create(rig.uploads)
        await number(rig, there)
        await is_woken(here)
        await here.close()

"""Who gets the next free connection of PostgreSQL's pool."""

from __future__ import annotations

import asyncio

import pytest

from tuspy_server.stores.postgres.turns import Turns


async def queue(turns: Turns, order: list[str], name: str) -> asyncio.Task[None]:
    """One that waits for its turn, and notes that it came."""

    async def wait() -> None:
        await turns.take(urgent=name.startswith("urgent"))
        order.append(name)

    task = asyncio.get_running_loop().create_task(wait())
    await asyncio.sleep(0)  # it stands in the queue
    return task


async def test_what_is_urgent_goes_first_and_all_others_as_they_came() -> None:
    turns = Turns(1)
    order: list[str] = []
    await turns.take()
    tasks = [await queue(turns, order, name) for name in ("first", "second", "urgent", "urgent too")]
    for _ in tasks:
        turns.give()
    await asyncio.gather(*tasks)
    assert order == ["urgent", "urgent too", "first", "second"]


@pytest.mark.parametrize("given_first", [False, True])
async def test_a_wait_that_is_cancelled_keeps_no_place(given_first: bool) -> None:
    """I12: also where its place comes at the same instant."""
    turns = Turns(1)
    order: list[str] = []
    await turns.take()
    cancelled, after = await queue(turns, order, "cancelled"), await queue(turns, order, "after")
    if given_first:
        turns.give()
    cancelled.cancel()
    if not given_first:
        turns.give()
    await after
    assert order == ["after"]
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    turns.give()
    async with asyncio.timeout(5):
        await turns.take()

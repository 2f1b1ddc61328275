"""One timer a connection, however often its deadline moves."""

from __future__ import annotations

import asyncio

from tests.edge.serving import until
from tuspy_server.edge.deadline import Deadline


async def test_it_is_missed_once_and_may_be_set_again() -> None:
    missed: list[int] = []
    deadline = Deadline(asyncio.get_running_loop(), lambda: missed.append(1))
    for count in (1, 2):
        deadline.set(0.01)
        await until(lambda: missed == [1] * count)  # noqa: B023  # awaited here
    await asyncio.sleep(0.03)
    assert missed == [1, 1]


async def test_moving_it_later_and_sooner_moves_it() -> None:
    missed: list[float] = []
    loop = asyncio.get_running_loop()
    deadline = Deadline(loop, lambda: missed.append(loop.time()))
    start = loop.time()
    deadline.set(0.01)
    deadline.set(0.06)
    await until(lambda: missed)
    assert missed.pop() - start >= 0.055
    deadline.set(60)
    deadline.set(0.01)
    await until(lambda: missed)


async def test_a_cleared_or_stopped_one_is_not_missed() -> None:
    missed: list[int] = []
    loop = asyncio.get_running_loop()
    cleared, stopped = (Deadline(loop, lambda: missed.append(1)) for _ in range(2))
    cleared.set(0.01)
    cleared.clear()
    stopped.set(0.01)
    stopped.stop()
    await asyncio.sleep(0.03)
    assert missed == []
    cleared.set(0.01)
    await until(lambda: missed)

"""The calls of one writer, as `Running` keeps them."""

from __future__ import annotations

import asyncio

import pytest

from tuspy_server.protocol.errors import StorageFault
from tuspy_server.stores.s3.running import Running


@pytest.fixture
def running() -> Running:
    return Running("0" * 32, 5.0, lambda: None)


async def test_a_task_that_has_just_ended_is_not_under_way() -> None:
    """Regression: the last part ended in the same turn of the loop in which the end of the one before it had woken the
    finish; the finish then took it for a call of unknown outcome, and two listings followed (CI: 7 calls, not 5)."""
    done: list[str] = []
    first, last = asyncio.Event(), asyncio.Event()
    running = Running("0" * 32, 5.0, on_end=last.set)  # so the last part's next step comes just before the finish's

    async def part(name: str, gate: asyncio.Event) -> None:
        await gate.wait()
        done.append(name)

    async def finish() -> bool:
        await running.until(lambda: "last" in done)
        return bool(running)

    waiting = asyncio.create_task(finish())
    running.start(part("first", first))
    running.start(part("last", last))
    await asyncio.sleep(0)
    first.set()
    assert not await asyncio.wait_for(waiting, 5)


async def test_a_task_that_has_just_failed_is_not_settled(running: Running) -> None:
    failed: list[bool] = []

    async def fail() -> None:
        asyncio.get_running_loop().call_soon(lambda: failed.append(bool(running)))
        raise OSError

    running.start(fail())
    await running.until(lambda: running.failure is not None)
    with pytest.raises(StorageFault):
        running.raise_failure()
    assert failed == [True]


async def test_a_task_that_runs_is_under_way_and_cut_off(running: Running) -> None:
    running.start(asyncio.sleep(60))
    assert running
    await running.cancelled()
    assert running.was_cut_off

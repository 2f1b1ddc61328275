"""Tasks with an owner."""

from __future__ import annotations

import asyncio

import pytest

from tuspy_server.uploads.tasks import Tasks


async def test_work_goes_on_when_its_caller_is_cancelled() -> None:
    tasks, gate, done = Tasks(), asyncio.Event(), []

    async def work() -> None:
        await gate.wait()
        done.append(True)

    async def caller() -> None:
        await asyncio.shield(tasks.start(work()))

    request = asyncio.create_task(caller())
    await asyncio.sleep(0)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    gate.set()
    await tasks.close(10)
    assert done == [True]


async def test_closing_cancels_what_passes_the_deadline() -> None:
    tasks = Tasks()
    task = tasks.start(asyncio.sleep(1000))
    await tasks.close(0.001)
    assert task.cancelled()


async def test_closing_gives_up_on_what_does_not_even_heed_that() -> None:
    """C11: the drain ends."""
    tasks, gate = Tasks(), asyncio.Event()

    async def stubborn() -> None:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue

    task = tasks.start(stubborn())
    async with asyncio.timeout(10):
        await tasks.close(0.001)
    gate.set()
    await task


async def test_closing_without_tasks_returns_at_once() -> None:
    await Tasks().close(1000)


async def test_what_a_task_raises_reaches_its_caller_and_nobody_else() -> None:
    tasks = Tasks()
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await tasks.start(fail())
    tasks.start(fail())
    await asyncio.sleep(0)
    await tasks.close(10)
    assert complaints == []

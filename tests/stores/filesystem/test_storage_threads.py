"""Threads for calls that block: results and errors come to the loop, whatever ends first, and none is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tuspy_server.stores.filesystem.threads import StorageThreads


@pytest.fixture
def threads() -> Iterator[StorageThreads]:
    threads = StorageThreads(3, "test")
    yield threads
    threads.shutdown()


async def test_results_and_errors_come_back(threads: StorageThreads) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    assert await threads.run(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        await threads.run(fail)
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(threads, max, 1, 2) == 2
    with pytest.raises(ZeroDivisionError):
        await loop.run_in_executor(threads, fail)


async def test_no_result_is_lost_among_many(threads: StorageThreads) -> None:
    calls = [threads.run(lambda number=number: number) for number in range(5000)]  # type: ignore[misc]
    async with asyncio.timeout(30):
        assert await asyncio.gather(*calls) == list(range(5000))


async def test_one_that_hangs_holds_up_no_other(threads: StorageThreads) -> None:
    """S04."""
    gate = threading.Event()
    hanging = threads.run(lambda: gate.wait(30))
    async with asyncio.timeout(20):
        for number in range(20):
            assert await threads.run(lambda number=number: number) == number  # type: ignore[misc]
    assert not hanging.done()
    gate.set()
    assert await hanging


async def test_what_is_queued_at_the_end_is_done_and_what_comes_later_refused(threads: StorageThreads) -> None:
    """C10."""
    gate = threading.Event()
    calls = [threads.run(lambda: gate.wait(30)) for _ in range(10)]
    ending = asyncio.create_task(asyncio.to_thread(threads.shutdown))
    gate.set()
    await ending
    assert await asyncio.gather(*calls) == [True] * 10
    with pytest.raises(RuntimeError):
        threads.run(lambda: None)


async def test_at_most_so_many_at_once(threads: StorageThreads) -> None:
    """R05."""
    running, most, lock = 0, 0, threading.Lock()
    barrier = threading.Barrier(3)

    def call() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        barrier.wait(30)
        with lock:
            running -= 1

    await asyncio.gather(*(threads.run(call) for _ in range(9)))
    assert most == 3

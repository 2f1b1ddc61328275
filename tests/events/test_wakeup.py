"""Wake-ups inside one process: hints that are kept until somebody waits."""

from __future__ import annotations

import asyncio

from tuspy_server.events.wakeup import LocalWakeup


async def test_a_notification_before_the_wait_is_not_lost() -> None:
    wakeup = LocalWakeup()
    wakeup.notify()
    wakeup.notify()
    async with asyncio.timeout(10):
        await wakeup.wait(1000)


async def test_a_notification_ends_a_wait() -> None:
    wakeup = LocalWakeup()
    waiting = asyncio.create_task(wakeup.wait(1000))
    await asyncio.sleep(0)
    assert not waiting.done()
    wakeup.notify()
    async with asyncio.timeout(10):
        await waiting


async def test_a_wait_takes_the_notification_with_it() -> None:
    wakeup = LocalWakeup()
    wakeup.notify()
    await wakeup.wait(1000)
    waiting = asyncio.create_task(wakeup.wait(1000))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_a_wait_ends_by_itself() -> None:
    async with asyncio.timeout(10):
        await LocalWakeup().wait(0.001)

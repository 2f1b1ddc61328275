"""The page pool: one ceiling for all bodies (I10), a line for those who wait, and no page lost to any of them."""

from __future__ import annotations

import asyncio

import pytest

from tuspy_server.pages import LARGE_PAGE_BYTES, SMALL_PAGE_BYTES, PagePool
from tuspy_server.protocol.errors import Overloaded

SMALL_IN_LARGE = LARGE_PAGE_BYTES // SMALL_PAGE_BYTES


async def test_pages_have_the_size_that_was_asked_for() -> None:
    pool = PagePool(4 << 20)
    assert len(await pool.take(SMALL_PAGE_BYTES)) == SMALL_PAGE_BYTES
    assert len(await pool.take(LARGE_PAGE_BYTES)) == LARGE_PAGE_BYTES
    assert pool.used_bytes == SMALL_PAGE_BYTES + LARGE_PAGE_BYTES


async def test_a_page_that_comes_back_is_used_again() -> None:
    pool = PagePool(4 << 20)
    page = await pool.take(SMALL_PAGE_BYTES)
    pool.give_back(page)
    assert pool.used_bytes == 0
    assert await pool.take(SMALL_PAGE_BYTES) is page


async def test_the_ceiling_holds_for_both_sizes_together() -> None:
    """I10: a free page of one size makes room for the other."""
    pool = PagePool(LARGE_PAGE_BYTES)
    pool.give_back(await pool.take(LARGE_PAGE_BYTES))
    pages = [pool.try_take(SMALL_PAGE_BYTES) for _ in range(SMALL_IN_LARGE + 1)]
    assert [page is not None for page in pages] == [True] * SMALL_IN_LARGE + [False]
    assert pool.used_bytes == LARGE_PAGE_BYTES
    assert pool.try_take(LARGE_PAGE_BYTES) is None
    for page in pages:
        if page is not None:
            pool.give_back(page)
    assert pool.try_take(LARGE_PAGE_BYTES) is not None


async def test_a_ceiling_below_a_large_page_still_grants_one() -> None:
    assert len(await PagePool(1).take(LARGE_PAGE_BYTES)) == LARGE_PAGE_BYTES


async def test_one_that_waits_too_long_is_told_that_the_server_is_overloaded() -> None:
    """I12: no request hangs on another client's slowness."""
    pool = PagePool(LARGE_PAGE_BYTES, wait_seconds=0.01)
    page = await pool.take(LARGE_PAGE_BYTES)
    with pytest.raises(Overloaded):
        await pool.take(SMALL_PAGE_BYTES)
    pool.give_back(page)
    assert pool.used_bytes == 0
    assert await pool.take(SMALL_PAGE_BYTES) is not None


async def test_one_large_page_serves_all_who_wait_for_small_ones() -> None:
    """I12: each of them was told to wait for the next page while there was room for all."""
    pool = PagePool(LARGE_PAGE_BYTES, wait_seconds=10)
    page = await pool.take(LARGE_PAGE_BYTES)
    waiting = [asyncio.create_task(pool.take(SMALL_PAGE_BYTES)) for _ in range(SMALL_IN_LARGE)]
    await asyncio.sleep(0)
    pool.give_back(page)
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)
    assert pool.used_bytes == LARGE_PAGE_BYTES


async def test_waiters_are_served_in_their_order() -> None:
    pool = PagePool(LARGE_PAGE_BYTES, wait_seconds=10)
    page = await pool.take(LARGE_PAGE_BYTES)
    served: list[int] = []

    async def take_and_return(number: int, page_bytes: int) -> None:
        taken = await pool.take(page_bytes)
        served.append(number)
        await asyncio.sleep(0)
        pool.give_back(taken)

    sizes = [LARGE_PAGE_BYTES, SMALL_PAGE_BYTES, LARGE_PAGE_BYTES, SMALL_PAGE_BYTES]
    tasks = [asyncio.create_task(take_and_return(number, size)) for number, size in enumerate(sizes)]
    await asyncio.sleep(0)
    assert pool.try_take(SMALL_PAGE_BYTES) is None, "nobody passes those who wait"
    pool.give_back(page)
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks)
    assert served == [0, 1, 2, 3]
    assert pool.used_bytes == 0


@pytest.mark.parametrize("cancelled", [0, 1])
async def test_a_waiter_that_is_cancelled_costs_nobody_a_page(cancelled: int) -> None:
    """Faults B09, R09: also one that is cancelled at the moment when its page comes."""
    pool = PagePool(LARGE_PAGE_BYTES, wait_seconds=10)
    page = await pool.take(LARGE_PAGE_BYTES)
    waiting = [asyncio.create_task(pool.take(LARGE_PAGE_BYTES)) for _ in range(2)]
    await asyncio.sleep(0)
    pool.give_back(page)
    waiting[cancelled].cancel()
    async with asyncio.timeout(5):
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[cancelled], asyncio.CancelledError)
    other = results[1 - cancelled]
    assert isinstance(other, memoryview)
    pool.give_back(other)
    assert pool.used_bytes == 0
    assert pool.try_take(LARGE_PAGE_BYTES) is not None


# --- several at once, and those who give way -----------------------------------------------------------------------


class Sparing:
    """A holder that gives one large page back when it is asked to."""

    def __init__(self, pool: PagePool, page: memoryview, *, idle: bool = True) -> None:
        self.pool = pool
        self.page: memoryview | None = page
        self.idle = idle
        self.asked = 0

    @property
    def spare_bytes(self) -> int:
        return len(self.page) if self.page is not None and self.idle else 0

    def give_way(self) -> asyncio.Future[None]:
        self.asked += 1
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        page, self.page = self.page, None
        assert page is not None
        asyncio.get_running_loop().call_soon(self.pool.give_back, page)
        asyncio.get_running_loop().call_soon(done.set_result, None)
        return done


async def test_several_pages_are_taken_all_at_once_or_not_at_all() -> None:
    """Whoever held some and waited for others would wait for somebody who does the same."""
    pool = PagePool(2 * LARGE_PAGE_BYTES, wait_seconds=10)
    assert pool.try_take_all(2 * LARGE_PAGE_BYTES + 1) is None
    assert pool.used_bytes == 0
    pages = await pool.take_all(LARGE_PAGE_BYTES + SMALL_PAGE_BYTES + 1)
    assert [len(page) for page in pages] == [LARGE_PAGE_BYTES, SMALL_PAGE_BYTES, SMALL_PAGE_BYTES]
    waiting = asyncio.create_task(pool.take_all(LARGE_PAGE_BYTES))
    await asyncio.sleep(0)
    pool.give_back(pages.pop())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert pool.used_bytes == LARGE_PAGE_BYTES + SMALL_PAGE_BYTES
    pool.give_back(pages.pop())
    for page in [*pages, *await waiting]:
        pool.give_back(page)
    assert pool.used_bytes == 0
    assert await pool.take_all(0) == []


async def test_no_more_than_needed_give_way_and_the_largest_first() -> None:
    pool = PagePool(3 * LARGE_PAGE_BYTES, wait_seconds=10, patience_seconds=0)
    holders = [Sparing(pool, await pool.take(size)) for size in (SMALL_PAGE_BYTES, LARGE_PAGE_BYTES, LARGE_PAGE_BYTES)]
    for holder in holders:
        pool.add_holder(holder)
    rest = await pool.take_all(LARGE_PAGE_BYTES - SMALL_PAGE_BYTES)
    assert len(await pool.take(LARGE_PAGE_BYTES)) == LARGE_PAGE_BYTES
    assert sorted(holder.asked for holder in holders) == [0, 0, 1]
    assert holders[0].asked == 0
    assert rest


async def test_nobody_gives_way_while_the_line_moves() -> None:
    """Eight fast clients at the ceiling: each was pressed into pieces ten times a second, though parts came free."""
    pool = PagePool(2 * LARGE_PAGE_BYTES, wait_seconds=10, patience_seconds=0.2)
    holder = Sparing(pool, await pool.take(LARGE_PAGE_BYTES))
    pool.add_holder(holder)
    page = await pool.take(LARGE_PAGE_BYTES)
    began = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() < began + 0.5:
        waiting = asyncio.create_task(pool.take(LARGE_PAGE_BYTES))
        await asyncio.sleep(0)
        pool.give_back(page)
        page = await waiting
    asked_while_it_moved = holder.asked
    async with asyncio.timeout(5):
        assert await pool.take(LARGE_PAGE_BYTES)
    assert (asked_while_it_moved, holder.asked) == (0, 1)


async def test_one_who_has_something_to_spare_only_later_is_asked_then() -> None:
    """I12."""
    pool = PagePool(LARGE_PAGE_BYTES, wait_seconds=10, patience_seconds=0.001)
    holder = Sparing(pool, await pool.take(LARGE_PAGE_BYTES), idle=False)
    pool.add_holder(holder)
    waiting = asyncio.create_task(pool.take(SMALL_PAGE_BYTES))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    holder.idle = True
    async with asyncio.timeout(5):
        assert await waiting
    pool.remove_holder(holder)


async def test_what_is_kept_for_convenience_is_dropped_before_anybody_waits() -> None:
    """Also in the moment when somebody in line is served."""
    pool = PagePool(2 * LARGE_PAGE_BYTES, wait_seconds=10)
    kept = [pool.try_take(LARGE_PAGE_BYTES)]

    def drop() -> bool:
        page = kept.pop() if kept else None
        if page is not None:
            pool.give_back(page)
        return page is not None

    pool.keep_cache(drop)
    held = pool.try_take(LARGE_PAGE_BYTES)
    assert held is not None
    assert pool.try_take(LARGE_PAGE_BYTES) is not None, "the kept one went"
    waiting = [asyncio.create_task(pool.take(SMALL_PAGE_BYTES)) for _ in range(2)]
    await asyncio.sleep(0)
    kept.append(held)
    pool._serve()
    async with asyncio.timeout(5):
        pages = await asyncio.gather(*waiting)
    assert pages[0] is not pages[1]
    assert pool.used_bytes == LARGE_PAGE_BYTES + 2 * SMALL_PAGE_BYTES

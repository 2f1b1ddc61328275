"""One pool of reused pages for all bodies on their way: what bounds the memory of a process (I10)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from tuspy_server.protocol.errors import Overloaded

SMALL_PAGE_BYTES: Final = 64 << 10
"""A body's first page: small, so that a thousand slow clients fit."""

LARGE_PAGE_BYTES: Final = 1 << 20
"""Later pages of a body that fills one: large, so that few calls move much."""


class Holder(Protocol):
    """Somebody with pages that it could do without."""

    @property
    def spare_bytes(self) -> int:
        """How many bytes of pages `give_way` would bring; 0 for none, and while it is under way."""
        ...

    def give_way(self) -> asyncio.Future[None]:
        """Begin to give back the spare pages; done when they are back, or cannot be."""
        ...


@dataclass(frozen=True, slots=True)
class _Wish:
    """Pages that somebody in line waits for, all of them at once."""

    sizes: tuple[int, ...]
    turn: asyncio.Future[list[memoryview]]
    since: float

    @property
    def wanted_bytes(self) -> int:
        return sum(self.sizes)


class PagePool:
    """Pages of two sizes under one ceiling.

    A taker waits in line while the ceiling is reached: the client feels it as backpressure. Where the first in line has
    waited for `patience_seconds`, whoever has the most to spare is asked to give way. A taker that has
    waited `wait_seconds` gets Overloaded (503), so that no request hangs on another client's slowness.

    Who waits for several pages waits for all of them at once (`take_all`), and must hold none: so nobody ever waits for
    somebody who waits.
    """

    def __init__(self, ceiling_bytes: int, wait_seconds: float = 10.0, patience_seconds: float = 1.0) -> None:
        self._ceiling_bytes = max(ceiling_bytes, LARGE_PAGE_BYTES)
        self._wait_seconds = wait_seconds
        self._patience_seconds = patience_seconds
        self._patience: asyncio.TimerHandle | None = None
        self._allocated_bytes = 0
        self._used_bytes = 0
        self._coming_bytes = 0
        self._free: dict[int, list[memoryview]] = {SMALL_PAGE_BYTES: [], LARGE_PAGE_BYTES: []}
        self._waiting: deque[_Wish] = deque()
        self._holders: set[Holder] = set()
        self._drop: Callable[[], bool] = lambda: False
        self._dropping = False

    @property
    def ceiling_bytes(self) -> int:
        """What all pages together never pass."""
        return self._ceiling_bytes

    @property
    def used_bytes(self) -> int:
        """Bytes of pages that are in somebody's hands."""
        return self._used_bytes

    # --- who can do without ---------------------------------------------------------------------------------------

    def keep_cache(self, drop: Callable[[], bool]) -> None:
        """Before anybody waits, `drop` is called until it returns False: it gives back the pages of one thing that is
        kept for convenience alone."""
        self._drop = drop

    def add_holder(self, holder: Holder) -> None:
        """To be asked to give way when others wait."""
        self._holders.add(holder)

    def remove_holder(self, holder: Holder) -> None:
        """It is asked no more."""
        self._holders.discard(holder)

    def _press_later(self, seconds: float | None = None) -> None:
        if self._holders and self._patience is None:
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(self._patience_seconds if seconds is None else seconds, self._press)

    def _press(self) -> None:
        """Have as many holders give way as those in line need, the largest first; but not as long as the line moves, or
        fast clients at the ceiling would have each other's parts cut into pieces, which are sent twice."""
        self._patience = None
        wishes = [wish for wish in self._waiting if not wish.turn.done()]
        if not wishes:
            return
        left_seconds = wishes[0].since + self._patience_seconds - asyncio.get_running_loop().time()
        if left_seconds > 0:
            self._press_later(left_seconds)
            return
        self._press_later()  # they may have nothing to spare now, and something soon
        wanted = sum(wish.wanted_bytes for wish in wishes)
        while self._coming_bytes < wanted:
            holder = max(self._holders, key=lambda holder: holder.spare_bytes, default=None)
            if holder is None or not (spare_bytes := holder.spare_bytes):
                return
            self._coming_bytes += spare_bytes
            holder.give_way().add_done_callback(partial(self._gave_way, spare_bytes))

    def _gave_way(self, spare_bytes: int, _: asyncio.Future[None]) -> None:
        self._coming_bytes -= spare_bytes
        self._press_later()

    # --- taking ---------------------------------------------------------------------------------------------------

    async def take(self, page_bytes: int) -> memoryview:
        """A page of exactly `page_bytes`, one of the two sizes. Its content is whatever was there before.

        Raises:
            Overloaded: 503, none came free in time.
        """
        pages = await self._take((page_bytes,))
        return pages[0]

    async def take_all(self, total_bytes: int) -> list[memoryview]:
        """Pages that hold `total_bytes`, all at once. Only for who holds none.

        Raises:
            Overloaded: 503, as `take`.
        """
        return await self._take(_sizes_for(total_bytes))

    def try_take(self, page_bytes: int) -> memoryview | None:
        """A page if one is free and nobody waits in line; None otherwise."""
        pages = None if self._waiting else self._try_take((page_bytes,))
        return pages[0] if pages else None

    def try_take_all(self, total_bytes: int) -> list[memoryview] | None:
        """As `take_all`, without waiting; None where it would have to. Also for who holds some."""
        return None if self._waiting else self._try_take(_sizes_for(total_bytes))

    async def _take(self, sizes: tuple[int, ...]) -> list[memoryview]:
        pages = None if self._waiting else self._try_take(sizes)
        if pages is not None:
            return pages
        loop = asyncio.get_running_loop()
        wish = _Wish(sizes, loop.create_future(), loop.time())
        self._waiting.append(wish)
        self._press_later()
        try:
            async with asyncio.timeout(self._wait_seconds):
                return await wish.turn
        except BaseException as error:
            if wish.turn.cancelled():
                self._serve()  # whoever stands behind may want less
            else:
                for page in wish.turn.result():  # they came in the moment of the cancellation
                    self.give_back(page)
            if isinstance(error, TimeoutError):
                raise Overloaded from error
            raise

    def _try_take(self, sizes: tuple[int, ...]) -> list[memoryview] | None:
        wanted = sum(sizes)
        while self._used_bytes + wanted > self._ceiling_bytes:
            if not self._dropped():
                return None
        self._used_bytes += wanted
        return [self._page(page_bytes) for page_bytes in sizes]

    def _dropped(self) -> bool:
        self._dropping = True
        try:
            return self._drop()
        finally:
            self._dropping = False

    def _page(self, page_bytes: int) -> memoryview:
        if self._free[page_bytes]:
            return self._free[page_bytes].pop()
        other = LARGE_PAGE_BYTES if page_bytes == SMALL_PAGE_BYTES else SMALL_PAGE_BYTES
        while self._allocated_bytes + page_bytes > self._ceiling_bytes and self._free[other]:
            self._allocated_bytes -= len(self._free[other].pop())
        self._allocated_bytes += page_bytes
        return memoryview(bytearray(page_bytes))

    # --- giving back ----------------------------------------------------------------------------------------------

    def give_back(self, page: memoryview) -> None:
        """Return a page that nothing reads or writes any more."""
        self._free[len(page)].append(page)
        self._used_bytes -= len(page)
        if not self._dropping:
            self._serve()

    def _serve(self) -> None:
        """Hand pages to those in line, in their order, as long as there are any."""
        while self._waiting:
            wish = self._waiting[0]
            if not wish.turn.cancelled():
                pages = self._try_take(wish.sizes)
                if pages is None:
                    return
                wish.turn.set_result(pages)
            self._waiting.popleft()


def _sizes_for(total_bytes: int) -> tuple[int, ...]:
    large, rest = divmod(total_bytes, LARGE_PAGE_BYTES)
    small = -(-rest // SMALL_PAGE_BYTES)
    if small * SMALL_PAGE_BYTES == LARGE_PAGE_BYTES:
        large, small = large + 1, 0
    return (LARGE_PAGE_BYTES,) * large + (SMALL_PAGE_BYTES,) * small

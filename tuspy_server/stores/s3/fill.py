"""The bytes of one part on their way: in pages of the pool, in pieces in the bucket, or in both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tuspy_server.pages import PagePool
from tuspy_server.ports import StoredPart, StoredPiece


@dataclass(slots=True)
class _Page:
    memory: memoryview
    filled: int = 0


class Fill:
    """Bytes `[start, filled)` of a part `[start, stop)`.

    Those up to `durable` lie in pieces, those from `memory_start` on in pages; no byte is in neither.

    Attributes:
        stop: the end of the part, or of the upload where that is known and comes first.
        pieces: that no other covers, in order, without a gap from the part's start on.
        part: set when all of it has become a part.
        new_pieces: those that no commit has been given yet.
        lock: held by the one call or other that stores some of it.
        waits: it is full, and no call is under way for it yet.
    """

    def __init__(
        self, pool: PagePool, part_number: int, start: int, stop: int, pieces: Iterable[StoredPiece] = ()
    ) -> None:
        self.part_number = part_number
        self.start = start
        self.stop = stop
        self.pieces = list(pieces)
        self.part: StoredPart | None = None
        self.new_pieces: list[StoredPiece] = []
        self.lock = asyncio.Lock()
        self.waits = True
        self.memory_start = self.filled = self.durable
        self._pool = pool
        self._pages: list[_Page] = []
        self._in_use = 0
        self._released = False
        self._handed_out = False

    @property
    def durable(self) -> int:
        """The offset up to which pieces reach."""
        return self.pieces[-1].stop if self.pieces else self.start

    @property
    def is_full(self) -> bool:
        """Whether no byte is missing."""
        return self.filled == self.stop

    @property
    def is_stored(self) -> bool:
        """Whether all that it will ever hold is durable."""
        return self.part is not None or self.durable == self.stop

    @property
    def reached(self) -> int:
        """The offset up to which its bytes are durable, in whatever form."""
        return self.stop if self.part is not None else self.durable

    # --- pages ----------------------------------------------------------------------------------------------------

    @property
    def is_whole(self) -> bool:
        """Whether memory has all of it from the part's start on."""
        return self.memory_start == self.start

    def rest(self) -> None:
        """Nobody puts bytes into its room any more."""
        self._handed_out = False

    def room(self) -> memoryview | None:
        """Where the next bytes go; None where a page must be added first."""
        page = self._pages[-1] if self._pages else None
        if page is None or page.filled == len(page.memory):
            return None
        self._handed_out = True
        return page.memory[page.filled :][: self.stop - self.filled]

    def add_page(self, memory: memoryview) -> None:
        """One more page, behind the others."""
        if not self._pages:
            self.memory_start = self.filled
        self._pages.append(_Page(memory))

    def advance(self, count: int) -> None:
        """`count` bytes more are in the room that was given last."""
        self._handed_out = False
        self._pages[-1].filled += count
        self.filled += count

    def prepend(self, pages: Sequence[memoryview], start: int) -> None:
        """Bytes `[start, memory_start)` have been read back into `pages`; more than these are not wanted."""
        left = self.memory_start - start
        earlier = []
        for memory in pages:
            count = min(left, len(memory))
            if count:
                earlier.append(_Page(memory, count))
            else:
                self._pool.give_back(memory)
            left -= count
        self._pages[:0] = earlier
        self.memory_start = start

    def append(self, pages: Sequence[memoryview], count: int) -> None:
        """`count` bytes more have been read back into `pages`."""
        for memory in pages:
            self.add_page(memory)
            self.advance(min(count, len(memory)))
            count -= len(memory)

    def truncate(self, offset: int) -> None:
        """Forget the bytes from `offset` on, in pages and pieces; only what is in memory can be cut."""
        while self.pieces and self.pieces[-1].stop > offset:
            self.pieces.pop()
        surplus = self.filled - offset
        while surplus and self._pages:
            count = min(surplus, self._pages[-1].filled)
            self._pages[-1].filled -= count
            surplus -= count
            if not self._pages[-1].filled:
                self._pool.give_back(self._pages.pop().memory)
        self.filled = offset

    def views(self, start: int, stop: int) -> list[memoryview]:
        """Bytes `[start, stop)`, all of them in memory."""
        found = []
        position = self.memory_start
        for page in self._pages:
            low, high = max(start - position, 0), min(stop - position, page.filled)
            if low < high:
                found.append(page.memory[low:high])
            position += page.filled
        return found

    # --- letting go -----------------------------------------------------------------------------------------------

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Within, the pages stay as they are: a call sends them."""
        self._in_use += 1
        try:
            yield
        finally:
            self._in_use -= 1
            if self._released:
                self.release()

    @property
    def spare_bytes(self) -> int:
        """Bytes of pages that would come free if its bytes were durable as pieces."""
        pages = self._pages[:-1] if self._handed_out else self._pages
        return 0 if self._in_use else sum(len(page.memory) for page in pages)

    @property
    def page_bytes(self) -> int:
        """Bytes of all its pages."""
        return sum(len(page.memory) for page in self._pages)

    def drop_durable(self) -> None:
        """Give back the pages that hold nothing but durable bytes; but one that a client's bytes are just being put
        into."""
        while not self._in_use and self._pages:
            page = self._pages[0]
            held = self._handed_out and len(self._pages) == 1
            if held or self.memory_start + page.filled > self.durable:
                return
            self.memory_start += page.filled
            self._pool.give_back(self._pages.pop(0).memory)

    def release(self) -> None:
        """Give back all pages, now or when the call that sends them has ended."""
        self._released = True
        if not self._in_use:
            while self._pages:
                self._pool.give_back(self._pages.pop().memory)

"""Who gets the next free connection: what is urgent, and then whoever has waited longest."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable


class Turns:
    """So many at a time. What is urgent waits for the first connection that is given back, not for all who came before
    it: an event that hundreds of uploads' statements were waited for would be late by all of them."""

    def __init__(self, places: int, wanted: Callable[[], None] = lambda: None) -> None:
        """`places`: as many as there are connections; one that comes later is given like one that comes back.
        `wanted`: called when somebody has to wait."""
        self._free = places
        self._wanted = wanted
        self._urgent: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._others: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody stands in the queue."""
        return bool(self._urgent or self._others)

    async def take(self, *, urgent: bool = False) -> None:
        """Wait for a place; the caller gives it back. Cancelled, it has none."""
        if self._free:
            self._free -= 1
            return
        waiting = self._urgent if urgent else self._others
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting[place] = None
        self._wanted()
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled():
                self.give()  # it came at the same instant as the end of the wait
            else:
                waiting.pop(place, None)
            raise

    def give(self) -> None:
        """A place is free."""
        for waiting in (self._urgent, self._others):
            while waiting:
                place, _ = waiting.popitem(last=False)
                if not place.done():
                    place.set_result(None)
                    return
        self._free += 1

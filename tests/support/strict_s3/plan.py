"""Which calls meet which fault, and what has been called."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.support.strict_s3.faults import Fault, Hold, Stage
from tests.support.strict_s3.operations import Call

ANY: Final = "*"


@dataclass
class Logged:
    """One call, when it is over; status 0: cut."""

    operation: str
    key: str
    part_number: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    status: int = 0


@dataclass
class Planned:
    """A fault and its calls: the nth that matches, and those after it, `times` in all."""

    operation: str
    nth: int
    times: int | None
    when: Callable[[Call], bool] | None
    fault: Fault
    seen: int = 0
    """Calls that matched."""

    hits: int = 0
    """Calls that met the fault."""

    def meets(self, call: Call) -> bool:
        if self.operation not in {ANY, call.operation} or (self.when is not None and not self.when(call)):
            return False
        self.seen += 1
        if self.seen < self.nth or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True


class Plan:
    """The faults to come; and the calls that came."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        """Requests by operation, counted when their head is read."""

        self.log: list[Logged] = []
        """Calls that are over, in that order."""

        self._planned: list[Planned] = []
        self._came = asyncio.Event()

    def fail(
        self,
        operation: str = ANY,
        *,
        with_: Fault,
        nth: int = 1,
        times: int | None = 1,
        when: Callable[[Call], bool] | None = None,
    ) -> Planned:
        """From the nth call on that matches, counted from now; `times=None`: for ever."""
        planned = Planned(operation, nth, times, when, with_)
        self._planned.append(planned)
        return planned

    def hold(
        self,
        operation: str,
        *,
        nth: int = 1,
        when: Callable[[Call], bool] | None = None,
        stage: Stage = "before_apply",
    ) -> Hold:
        """The nth call waits until it is released."""
        hold = Hold(stage)
        self.fail(operation, with_=hold, nth=nth, when=when)
        return hold

    def heal(self) -> None:
        """No more faults; who is held, and who stalls, stays so."""
        self._planned.clear()

    async def called(self, operation: str, count: int = 1, seconds: float = 30) -> None:
        """So many calls have come, from the beginning.

        Raises:
            TimeoutError: not in time.
        """
        async with asyncio.timeout(seconds):
            while self.calls[operation] < count:
                self._came.clear()
                await self._came.wait()

    def meet(self, call: Call) -> list[Fault]:
        """Count the call; its faults."""
        self.calls[call.operation] += 1
        self._came.set()
        return [planned.fault for planned in self._planned if planned.meets(call)]

    def over(self, logged: Logged, faults: list[Fault]) -> None:
        self.log.append(logged)
        for fault in faults:
            if isinstance(fault, Hold):
                fault.ended(logged.status)

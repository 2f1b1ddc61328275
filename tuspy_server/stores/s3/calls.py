"""How one call of the client is made: a slot, deadlines, repetitions, counts."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from tuspy_server.stores.s3.errors import NotConnected, S3Error, of_driver
from tuspy_server.stores.s3.values import Doubt, S3Options

Answer = TypeVar("Answer")
Attempt = Callable[[float], Awaitable[Answer]]
"""Makes one attempt; its argument is the deadline on the loop's clock."""

Observe = Callable[[str, float, str], None]
"""Told after every attempt: S3's name of the call, seconds, and `ok` or the code of the error."""

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class Calls:
    """All calls of one client.

    Attributes:
        made: attempts by S3's name of the call.
        observe: set by whoever measures.
    """

    def __init__(self, options: S3Options) -> None:
        self._options = options
        self._slots = asyncio.Semaphore(options.slots)
        self.made: Counter[str] = Counter()
        self.observe: Observe | None = None

    async def run(
        self,
        operation: str,
        attempt: Attempt[Answer],
        *,
        seconds: float | None = None,
        repeats_unknown: bool = True,
        doubt: Doubt | None = None,
    ) -> Answer:
        """Make the call, again where its failure passes, with full jitter, and never past its deadline.

        Args:
            operation: S3's name of the call.
            attempt: see `Attempt`.
            seconds: deadline, where it is not that of every call.
            repeats_unknown: False for calls that must not be made twice: an unknown outcome is the caller's to settle.
            doubt: see `Doubt`.

        Raises:
            S3Error: of the last attempt; `outcome_unknown` where any attempt's outcome is.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + (seconds or self._options.call_seconds)
        attempt_seconds = seconds or self._options.attempt_seconds
        unknown = False
        number = 0
        while True:
            number += 1
            try:
                return await self._once(operation, attempt, deadline, attempt_seconds)
            except S3Error as error:
                unknown = error.outcome_unknown = unknown or error.outcome_unknown
                if doubt is not None and unknown:
                    doubt.remains = True
                pause = random.uniform(0, min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**number))
                last = number >= self._options.most_attempts or clock() + pause >= deadline
                if last or not error.passes or (unknown and not repeats_unknown):
                    raise
                _log.warning(
                    "s3.call.retried",
                    operation=operation,
                    attempt=number,
                    code=error.code,
                    status=error.status,
                    pause_seconds=round(pause, 3),
                )
            await asyncio.sleep(pause)

    async def _once(self, operation: str, attempt: Attempt[Answer], deadline: float, attempt_seconds: float) -> Answer:
        if self._slots.locked():
            try:
                async with asyncio.timeout_at(deadline):
                    await self._slots.acquire()
            except TimeoutError as error:
                raise NotConnected(operation, "NoSlot") from error
        else:
            await self._slots.acquire()
        clock = asyncio.get_running_loop().time
        began = clock()
        if began >= deadline:  # the slot came free because its holder ran out of the same time
            self._slots.release()
            raise NotConnected(operation, "NoSlot")
        outcome = "cancelled"
        self.made[operation] += 1
        try:
            answer = await attempt(min(deadline, began + attempt_seconds))
        except S3Error as error:
            outcome = error.code
            raise
        except Exception as error:
            translated = of_driver(operation, error)
            outcome = translated.code
            raise translated from error
        else:
            outcome = "ok"
            return answer
        finally:
            self._slots.release()
            if self.observe is not None:
                self.observe(operation, clock() - began, outcome)

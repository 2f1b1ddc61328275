"""What has become of deliveries, told to the outbox: successes many at a time, so that they cost few transactions."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from tuspy_server.model import EventType
from tuspy_server.ports import Delivery, Outbox, Wakeup
from tuspy_server.protocol.errors import TryLater

log = structlog.get_logger("tuspy_server.events")

BATCH: Final = 100
LINGER_SECONDS: Final = 0.003
"""How long the first success of a batch waits for others."""

TRIES: Final = 5
FIRST_PAUSE_SECONDS: Final = 0.25
"""Between tries; doubled each time. What cannot be told is delivered again once its lease ends, with the same id."""

CLOSE_SECONDS: Final = 2.0


class Settling:
    """One for a relay; all of its lanes tell it."""

    def __init__(self, outbox: Outbox, wakeup: Wakeup) -> None:
        self._outbox = outbox
        self._wakeup = wakeup
        self._waiting: list[tuple[Delivery, asyncio.Future[None]]] = []
        self._some = asyncio.Event()
        self._many = asyncio.Event()

    async def delivered(self, delivery: Delivery, *, processing: bool) -> None:
        """It has been taken, by one who processes uploads or not. Returns when that is stored."""
        stored = asyncio.get_running_loop().create_future()
        self._waiting.append((delivery, stored))
        self._some.set()
        if len(self._waiting) >= BATCH:
            self._many.set()
        await stored
        if processing and delivery.event.type is EventType.FINISHED:
            self._wakeup.notify()  # the last one to process an upload writes an event

    async def failed(self, delivery: Delivery, delay_seconds: float, reason: str) -> None:
        """It is to be tried again."""
        await self._outbox.retry(delivery, delay_seconds, reason)

    async def buried(self, delivery: Delivery, reason: str) -> None:
        """It is given up."""
        await self._outbox.bury(delivery, reason)
        self._wakeup.notify()  # the upload may have become processed, or not, by it

    async def disabled(self, delivery: Delivery, reason: str) -> None:
        """Its consumer gets no more."""
        await self._outbox.disable(delivery.consumer, reason)
        self._wakeup.notify()

    async def run(self) -> None:
        """Tell successes until cancelled, and then those that are left."""
        try:
            while True:
                await self._some.wait()
                await self._linger()
                await self._tell()
        finally:
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    while self._waiting:
                        await self._tell()
            except TimeoutError:
                log.warning("relay.settling.cut", deliveries=len(self._waiting))

    async def _linger(self) -> None:
        if len(self._waiting) >= BATCH:
            return
        self._many.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await self._many.wait()

    async def _tell(self) -> None:
        batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        if not self._waiting:
            self._some.clear()
        error: Exception | None = None
        try:
            await self._store([delivery for delivery, _ in batch])
        except Exception as caught:  # told to those who wait
            error = caught
        except BaseException:
            self._waiting = batch + self._waiting  # a success that is told twice is one
            raise
        for _, stored in batch:
            if stored.done():
                continue
            if error is None:
                stored.set_result(None)
            else:
                stored.set_exception(error)

    async def _store(self, deliveries: list[Delivery]) -> None:
        for pause in range(TRIES):
            try:
                await self._outbox.delivered(deliveries)
            except TryLater:
                if pause == TRIES - 1:
                    raise
                await asyncio.sleep(FIRST_PAUSE_SECONDS * 2**pause)
            else:
                return

"""One recipient's own way: leases, calls and failures. A slow one holds up none of the others (fault B14)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from tuspy_server.events.recipients import DeliveryFailed, Recipient, RecipientGone
from tuspy_server.events.settling import Settling
from tuspy_server.ports import Delivery, Outbox

log = structlog.get_logger("tuspy_server.events")

SPARE_SECONDS: Final = 30.0
"""What a lease has beyond the deadlines of the calls before and of its own, to settle it: so no delivery runs twice at
once while its process lives."""

MOST_UNSETTLED: Final = 4
"""Times as many deliveries as may be leased at once: where the store does not answer, no more are begun."""

REASON_CHARACTERS: Final = 500


class Lane:
    """Runs until cancelled. What a crash interrupts is delivered again, with the same event id (faults C06, C07)."""

    def __init__(
        self,
        recipient: Recipient,
        outbox: Outbox,
        settling: Settling,
        statements: asyncio.Semaphore,
        poll_seconds: Callable[[], float],
    ) -> None:
        """`statements`: how many leases of all lanes may be asked for at once; `poll_seconds`: longest time between
        two of this lane's."""
        self.recipient = recipient
        self._outbox = outbox
        self._settling = settling
        self._statements = statements
        self._poll_seconds = poll_seconds
        self._ready: deque[Delivery] = deque()
        """Leased while others were called: the store is asked beside the calls, not between them."""
        self._calling = 0
        self._running: set[asyncio.Task[None]] = set()
        self._due = asyncio.Event()
        self._looks = True

    def wake(self) -> None:
        """Something may be due."""
        self._looks = True
        self._due.set()

    async def run(self) -> None:
        """Call for whatever is due, then wait for the next event, retry or poll."""
        try:
            while True:
                self._due.clear()
                try:
                    await self._lease()
                except Exception as error:  # the lane must outlive trouble with the store
                    log.error("relay.lease.failed", consumer=self.recipient.name, reason=repr(error))
                self._begin()
                try:
                    async with asyncio.timeout(self._poll_seconds()):
                        await self._due.wait()
                except TimeoutError:
                    self._looks = True
        finally:
            self._ready.clear()
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _lease(self) -> None:
        ahead, capacity = self.recipient.ahead, self.recipient.at_once * (1 + self.recipient.ahead)
        room = capacity - self._calling - len(self._ready)
        # While half of what may be leased ahead is still there, the calls do not wait for this statement.
        if not self._looks or room < (capacity // 2 if ahead else 1) or len(self._running) >= MOST_UNSETTLED * capacity:
            return
        self._looks = False
        try:
            async with self._statements:
                lease_seconds = (1 + ahead) * self.recipient.call_seconds + SPARE_SECONDS
                leased = await self._outbox.lease([self.recipient.name], room, lease_seconds)
        except BaseException:
            self._looks = True
            raise
        self._ready.extend(leased)
        if len(leased) == room:
            self._looks = True

    def _begin(self) -> None:
        while self._ready and self._calling < self.recipient.at_once:
            self._calling += 1
            task = asyncio.get_running_loop().create_task(self._deliver(self._ready.popleft()))
            self._running.add(task)
            task.add_done_callback(self._settled)

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self.wake()  # the next event of the same upload may be due
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("event.delivery.unsettled", consumer=self.recipient.name, reason=repr(error))

    async def _call(self, delivery: Delivery) -> None:
        try:
            if self.recipient.retries.are_used_up(delivery):
                raise DeliveryFailed("no attempt has come to an end")
            async with asyncio.timeout(self.recipient.call_seconds):
                await self.recipient.call(delivery.event)
        finally:
            self._calling -= 1
            self._begin()
            self._due.set()

    async def _deliver(self, delivery: Delivery) -> None:
        event = delivery.event
        fields = {
            "event_id": event.id,
            "event_type": event.type,
            "upload_id": event.upload_id,
            "consumer": delivery.consumer,
            "attempt": delivery.attempt,
        }
        try:
            await self._call(delivery)
        except RecipientGone as gone:
            log.error("consumer.disabled", **fields, reason=str(gone))
            self._ready.clear()
            await self._settling.disabled(delivery, _stored(str(gone)))
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            await self._failed(delivery, error, fields)  # of something that the hook has waited for
        except (Exception, SystemExit) as error:  # a hook may raise anything
            await self._failed(delivery, error, fields)
        else:
            await self._settling.delivered(delivery, processing=self.recipient.consumer.processing)
            log.debug("event.delivered", **fields)

    async def _failed(self, delivery: Delivery, error: BaseException, fields: dict[str, object]) -> None:
        text = _text(error)
        asked_seconds, reason = None, f"{type(error).__name__}: {text}"
        if isinstance(error, DeliveryFailed):
            asked_seconds, reason = error.retry_after_seconds, text
        elif isinstance(error, TimeoutError):
            reason = f"no answer within {self.recipient.call_seconds:g} s" if not text else reason
        reason = _stored(reason)
        delay_seconds = self.recipient.retries.delay_seconds(delivery, asked_seconds)
        if delay_seconds is None:
            log.error("event.delivery.dead", **fields, reason=reason)
            await self._settling.buried(delivery, reason)
            return
        log.warning("event.delivery.failed", **fields, reason=reason, retry_seconds=round(delay_seconds, 1))
        await self._settling.failed(delivery, delay_seconds, reason)
        if delay_seconds < self._poll_seconds():
            asyncio.get_running_loop().call_later(delay_seconds, self.wake)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an error that cannot be told is one all the same
        return "without a text"


def _stored(reason: str) -> str:
    """As every database takes it: an attempt whose failure cannot be stored would be made for ever."""
    return reason[:REASON_CHARACTERS].encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")

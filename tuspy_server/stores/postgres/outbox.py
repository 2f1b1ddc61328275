"""Committed events, and their way to consumers, in PostgreSQL: `ports.Outbox`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

import asyncpg
import structlog

from tuspy_server.model import Event, EventType
from tuspy_server.ports import (
    Backlog,
    Consumer,
    Delivery,
    DeliveryFilter,
    DeliveryRecord,
    DeliveryStatus,
    EventFilter,
    RegisteredConsumer,
)
from tuspy_server.stores.postgres.event_log import PostgresEventLog
from tuspy_server.stores.postgres.nodes import Node
from tuspy_server.stores.postgres.pool import Pool
from tuspy_server.stores.postgres.rows import to_event
from tuspy_server.stores.postgres.schema import statements

log = structlog.get_logger("tuspy_server.stores.postgres")

SQL: Final = statements()
FULL_SHARE: Final = 0.99
"""Of the queue of NOTIFY: before version 17 one that takes no more is said to be a little less than full."""

FULL_SECONDS: Final = 10.0
"""After a NOTIFY has found its queue full, or has it still, before this is looked at."""

UNREGISTERED: Final = "unregistered"
"""Why one is disabled that is about to be forgotten; the statements know it, too."""

BURIED_AT_ONCE: Final = 10_000
"""Deliveries of one transaction: the relay waits for it."""


class PostgresOutbox(PostgresEventLog):
    """See `ports.Outbox` for each method. Opened and closed with the upload store on the same pool.

    A lease is its node's: it ends by itself, and at once where that node is known to have stopped when another starts.
    """

    def __init__(self, pool: Pool, node: Node, channel: Callable[[], str | None] = lambda: None) -> None:
        """`channel`: where the other nodes hear of what this one has numbered; None where nobody listens."""
        super().__init__(pool)
        self._node = node
        self._channel = channel
        self._full_until: float | None = None
        self._lost: dict[str, tuple[Sequence[str], float]] = {}
        """Leases whose answer never came (B02), by token: their consumers, and until when they may still begin."""

    # --- consumers -----------------------------------------------------------------------------------------------

    async def register(self, consumers: Sequence[Consumer]) -> None:
        """See the port."""
        by_name = sorted(consumers, key=lambda consumer: consumer.name)
        names = [consumer.name for consumer in by_name]
        types = [",".join(sorted(consumer.types)) for consumer in by_name]
        processing = [consumer.processing for consumer in by_name]
        await self._pool.fetch(SQL["register"], names, types, processing, repeatable=True)

    async def consumers(self) -> Sequence[RegisteredConsumer]:
        """See the port."""
        return [_consumer(row) for row in await self._pool.fetch(SQL["consumers"], repeatable=True)]

    async def unregister(self, name: str) -> bool:
        """See the port. One that is known is disabled first: what a crash leaves half done is found by
        `forget_consumers`."""
        if not await self._pool.fetch(SQL["disable"], name, UNREGISTERED, repeatable=True):
            return False
        await self._forget(name)
        return True

    async def disable(self, name: str, reason: str) -> None:
        """See the port."""
        if await self._pool.fetch(SQL["disable"], name, reason, repeatable=True):
            await self._bury_waiting(name)

    async def enable(self, name: str) -> bool:
        """See the port."""
        return bool(await self._pool.fetch(SQL["enable"], name, repeatable=True))

    async def forget_consumers(self, unseen_seconds: float) -> int:
        """See the port; who comes back meanwhile stays. Also goes on with what a crash has left of disabling one."""
        for row in await self._pool.fetch(SQL["half_buried"], repeatable=True):
            await self._bury_waiting(row["name"])
        unseen = timedelta(seconds=unseen_seconds)
        forgotten = 0
        for row in await self._pool.fetch(SQL["unseen"], unseen, repeatable=True):
            if await self._pool.fetch(SQL["disable_unseen"], row["name"], unseen, repeatable=True):
                await self._forget(row["name"])
                forgotten += 1
        return forgotten

    async def _forget(self, name: str) -> None:
        await self._bury_waiting(name)
        await self._pool.fetch(SQL["forget"], name, repeatable=True)

    async def _bury_waiting(self, name: str) -> None:
        while await self._pool.fetch_value(SQL["bury_waiting"], name, BURIED_AT_ONCE, repeatable=True):
            pass

    # --- deliveries ----------------------------------------------------------------------------------------------

    async def relay(self, limit: int, after: int | None = None) -> Sequence[Event]:
        """See the port. The other nodes hear of it as it is committed. Where the queue of NOTIFY is full, which fails
        the transaction, they are not told: they look for themselves now and then."""
        channel = await self._open_channel()
        try:
            return await self._relay(limit, after, channel)
        except asyncpg.ProgramLimitExceededError as error:
            if channel is None:
                raise
            self._full_until = asyncio.get_running_loop().time() + FULL_SECONDS
            log.warning("relay.notify.failed", reason=str(error))
            return await self._relay(limit, after, None)

    async def _relay(self, limit: int, after: int | None, channel: str | None) -> Sequence[Event]:
        values = (limit, after, channel, self._node.id)
        return [to_event(row) for row in await self._pool.fetch(SQL["relay"], *values, repeatable=True, urgent=True)]

    async def _open_channel(self) -> str | None:
        """Asked how full it is, PostgreSQL makes room of what has been read. A NOTIFY that fails does not: without the
        question the queue stays full for ever, also when nobody is behind any more (18.4)."""
        channel, now = self._channel(), asyncio.get_running_loop().time()
        if channel is None or self._full_until is None:
            return channel
        if now < self._full_until:
            return None
        [usage] = await self._pool.fetch(SQL["queue_usage"], repeatable=True, urgent=True)
        if usage[0] >= FULL_SHARE:
            self._full_until = now + FULL_SECONDS
            return None
        self._full_until = None
        log.info("relay.notify.resumed")
        return channel

    async def lease(self, consumers: Sequence[str], limit: int, lease_seconds: float) -> Sequence[Delivery]:
        """See the port. What an earlier call of this process has leased, but whose answer was lost, is taken back."""
        if self._lost:
            await self._take_back()
        token = secrets.token_hex(8)
        values = (list(consumers), limit, timedelta(seconds=lease_seconds), self._node.id, token)
        try:
            rows = await self._pool.fetch(SQL["lease"], *values)
        except BaseException:
            self._lost[token] = (consumers, asyncio.get_running_loop().time() + 2 * self._pool.options.call_seconds)
            raise
        return [_delivery(row) for row in rows]

    async def _take_back(self) -> None:
        """A statement that has been given up may still come to its end: it is looked for until it cannot any more."""
        now = asyncio.get_running_loop().time()
        lost = dict(self._lost)
        names = sorted({name for consumers, _ in lost.values() for name in consumers})
        await self._pool.fetch(SQL["take_back"], names, list(lost), repeatable=True)
        for token, (_, until) in lost.items():
            if until <= now:
                self._lost.pop(token, None)

    async def delivered(self, deliveries: Sequence[Delivery]) -> None:
        """See the port."""
        await self._settle(deliveries, DeliveryStatus.DELIVERED, 0, None)

    async def retry(self, delivery: Delivery, delay_seconds: float, error: str) -> None:
        """See the port."""
        await self._settle([delivery], DeliveryStatus.WAITING, delay_seconds, error)

    async def bury(self, delivery: Delivery, error: str) -> None:
        """See the port."""
        await self._settle([delivery], DeliveryStatus.DEAD, 0, error)

    async def next_due_seconds(self, consumers: Sequence[str]) -> float | None:
        """See the port."""
        due: float | None = await self._pool.fetch_value(SQL["next_due"], list(consumers), repeatable=True)
        return due

    async def deliveries(self, only: DeliveryFilter, limit: int) -> Sequence[DeliveryRecord]:
        """See the port."""
        if only.upload_id is not None or only.event_id is not None:
            values = (only.event_id, only.upload_id, only.consumer, only.status, limit)
            rows = await self._pool.fetch(SQL["deliveries_of_events"], *values, repeatable=True)
        elif only.status in {DeliveryStatus.WAITING, DeliveryStatus.DEAD}:
            rows = await self._pool.fetch(SQL[f"deliveries_{only.status}"], only.consumer, limit, repeatable=True)
        else:
            rows = await self._pool.fetch(SQL["deliveries_any"], only.consumer, only.status, limit, repeatable=True)
        return [_record(row) for row in rows]

    async def backlog(self, most: int) -> Backlog:
        """See the port."""
        [row] = await self._pool.fetch(SQL["backlog"], most, repeatable=True)
        return Backlog(waiting=row["waiting"], dead=row["dead"], lag_seconds=row["lag_seconds"])

    async def retry_now(self, only: DeliveryFilter) -> int:
        """See the port. What is on its way stays so."""
        values = (only.consumer, only.status, only.upload_id, only.event_id)
        return int(await self._pool.fetch_value(SQL["retry_now"], *values))

    async def replay(self, consumer: str, after: int, up_to: int | None, only: EventFilter) -> int:
        """See the port."""
        values = (consumer, after, up_to, only.tenant, sorted(only.types), only.upload_id, only.job_id)
        return int(await self._pool.fetch_value(SQL["replay"], *values))

    async def _settle(
        self, deliveries: Sequence[Delivery], status: DeliveryStatus, delay_seconds: float, error: str | None
    ) -> None:
        if not deliveries:
            return
        await self._pool.fetch(
            SQL["settle"],
            [delivery.event.position for delivery in deliveries],
            [delivery.consumer for delivery in deliveries],
            [delivery.attempt for delivery in deliveries],
            status,
            timedelta(seconds=delay_seconds),
            error,
            repeatable=True,
        )


def _consumer(row: asyncpg.Record) -> RegisteredConsumer:
    return RegisteredConsumer(
        consumer=Consumer(
            name=row["name"],
            types=frozenset(map(EventType, row["types"])),
            processing=row["processing"],
        ),
        registered_at=row["registered_at"],
        seen_at=row["seen_at"],
        disabled_reason=row["disabled_reason"],
    )


def _delivery(row: asyncpg.Record) -> Delivery:
    return Delivery(
        event=to_event(row),
        consumer=row["consumer"],
        attempt=row["attempts"],
        tried_seconds=row["tried_seconds"],
    )


def _record(row: asyncpg.Record) -> DeliveryRecord:
    return DeliveryRecord(
        event=to_event(row),
        consumer=row["consumer"],
        status=DeliveryStatus(row["status"]),
        attempts=row["attempts"],
        due_at=row["due_at"],
        error=row["error"],
    )

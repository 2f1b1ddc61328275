"""Committed events, and their way to consumers, in PostgreSQL: `ports.Outbox`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from datetime import timedelta
from typing import Final

import asyncpg

from tuspy_server.model import Event, EventType
from tuspy_server.ports import Delivery
from tuspy_server.stores.postgres.nodes import Node
from tuspy_server.stores.postgres.pool import Pool
from tuspy_server.stores.postgres.schema import statements

SQL: Final = statements()


class PostgresOutbox:
    """See `ports.Outbox` for each method. Opened and closed with the upload store on the same pool.

    A lease is its node's: it ends by itself, and at once where that node is known to have stopped when another starts.
    """

    def __init__(self, pool: Pool, node: Node) -> None:
        self._pool = pool
        self._node = node

    async def relay(self, consumers: Mapping[str, Set[EventType]], limit: int) -> int:
        """See the port."""
        wanted = [(consumer, event_type.value) for consumer, types in consumers.items() for event_type in types]
        columns = ([consumer for consumer, _ in wanted], [event_type for _, event_type in wanted])
        numbered: int = await self._pool.fetch_value(SQL["relay"], *columns, limit)
        return numbered

    async def lease(self, consumers: Sequence[str], limit: int, lease_seconds: float) -> Sequence[Delivery]:
        """See the port."""
        values = (list(consumers), limit, timedelta(seconds=lease_seconds), self._node.id)
        rows = await self._pool.fetch(SQL["lease"], *values)
        return [Delivery(event=_event(row), consumer=row["consumer"], attempt=row["attempts"]) for row in rows]

    async def delivered(self, delivery: Delivery) -> None:
        """See the port."""
        await self._settle(delivery, "delivered", 0, None)

    async def retry(self, delivery: Delivery, delay_seconds: float, error: str) -> None:
        """See the port."""
        await self._settle(delivery, "waiting", delay_seconds, error)

    async def bury(self, delivery: Delivery, error: str) -> None:
        """See the port."""
        await self._settle(delivery, "dead", 0, error)

    async def next_due_seconds(self, consumers: Sequence[str]) -> float | None:
        """See the port."""
        due: float | None = await self._pool.fetch_value(SQL["next_due"], list(consumers), repeatable=True)
        return due

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """See the port."""
        return [_event(row) for row in await self._pool.fetch(SQL["events_after"], after, limit, repeatable=True)]

    async def _settle(self, delivery: Delivery, status: str, delay_seconds: float, error: str | None) -> None:
        await self._pool.fetch(
            SQL["settle"],
            delivery.event.position,
            delivery.consumer,
            status,
            timedelta(seconds=delay_seconds),
            error,
            delivery.attempt,
            repeatable=True,
        )


def _event(row: asyncpg.Record) -> Event:
    return Event(
        id=row["id"],
        type=EventType(row["type"]),
        upload_id=row["upload_id"],
        data=json.loads(row["data"]),
        time=row["time"],
        position=row["position"],
    )

"""Consumers and their deliveries as people see and steer them, in SQLite: that part of `ports.Outbox`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from tuspy_server.model import EventType
from tuspy_server.ports import (
    Backlog,
    Consumer,
    DeliveryFilter,
    DeliveryRecord,
    DeliveryStatus,
    EventFilter,
    RegisteredConsumer,
)
from tuspy_server.stores.sqlite.event_log import SqliteEventLog, chosen_events
from tuspy_server.stores.sqlite.processing import settle_processing
from tuspy_server.stores.sqlite.rows import SQL, event_of, from_microseconds, seconds, to_json


class SqliteConsumers(SqliteEventLog):
    """See `ports.Outbox` for each method."""

    async def register(self, consumers: Sequence[Consumer]) -> None:
        """See the port."""
        now = self._now()
        rows = [
            {
                "name": consumer.name,
                "types": to_json(sorted(consumer.types)),
                "processing": consumer.processing,
                "now": now,
            }
            for consumer in consumers
        ]

        def upsert(connection: sqlite3.Connection) -> None:
            for row in rows:
                connection.execute(SQL["register"], row)

        await self._database.write(upsert, synced=False)

    async def consumers(self) -> Sequence[RegisteredConsumer]:
        """See the port."""

        def select(connection: sqlite3.Connection) -> list[RegisteredConsumer]:
            return [_consumer(row) for row in connection.execute(SQL["consumers"])]

        return await self._database.read(select)

    async def unregister(self, name: str) -> bool:
        """See the port."""
        now = self._now()
        return await self._database.write(lambda connection: _unregister(connection, name, now))

    async def forget_consumers(self, unseen_seconds: float) -> int:
        """See the port."""
        now = self._now()
        values = {"seen_before": now - seconds(unseen_seconds)}

        def forget(connection: sqlite3.Connection) -> int:
            names = [row["name"] for row in connection.execute(SQL["unseen_consumers"], values).fetchall()]
            return sum(_unregister(connection, name, now) for name in names)

        return await self._database.write(forget)

    async def disable(self, name: str, reason: str) -> None:
        """See the port."""
        now = self._now()

        def disable(connection: sqlite3.Connection) -> None:
            if connection.execute(SQL["disable"], {"name": name, "reason": reason}).rowcount:
                _give_up(connection, name, reason, now)

        await self._database.write(disable)

    async def enable(self, name: str) -> bool:
        """See the port."""

        def enable(connection: sqlite3.Connection) -> bool:
            return connection.execute(SQL["enable"], {"name": name}).rowcount > 0

        return await self._database.write(enable)

    async def deliveries(self, only: DeliveryFilter, limit: int) -> Sequence[DeliveryRecord]:
        """See the port."""
        condition, values = _chosen_deliveries(only)
        if only.status is not None:
            condition += f" AND deliveries.status = '{only.status}'"
        text = SQL["deliveries"].replace("{condition}", condition)

        def select(connection: sqlite3.Connection) -> list[DeliveryRecord]:
            rows = connection.execute(text, {**values, "limit": limit})
            return [_delivery_record(row) for row in rows]

        return await self._database.survey(select)

    async def backlog(self, most: int) -> Backlog:
        """See the port."""

        def select(connection: sqlite3.Connection) -> Backlog:
            row = connection.execute(SQL["backlog"], {"most": most}).fetchone()
            lag = 0 if row["oldest"] is None else max(self._now() - row["oldest"], 0)
            return Backlog(waiting=row["waiting"], dead=row["dead"], lag_seconds=lag / 1_000_000)

        return await self._database.survey(select)

    async def retry_now(self, only: DeliveryFilter) -> int:
        """See the port."""
        now = self._now()
        condition, values = _chosen_deliveries(only)
        # The status as a literal, one at a time, so that its partial index serves.
        texts = [
            SQL["retry_now"].replace("{condition}", f"{condition} AND deliveries.status = '{status}'")
            for status in (DeliveryStatus.WAITING, DeliveryStatus.DEAD)
            if only.status in (None, status)
        ]

        def update(connection: sqlite3.Connection) -> int:
            return sum(connection.execute(text, {**values, "now": now}).rowcount for text in texts)

        return await self._database.write(update)

    async def replay(self, consumer: str, after: int, up_to: int | None, only: EventFilter) -> int:
        """See the port."""
        condition, values = chosen_events(after, up_to, only)
        text = SQL["replay"].replace("{condition}", condition)
        values |= {"consumer": consumer, "now": self._now()}
        return await self._database.write(lambda connection: connection.execute(text, values).rowcount)


def _unregister(connection: sqlite3.Connection, name: str, now: int) -> bool:
    if not connection.execute(SQL["unregister"], {"name": name}).rowcount:
        return False
    _give_up(connection, name, "the consumer was unregistered", now)
    return True


def _give_up(connection: sqlite3.Connection, consumer: str, reason: str, now: int) -> None:
    rows = connection.execute(SQL["settle_all_dead"], {"consumer": consumer, "error": reason}).fetchall()
    settle_processing(connection, [row for row in rows if row["processing"]], now)


def _chosen_deliveries(only: DeliveryFilter) -> tuple[str, dict[str, Any]]:
    """A condition on deliveries joined with their events, whatever their status; and its values."""
    columns = {
        "deliveries.consumer": ("consumer", only.consumer),
        "events.upload_id": ("upload_id", only.upload_id),
        "events.id": ("event_id", only.event_id),
    }
    chosen = {column: name for column, (name, value) in columns.items() if value is not None}
    condition = " AND ".join(f"{column} = :{name}" for column, name in chosen.items())
    return condition or "true", {name: value for name, value in columns.values() if value is not None}


def _consumer(row: sqlite3.Row) -> RegisteredConsumer:
    types = frozenset(EventType(name) for name in json.loads(row["types"]))
    return RegisteredConsumer(
        consumer=Consumer(name=row["name"], types=types, processing=bool(row["processing"])),
        registered_at=from_microseconds(row["registered_at"]),
        seen_at=from_microseconds(row["seen_at"]),
        disabled_reason=row["disabled_reason"],
    )


def _delivery_record(row: sqlite3.Row) -> DeliveryRecord:
    return DeliveryRecord(
        event=event_of(row),
        consumer=row["consumer"],
        status=DeliveryStatus(row["status"]),
        attempts=row["attempts"],
        due_at=from_microseconds(row["due_at"]),
        error=row["error"],
    )

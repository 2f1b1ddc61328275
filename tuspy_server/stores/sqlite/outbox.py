"""Committed events, and their way to consumers, in SQLite: `ports.Outbox`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence, Set

from tuspy_server.model import Event, EventType
from tuspy_server.ports import Clock, Delivery
from tuspy_server.stores.sqlite.database import Database
from tuspy_server.stores.sqlite.store import SQL, seconds, to_instant, to_microseconds


class SqliteOutbox:
    """See `ports.Outbox` for each method. Opened and closed with the upload store on the same database.

    Its own changes are not synced: what a power cut takes back is relayed, leased or delivered once more.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def relay(self, consumers: Mapping[str, Set[EventType]], limit: int) -> int:
        """See the port. Positions are given by the insert: one writer cannot be overtaken by a late one."""
        now = self._now()

        def relay(connection: sqlite3.Connection) -> int:
            rows = connection.execute(SQL["to_relay"], {"limit": limit}).fetchall()
            for row in rows:
                for consumer, wanted in consumers.items():
                    if row["type"] in wanted:
                        values = {"position": row["position"], "consumer": consumer, "upload_id": row["upload_id"]}
                        connection.execute(SQL["add_delivery"], {**values, "now": now})
                connection.execute(SQL["relayed"], {"position": row["position"]})
            return len(rows)

        return await self._database.write(relay, synced=False)

    async def lease(self, consumers: Sequence[str], limit: int, lease_seconds: float) -> Sequence[Delivery]:
        """See the port."""
        now = self._now()
        due_at = now + seconds(lease_seconds)

        def lease(connection: sqlite3.Connection) -> list[Delivery]:
            leased: list[Delivery] = []
            for consumer in consumers:
                values = {"consumer": consumer, "now": now, "limit": limit - len(leased)}
                for row in connection.execute(SQL["due_deliveries"], values).fetchall():
                    place = {"position": row["position"], "consumer": consumer}
                    connection.execute(SQL["lease_delivery"], {**place, "due_at": due_at})
                    leased.append(Delivery(event=_event(row), consumer=consumer, attempt=row["attempts"] + 1))
            return leased

        return await self._database.write(lease, synced=False)

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

        def select(connection: sqlite3.Connection) -> int | None:
            rows = [connection.execute(SQL["next_due"], {"consumer": consumer}).fetchone() for consumer in consumers]
            return min((row["due_at"] for row in rows if row["due_at"] is not None), default=None)

        due_at = await self._database.read(select)
        return None if due_at is None else (due_at - self._now()) / 1_000_000

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """See the port."""

        def select(connection: sqlite3.Connection) -> list[Event]:
            return [_event(row) for row in connection.execute(SQL["events_after"], {"after": after, "limit": limit})]

        return await self._database.read(select)

    async def _settle(self, delivery: Delivery, status: str, delay_seconds: float, error: str | None) -> None:
        values = {
            "position": delivery.event.position,
            "consumer": delivery.consumer,
            "status": status,
            "due_at": self._now() + seconds(delay_seconds),
            "error": error,
        }
        await self._database.write(lambda connection: connection.execute(SQL["settle_delivery"], values), synced=False)

    def _now(self) -> int:
        return to_microseconds(self._clock.now())


def _event(row: sqlite3.Row) -> Event:
    time = to_instant(row["time"])
    if time is None:
        raise AssertionError("the column is NOT NULL")
    return Event(
        id=row["id"],
        type=EventType(row["type"]),
        upload_id=row["upload_id"],
        data=json.loads(row["data"]),
        time=time,
        position=row["position"],
    )

"""Committed events, and their way to consumers, in SQLite: `ports.Outbox`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence

from tuspy_server.model import Event
from tuspy_server.ports import Delivery
from tuspy_server.protocol.errors import StoreUnavailable
from tuspy_server.stores.sqlite.consumers import SqliteConsumers
from tuspy_server.stores.sqlite.processing import settle_processing
from tuspy_server.stores.sqlite.rows import SQL, event_of, seconds


class SqliteOutbox(SqliteConsumers):
    """See `ports.Outbox` for each method. Opened and closed with the upload store on the same database.

    Its own changes are not synced: what a power cut takes back is relayed, leased or delivered once more.
    """

    async def relay(self, limit: int, after: int | None = None) -> Sequence[Event]:
        """See the port."""
        now = self._now()

        def relay(connection: sqlite3.Connection) -> Sequence[Event]:
            relayed: list[Event] = []
            # Again for what the first time has written: that an upload is processed which nobody is to process.
            for _ in range(2):
                rows = connection.execute(SQL["to_relay"], {"limit": limit}).fetchall()
                if not rows:
                    break
                relayed += map(event_of, rows)
                last = {"last": rows[-1]["position"]}
                connection.execute(SQL["add_deliveries"], {**last, "now": now})
                unwanted = connection.execute(SQL["waited_for_by_none"], last).fetchall()
                connection.execute(SQL["relayed"], last)
                if not unwanted:
                    break
                settle_processing(connection, unwanted, now)
            if after is None or (relayed and (relayed[0].position or 0) <= after):
                return relayed
            return [event_of(row) for row in connection.execute(SQL["events_above"], {"after": after, "limit": limit})]

        return await self._database.write(relay, synced=False)

    async def lease(self, consumers: Sequence[str], limit: int, lease_seconds: float) -> Sequence[Delivery]:
        """See the port. What nobody hears of (fault B02) is taken back."""
        now = self._now()
        due_at = now + seconds(lease_seconds)
        leased: list[Delivery] = []

        def lease(connection: sqlite3.Connection) -> list[Delivery]:
            leased.clear()  # it may run twice
            for consumer in consumers:
                values = {"consumer": consumer, "now": now, "limit": limit - len(leased)}
                for row in connection.execute(SQL["due_deliveries"], values).fetchall():
                    place = {"position": row["position"], "consumer": consumer}
                    connection.execute(SQL["lease_delivery"], {**place, "due_at": due_at, "now": now})
                    delivery = Delivery(
                        event=event_of(row),
                        consumer=consumer,
                        attempt=row["attempts"] + 1,
                        tried_seconds=(now - row["first_leased_at"]) / 1_000_000,
                    )
                    leased.append(delivery)
            return leased

        def take_back(connection: sqlite3.Connection) -> None:
            for delivery in leased:
                place = {"position": delivery.event.position, "consumer": delivery.consumer}
                values = {**place, "attempts": delivery.attempt, "due_at": due_at, "now": now}
                connection.execute(SQL["unlease_delivery"], values)

        try:
            return await self._database.write(lease, synced=False)
        except (StoreUnavailable, asyncio.CancelledError):
            self._database.write_soon(take_back)
            raise

    async def delivered(self, deliveries: Sequence[Delivery]) -> None:
        """See the port."""
        await self._settle("settle_delivered", deliveries, None)

    async def retry(self, delivery: Delivery, delay_seconds: float, error: str) -> None:
        """See the port."""
        values = {
            "position": delivery.event.position,
            "consumer": delivery.consumer,
            "due_at": self._now() + seconds(delay_seconds),
            "error": error,
        }
        await self._database.write(lambda connection: connection.execute(SQL["settle_retry"], values), synced=False)

    async def bury(self, delivery: Delivery, error: str) -> None:
        """See the port."""
        await self._settle("settle_dead", [delivery], error)

    async def next_due_seconds(self, consumers: Sequence[str]) -> float | None:
        """See the port."""

        def select(connection: sqlite3.Connection) -> int | None:
            rows = [connection.execute(SQL["next_due"], {"consumer": consumer}).fetchone() for consumer in consumers]
            return min((row["due_at"] for row in rows if row["due_at"] is not None), default=None)

        due_at = await self._database.read(select)
        return None if due_at is None else (due_at - self._now()) / 1_000_000

    async def _settle(self, name: str, deliveries: Sequence[Delivery], error: str | None) -> None:
        now = self._now()
        places = [{"position": each.event.position, "consumer": each.consumer, "error": error} for each in deliveries]

        def settle(connection: sqlite3.Connection) -> None:
            rows = [row for place in places for row in connection.execute(SQL[name], place).fetchall()]
            settle_processing(connection, [row for row in rows if row["processing"]], now)

        await self._database.write(settle, synced=False)

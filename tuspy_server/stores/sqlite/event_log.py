"""Committed events, for readers, in SQLite: `ports.EventLog`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from tuspy_server.model import Event
from tuspy_server.ports import Clock, EventFilter
from tuspy_server.stores.sqlite.database import Database
from tuspy_server.stores.sqlite.rows import SQL, event_of, to_json, to_microseconds

EVERY_EVENT: Final = EventFilter()


class SqliteEventLog:
    """See `ports.EventLog` for each method. Positions are given by the insert: where there is one writer, none can be
    overtaken by a late one."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def events(
        self, after: int, limit: int, only: EventFilter = EVERY_EVENT, up_to: int | None = None
    ) -> Sequence[Event]:
        """See the port."""
        condition, values = chosen_events(after, up_to, only)
        text = SQL["events"].replace("{condition}", condition)

        def select(connection: sqlite3.Connection) -> list[Event]:
            return [event_of(row) for row in connection.execute(text, {**values, "limit": limit})]

        return await self._database.read(select)

    async def event_at(self, position: int) -> Event | None:
        """See the port."""

        def select(connection: sqlite3.Connection) -> Event | None:
            row = connection.execute(SQL["event_at"], {"position": position}).fetchone()
            return None if row is None else event_of(row)

        return await self._database.read(select)

    async def last_position(self) -> int:
        """See the port."""

        def select(connection: sqlite3.Connection) -> int:
            row = connection.execute(SQL["last_position"]).fetchone()
            return 0 if row is None else int(row["seq"])

        return await self._database.read(select)

    def _now(self) -> int:
        return to_microseconds(self._clock.now())


def chosen_events(after: int, up_to: int | None, only: EventFilter) -> tuple[str, dict[str, Any]]:
    """A condition on events, and its values."""
    conditions = ["events.position > :after"]
    values: dict[str, Any] = {"after": after}
    chosen = {"upload_id": only.upload_id, "job_id": only.job_id, "tenant": only.tenant}
    for column, value in chosen.items():
        if value is not None:
            conditions.append(f"events.{column} = :{column}")
            values[column] = value
    if up_to is not None:
        conditions.append("events.position <= :up_to")
        values["up_to"] = up_to
    if only.types:
        conditions.append("events.type IN (SELECT value FROM json_each(:types))")
        values["types"] = to_json(sorted(only.types))
    return " AND ".join(conditions), values

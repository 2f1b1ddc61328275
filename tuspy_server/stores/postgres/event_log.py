"""Numbered events for readers, in PostgreSQL: `ports.EventLog`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tuspy_server.model import Event
from tuspy_server.ports import EventFilter
from tuspy_server.stores.postgres.pool import Pool
from tuspy_server.stores.postgres.rows import to_event
from tuspy_server.stores.postgres.schema import statements

SQL: Final = statements()
ANY: Final = EventFilter()


class PostgresEventLog:
    """See `ports.EventLog` for each method."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def events(
        self, after: int, limit: int, only: EventFilter = ANY, up_to: int | None = None
    ) -> Sequence[Event]:
        """See the port. Who asks for all that comes is a process's one feed: hundreds of uploads' statements that wait
        for a connection must not make every event late."""
        urgent = only == ANY and up_to is None
        values: tuple[object, ...] = (after, up_to, only.tenant, sorted(only.types), limit)
        if only.upload_id is not None:
            name, values = "events_of_upload", (*values, only.upload_id, only.job_id)
        elif only.job_id is not None:
            name, values = "events_of_job", (*values, only.job_id)
        else:
            name = "events_after"
        return [to_event(row) for row in await self._pool.fetch(SQL[name], *values, repeatable=True, urgent=urgent)]

    async def event_at(self, position: int) -> Event | None:
        """See the port."""
        row = await self._pool.fetch_row(SQL["event_at"], position, repeatable=True)
        return None if row is None else to_event(row)

    async def last_position(self) -> int:
        """See the port."""
        return int(await self._pool.fetch_value(SQL["last_position"], repeatable=True))

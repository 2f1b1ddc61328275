"""The PostgreSQL adapters as the contract suites take them, on a database whose `now()` a test sets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

import asyncpg

from tests.contracts.rig import ManualClock, StoreRig
from tuspy_server.protocol.errors import TryLater
from tuspy_server.stores.postgres.jobs import PostgresJobs
from tuspy_server.stores.postgres.nodes import Node
from tuspy_server.stores.postgres.notifications import PostgresNotifications
from tuspy_server.stores.postgres.options import PostgresOptions
from tuspy_server.stores.postgres.outbox import PostgresOutbox
from tuspy_server.stores.postgres.pool import Pool, Result, Work
from tuspy_server.stores.postgres.store import PostgresUploadStore

SCHEMA = "rig"
SHADOW = f"""
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE IF NOT EXISTS {SCHEMA}.test_clock (instant timestamptz NOT NULL);
INSERT INTO {SCHEMA}.test_clock SELECT now() WHERE NOT EXISTS (SELECT FROM {SCHEMA}.test_clock);
CREATE OR REPLACE FUNCTION {SCHEMA}.now() RETURNS timestamptz LANGUAGE sql STABLE
AS 'SELECT instant FROM {SCHEMA}.test_clock';
CREATE OR REPLACE FUNCTION {SCHEMA}.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
AS 'SELECT instant FROM {SCHEMA}.test_clock';
"""
"""What our own schema has is found before PostgreSQL's, where the search path names that one second."""


def with_schema(dsn: str, schema: str = SCHEMA) -> str:
    return f"{dsn}?sslmode=disable&options=-csearch_path%3D{schema}%2Cpg_catalog"


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 15.0) -> None:
    """Wait for it to be true; what passes meanwhile may be in trouble."""
    async with asyncio.timeout(seconds):
        while True:
            with suppress(TryLater, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if await condition():
                    return
            await asyncio.sleep(0.02)


class ClockedPool(Pool):
    """Sets the database's clock before each call."""

    def __init__(self, options: PostgresOptions, clock: ManualClock, dsn: str) -> None:
        super().__init__(options)
        self._clock = clock
        self._dsn = dsn
        self._told: datetime | None = None
        self._control: asyncpg.Connection[asyncpg.Record] | None = None
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        self._control = await asyncpg.connect(self._dsn)
        await self._control.execute(SHADOW)
        await super().open()

    async def fill(self) -> None:
        """Most tests need one or two connections."""

    async def close(self) -> None:
        await super().close()
        if self._control is not None:
            await self._control.close()
            self._control = None

    async def run(self, work: Work[Result], **options: Any) -> Result:
        async with self._lock:
            now = self._clock.now()
            if now != self._told and self._control is not None:
                await self._control.execute(f"UPDATE {SCHEMA}.test_clock SET instant = $1", now)
                self._told = now
        return await super().run(work, **options)


class PostgresRig(StoreRig):
    """One node. Others on the same database are more rigs with the same clock."""

    def __init__(self, clock: ManualClock, dsn: str, **options: Any) -> None:
        super().__init__(clock)
        self.dsn = dsn
        self.options = PostgresOptions(url=with_schema(dsn), **options)
        self._renew()

    def go_through(self, dsn: str) -> None:
        """The adapter's own connections; before the start."""
        self.options = replace(self.options, url=with_schema(dsn))
        self._renew()

    def _renew(self) -> None:
        self.pool = ClockedPool(self.options, self.clock, self.dsn)
        self.node = Node(self.pool)
        self._uploads = PostgresUploadStore(self.pool, self.node)
        self._outbox = PostgresOutbox(self.pool, self.node)
        self._jobs = PostgresJobs(self.pool, self.node)

    @property
    def uploads(self) -> PostgresUploadStore:
        return self._uploads

    @property
    def outbox(self) -> PostgresOutbox:
        return self._outbox

    @property
    def jobs(self) -> PostgresJobs:
        return self._jobs

    async def start(self) -> None:
        await self.uploads.open()

    async def stop(self) -> None:
        await self.uploads.close()
        self._renew()

    async def sql(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Beside the adapter."""
        connection = await asyncpg.connect(with_schema(self.dsn))
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()


class MakeRig(Protocol):
    """Starts one more node; its connections go `through` another DSN where one is given."""

    async def __call__(self, *, through: str | None = None, **options: Any) -> PostgresRig: ...


class Start(Protocol):
    """Starts one more node that hears the others."""

    async def __call__(self, *, hears: bool = True, **options: Any) -> tuple[PostgresRig, PostgresNotifications]: ...


async def listens(notifications: PostgresNotifications) -> bool:
    return notifications.hears

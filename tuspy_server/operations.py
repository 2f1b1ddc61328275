"""What operators do to stores without serving them: look, try out, bring up to date."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import asyncpg

from tuspy_server.clock import SystemClock
from tuspy_server.compose import (
    DATABASE_NAME,
    FILES_NAME,
    bucket_client,
    longest_life_seconds,
    postgres_options,
)
from tuspy_server.model import Upload
from tuspy_server.ports import Outbox
from tuspy_server.settings import Settings
from tuspy_server.stores.postgres import schema
from tuspy_server.stores.postgres.nodes import Node
from tuspy_server.stores.postgres.outbox import PostgresOutbox
from tuspy_server.stores.postgres.pool import Pool
from tuspy_server.stores.postgres.store import PostgresUploadStore
from tuspy_server.stores.sqlite import schema as sqlite_schema
from tuspy_server.stores.sqlite.audit import Audit, damage_of, look_through
from tuspy_server.stores.sqlite.database import Database
from tuspy_server.stores.sqlite.outbox import SqliteOutbox
from tuspy_server.stores.sqlite.store import SqliteUploadStore

MOST_UPLOADS: Final = 1_000_000
HEARING_SECONDS: Final = 2.0
AUDIT_SECONDS: Final = 3600.0


class SchemaTooOld(Exception):
    """The database is to be migrated first; the text says by which command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """How far a database has been migrated.

    Attributes:
        version: of its schema; 0 where it has none.
        newest: the version that this program migrates to.
    """

    version: int
    newest: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a bucket that an operator should know, with what a server makes of it."""

    severity: Literal["error", "warning", "note"]
    sentence: str


async def look_at_expired(settings: Settings) -> Sequence[Upload]:
    """Uploads that a sweep would expire now, without a lock, beside a running server; nothing is changed.

    Raises:
        FileNotFoundError: there is no database in the data folder. SchemaTooOld: PostgreSQL has not been migrated.
        StoreUnavailable: 503. asyncpg.PostgresError: PostgreSQL refuses.
    """
    if settings.database_url is not None:
        async with _connected(settings) as pool:
            if await schema.version_of(pool) < schema.newest_version():
                raise SchemaTooOld("the database has not been migrated yet: tuspy-server migrate does it")
            return await PostgresUploadStore(pool, Node(pool)).expired(limit=MOST_UPLOADS)
    path = settings.data / DATABASE_NAME
    if not path.exists():
        raise FileNotFoundError(f"there is no {DATABASE_NAME} in {settings.data}")
    store = SqliteUploadStore(Database(path, durable=False, deadline_seconds=settings.storage_seconds), SystemClock())
    await store.open_to_look()
    try:
        return await store.expired(limit=MOST_UPLOADS)
    finally:
        await store.close()


async def audit(settings: Settings, *, served: bool) -> Audit:
    """Read every page of the embedded database and hold its rows against the files. Nothing is changed. Beside a
    running server, `served`, it looks for damage alone: files and rows change meanwhile.

    Raises:
        StoreUnavailable: 503. sqlite3.Error: it cannot be opened.
    """
    database = Database(settings.data / DATABASE_NAME, durable=False, deadline_seconds=AUDIT_SECONDS)
    await database.open_to_look()
    try:
        if served:
            return Audit(damage=await database.survey(partial(damage_of, quick=True)))
        return await database.survey(lambda connection: look_through(connection, settings.data / FILES_NAME))
    finally:
        await database.close()


async def look_at_schema(settings: Settings) -> Schema:
    """How far the PostgreSQL of the settings has been migrated; nothing is changed.

    Raises:
        StoreUnavailable: 503. asyncpg.PostgresError: it refuses.
    """
    async with _connected(settings) as pool:
        return Schema(version=await schema.version_of(pool), newest=schema.newest_version())


async def migrate(settings: Settings) -> tuple[int, int]:
    """Bring the PostgreSQL of the settings up to date, beside running servers. Returns its versions before and after.

    Raises:
        StoreUnavailable: 503. asyncpg.PostgresError: it refuses.
    """
    async with _connected(settings) as pool:
        before = await schema.version_of(pool)
        return before, await schema.migrate(pool)


async def hears(settings: Settings) -> bool:
    """Whether what one connection tells is heard by the one that servers listen on; past a pooler it may not be.

    Raises:
        StoreUnavailable: 503. OSError, asyncpg.PostgresError, asyncpg.InterfaceError: it cannot be connected to.
    """
    options = postgres_options(settings)
    channel = f"tuspy_check_{secrets.token_hex(8)}"
    heard = asyncio.Event()
    connection = await asyncpg.connect(
        options.listen_url or options.url,
        timeout=options.connect_seconds,
        command_timeout=options.call_seconds,
        statement_cache_size=0,
    )
    try:
        await connection.add_listener(channel, lambda *_: heard.set())
        async with _connected(settings) as pool:
            await pool.fetch("SELECT pg_notify($1, '')", channel, repeatable=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARING_SECONDS):
                    await heard.wait()
    finally:
        connection.terminate()
    return heard.is_set()


async def probe_bucket(settings: Settings) -> Sequence[Finding]:
    """Try out what the bucket can do, and hold its lifecycle against the expiry of uploads. Nothing is left behind.

    Raises:
        MissingExtra: it needs the extra `s3`. S3Error: there are no credentials.
    """
    client = bucket_client(settings, probes=True)
    from tuspy_server.stores.s3 import capabilities, opening  # noqa: PLC0415  # not before the extra is known to be there

    seen = capabilities.with_expiry(await opening.looked_at(client, settings.s3_prefix), longest_life_seconds(settings))
    return [Finding(finding.severity, finding.sentence) for finding in seen.findings]


@asynccontextmanager
async def outbox_of(settings: Settings, *, changes: bool) -> AsyncIterator[Outbox]:
    """The events and deliveries of the settings, beside running servers.

    Args:
        settings: where they are.
        changes: whether deliveries are to be changed. SQLite takes that from a second process too: its transactions
            wait for one another, and these are short and touch no upload.

    Raises:
        FileNotFoundError: there is no database in the data folder. SchemaTooOld: it has not been brought up to date.
        StoreUnavailable: 503. asyncpg.PostgresError, sqlite3.Error: the database refuses.
    """
    if settings.database_url is not None:
        async with _connected(settings) as pool:
            if await schema.version_of(pool) < schema.newest_version():
                raise SchemaTooOld("the database has not been migrated yet: tuspy-server migrate does it")
            yield PostgresOutbox(pool, Node(pool))
        return
    path = settings.data / DATABASE_NAME
    if not path.exists():
        raise FileNotFoundError(f"there is no {DATABASE_NAME} in {settings.data}")
    database = Database(path, durable=settings.durability == "disk", deadline_seconds=settings.storage_seconds)
    await (database.open() if changes else database.open_to_look())
    try:
        if await database.read(sqlite_schema.version_of) < sqlite_schema.newest_version():
            raise SchemaTooOld("the database is of an older version: the next start of the server brings it up to date")
        yield SqliteOutbox(database, SystemClock())
    finally:
        await database.close()


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[Pool]:
    pool = Pool(postgres_options(settings))
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()

"""Numbered migrations, forward only, and the named statements; both are `.sql` files beside this module."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from tuspy_server.model import PARTS_IN_FLIGHT
from tuspy_server.stores.postgres.pool import Connection, Pool

MIGRATION_SECONDS: Final = 600.0
"""Deadline of one migration: it may have to wait for another node's, or rewrite a table."""

_PACKAGE: Final = "tuspy_server.stores.postgres"
_COMMENT: Final = re.compile(r"^--.*\n", re.MULTILINE)
_NAME: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_TEXT: Final = re.compile(r"\{(\w+)\}")

_KNOWN: Final = "SELECT to_regclass('tuspy_migrations') IS NOT NULL"
_VERSION: Final = "SELECT coalesce(max(version), 0) FROM tuspy_migrations"
# One migration at a time in one schema. Not a session's lock: the statement may pass through a pooler.
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('tuspy.migrate.' || current_schema(), 0))"
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS tuspy_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL
)
"""
_APPLIED: Final = "INSERT INTO tuspy_migrations (version, name, applied_at) VALUES ($1, $2, now())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step forward."""

    version: int
    name: str
    script: str


def statements() -> Mapping[str, str]:
    """The texts in `sql/` by name, with their common texts put in."""
    named: dict[str, str] = {}
    for entry in sorted(files(_PACKAGE).joinpath("sql").iterdir(), key=lambda entry: entry.name):
        parts = _NAME.split(entry.read_text("utf-8"))
        named |= dict(zip(parts[1::2], (text.strip().rstrip(";") for text in parts[2::2]), strict=True))
    texts = {name for text in named.values() for name in _TEXT.findall(text)}
    common = {name: _COMMENT.sub("", named[name]).strip() for name in texts & named.keys()}
    common["parts_in_flight"] = str(PARTS_IN_FLIGHT)

    def put_in(text: str) -> str:
        return _TEXT.sub(lambda found: put_in(common[found[1]]), text)

    return {name: put_in(text) for name, text in named.items() if name not in common}


def migrations() -> list[Migration]:
    """All there are, in their order."""
    found = [entry for entry in files(_PACKAGE).joinpath("migrations").iterdir() if entry.name.endswith(".sql")]
    return [
        Migration(version=int(entry.name.partition("_")[0]), name=entry.name, script=entry.read_text("utf-8"))
        for entry in sorted(found, key=lambda entry: entry.name)
    ]


def newest_version() -> int:
    """What `migrate` leads to."""
    return migrations()[-1].version


async def version_of(pool: Pool) -> int:
    """The version that the schema has; 0 before the first migration."""
    return await pool.run(_version, repeatable=True)


async def migrate(pool: Pool) -> int:
    """Bring the schema up to date, one transaction a migration; nodes that start at once wait for one another.

    Returns the version reached. A schema of a newer version is left as it is: migrations only add (fault C14).
    """
    version = await version_of(pool)
    for migration in migrations():
        if migration.version > version:
            version = await pool.run(lambda connection: _apply(connection, migration), seconds=MIGRATION_SECONDS)  # noqa: B023  # called at once
    return version


async def _apply(connection: Connection, migration: Migration) -> int:
    async with connection.transaction():
        await connection.execute(_LOCK, timeout=MIGRATION_SECONDS)
        await connection.execute(_TABLE)
        version: int = await connection.fetchval(_VERSION)
        if migration.version > version:
            await connection.execute(migration.script, timeout=MIGRATION_SECONDS)
            await connection.execute(_APPLIED, migration.version, migration.name)
            version = migration.version
    return version


async def _version(connection: Connection) -> int:
    if not await connection.fetchval(_KNOWN):
        return 0
    version: int = await connection.fetchval(_VERSION)
    return version

"""docs/reference/tables.md: what it says can be followed in PostgreSQL."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.docs.pages import DOCS, blocks, served
from tests.web.served import settings, upload_id
from tuspy_server import TusServer

PAGE = "reference/tables.md"

pytestmark = pytest.mark.filterwarnings("ignore:.*wal_level:asyncpg.exceptions.PostgresWarning")


async def one_row(connection: asyncpg.Connection[asyncpg.Record], statement: str) -> dict[str, Any]:
    row = await connection.fetchrow(statement)
    assert row is not None
    return dict(row)


async def test_a_finish_is_seen_by_a_trigger_and_leaves_a_row(postgres_dsn: str) -> None:
    tus = TusServer(settings(Path("uploads"), database_url=postgres_dsn))
    heard: asyncio.Queue[object] = asyncio.Queue()
    async with served(tus) as server:
        connection = await asyncpg.connect(postgres_dsn)
        try:
            for statements in blocks(PAGE, "sql"):
                await connection.execute(statements)
            await connection.add_listener("files", lambda *told: heard.put_nowait(told[-1]))
            for length in (5, 0):
                target = await server.create(length)
                if length:
                    assert (await server.patch(target, 0, b"he")).status == 204
                    assert (await server.patch(target, 2, b"llo")).status == 204
                async with asyncio.timeout(20):
                    assert await heard.get() == upload_id(target)
                row = await one_row(connection, f"SELECT * FROM uploads WHERE id = '{upload_id(target)}'")
                assert (row["status"], row["upload_offset"], row["processing"]) == ("finished", length, None)
                assert row["ended_at"] >= row["created_at"]
            assert heard.empty()
            row = await one_row(connection, "SELECT * FROM uploads LIMIT 1")
            listed, events = (DOCS / PAGE).read_text("utf-8").partition("`events`, one row")[::2]
            for name in re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", listed, re.MULTILINE))):
                assert name in row, name
            event = await one_row(connection, "SELECT * FROM events WHERE type = 'upload.finished' LIMIT 1")
            for name in re.findall(r"`(\w+)`", events.partition("as in")[0]):
                assert name in event, name
        finally:
            await connection.execute("DROP PUBLICATION IF EXISTS finished_uploads")
            await connection.close()


async def test_a_filter_on_the_table_itself_would_stop_uploads(postgres_dsn: str) -> None:
    """Why the page warns."""
    tus = TusServer(settings(Path("uploads"), database_url=postgres_dsn))
    async with served(tus) as server:
        connection = await asyncpg.connect(postgres_dsn)
        try:
            await connection.execute("CREATE PUBLICATION bad FOR TABLE uploads WHERE (status = 'finished')")
            target = await server.create(5)
            with pytest.raises(asyncpg.InvalidColumnReferenceError):
                await connection.execute("UPDATE uploads SET upload_offset = 1 WHERE id = $1", upload_id(target))
        finally:
            await connection.execute("DROP PUBLICATION IF EXISTS bad")
            await connection.close()

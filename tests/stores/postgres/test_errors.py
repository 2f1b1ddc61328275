"""What a driver's error becomes."""

from __future__ import annotations

import asyncpg
import pytest

from tuspy_server.protocol.errors import StorageFull, StoreUnavailable
from tuspy_server.stores.postgres.errors import translate
from tuspy_server.stores.postgres.options import PostgresOptions


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.AdminShutdownError("x"),
        asyncpg.CannotConnectNowError("x"),
        asyncpg.ConnectionDoesNotExistError("x"),
        asyncpg.CrashShutdownError("x"),
        asyncpg.DeadlockDetectedError("x"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InterfaceError("pool is closing"),
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
        asyncpg.OutOfMemoryError("x"),
        asyncpg.ProtocolViolationError("query_wait_timeout"),
        asyncpg.QueryCanceledError("x"),
        asyncpg.ReadOnlySQLTransactionError("x"),
        asyncpg.SerializationError("x"),
        asyncpg.TooManyConnectionsError("x"),
    ],
)
def test_trouble_that_passes_is_503(error: Exception) -> None:
    assert type(translate(error)) is StoreUnavailable


def test_a_full_disk_is_507() -> None:
    assert type(translate(asyncpg.DiskFullError("x"))) is StorageFull


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.CheckViolationError("x"),
        asyncpg.InterfaceError("the server expects 1 argument"),
        asyncpg.InvalidPasswordError("x"),
        asyncpg.UndefinedTableError("x"),
        asyncpg.UniqueViolationError("x"),
        ValueError(),
    ],
)
def test_what_is_no_trouble_that_passes_stays_as_it_is(error: Exception) -> None:
    assert translate(error) is error


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("postgresql://me:secret@db:5432/x", "db:5432"),
        ("postgresql://me:secret@one:1,two:2/x", "one:1,two:2"),
        ("postgresql://me:secret@/x?host=/run/postgresql", "/run/postgresql"),
        ("postgresql:///x", "the default host"),
    ],
)
def test_where_a_database_is_can_be_told_without_its_password(url: str, where: str) -> None:
    options = PostgresOptions(url=url, listen_url=url)
    assert options.where == where
    assert "secret" not in repr(options)

"""What a driver's error becomes: trouble that passes, a full disk, or what it is."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, TypeVar

import asyncpg

from tuspy_server.protocol.errors import IdTaken, StorageFull, StoreUnavailable

PASSING: Final = (
    OSError,  # TimeoutError too
    asyncpg.PostgresConnectionError,  # class 08, also what a pooler says when it has no server
    asyncpg.OperatorInterventionError,  # 57: shut down, crashed, starting, cancelled
    asyncpg.InsufficientResourcesError,  # 53: too many connections, out of memory
    asyncpg.TransactionRollbackError,  # 40: deadlock, serialization
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # a failover has made it a standby
    asyncpg.exceptions.TargetServerAttributeNotMatched,  # a failover is under way
)


Result = TypeVar("Result")


class DatabaseUnreachable(StoreUnavailable):
    """503: as its base; says at the start which server it is."""

    def __init__(self, where: str, reason: str) -> None:
        Exception.__init__(self, f"the database at {where} is not available: {reason}")


def translate(error: BaseException) -> BaseException:
    """The answer that a driver's error becomes. Programming errors stay as they are: they are no trouble that passes.

    Whether a statement has been executed is not known where this gives `StoreUnavailable`.
    """
    if isinstance(error, asyncpg.DiskFullError):
        return StorageFull()
    if (
        isinstance(error, PASSING)
        or is_dying(error)
        or (isinstance(error, asyncpg.InterfaceError) and "clos" in str(error))
    ):
        return StoreUnavailable()
    return error


def is_dying(error: BaseException) -> bool:
    """Whether the connection had been told by the server that it is closed, but was not closed yet: the driver still
    reads that, and refuses the next statement before it is sent."""
    return isinstance(error, asyncpg.InternalClientError) and "another operation" in str(error)


async def inserted(call: Awaitable[Result]) -> Result:
    """The result of a call that inserts what has an id of somebody else's choice. Raises IdTaken (409)."""
    try:
        return await call
    except asyncpg.UniqueViolationError as error:
        raise IdTaken from error

"""Errors that an operator meets: which they are, and how they are told in one line."""

from __future__ import annotations

import sqlite3
import sys
from typing import Final

import asyncpg

from tuspy_server.cli.sources import without_credentials
from tuspy_server.compose import MissingExtra
from tuspy_server.edge.workers import WorkerFailed
from tuspy_server.operations import SchemaTooOld
from tuspy_server.protocol.errors import TusError

_S3_ERRORS: Final = "tuspy_server.stores.s3.errors"
_NO_CREDENTIALS: Final = (
    "no credentials for the bucket were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role"
)


def expected() -> tuple[type[Exception], ...]:
    """Those that say something of the machine, the settings or the stores; others are defects, and have tracebacks."""
    kinds = (
        OSError,
        sqlite3.Error,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        TusError,
        MissingExtra,
        SchemaTooOld,
        WorkerFailed,
    )
    # Without the extra the module cannot be imported, and then nothing of it has been raised.
    return (*kinds, sys.modules[_S3_ERRORS].S3Error) if _S3_ERRORS in sys.modules else kinds


def reason(error: BaseException) -> str:
    """An error of the operating system, the database or the storage, in one line without credentials."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if getattr(error, "code", None) == "NoCredentials":
        return _NO_CREDENTIALS
    prefix = ""
    if isinstance(error, (sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError)):
        prefix = "database: "
    elif _S3_ERRORS in sys.modules and isinstance(error, sys.modules[_S3_ERRORS].S3Error):
        prefix = "bucket: "
    return prefix + (without_credentials(" ".join(str(error).split())) or type(error).__name__)

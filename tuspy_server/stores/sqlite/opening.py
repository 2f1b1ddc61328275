"""What hinders a start on a SQLite file, in words for the operator who is to mend it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from tuspy_server.stores.sqlite.schema import version_of

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_MEND: Final = "restore it from its backup; what can still be read of it, `sqlite3 FILE .recover` prints"


class UnusableDatabase(sqlite3.DatabaseError):
    """The file cannot be served as it is; the text says which file, and why."""


def unusable(path: Path, error: sqlite3.Error) -> UnusableDatabase:
    """An error of the driver at the start. By itself it names no file."""
    if isinstance(error, UnusableDatabase):
        return error
    return UnusableDatabase(f"{error}: {path}{f'; {_MEND}' if is_damage(error) else ''}")


def is_damage(error: BaseException | None) -> bool:
    """Whether the file itself is wrong, which no second try mends."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def refuse_a_log_alone(path: Path) -> None:
    """SQLite would take the file for a new one and delete the log, which may hold all that there is.

    Raises:
        UnusableDatabase: the file is missing or empty beside a log that is not.
    """
    log = path.with_name(f"{path.name}-wal")
    if _size(log) and not _size(path):
        raise UnusableDatabase(
            f"{log} is there without the database it belongs to: put {path.name} back beside it, or move it away"
        )


def refuse_a_stranger(connection: sqlite3.Connection, path: Path) -> None:
    """Before the first statement that changes a table.

    Raises:
        UnusableDatabase: another program made the tables. Those with an underscore in front are of a tool that copies
            any database.
    """
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    tables = {row[0] for row in rows if not row[0].startswith(("sqlite_", "_"))}
    if "uploads" not in tables if version_of(connection) else tables:
        raise UnusableDatabase(f"{path} is a database of another program: name another folder by --data")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

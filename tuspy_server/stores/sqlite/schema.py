"""Numbered migrations, forward only, and the named statements; both are `.sql` files beside this module."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Final

_PACKAGE: Final = "tuspy_server.stores.sqlite"
_NAME: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def statements() -> Mapping[str, str]:
    """The texts of all `statements….sql` by name."""
    named: dict[str, str] = {}
    for entry in files(_PACKAGE).iterdir():
        if entry.name.endswith(".sql"):
            parts = _NAME.split(entry.read_text("utf-8"))
            named |= zip(parts[1::2], (text.strip().rstrip(";") for text in parts[2::2]), strict=True)
    return named


def migrate(connection: sqlite3.Connection) -> int:
    """Bring the schema up to date inside the caller's transaction, one migration after the other.

    Returns the version reached. A database of a newer version is left as it is: migrations only add (fault C14).
    """
    version = version_of(connection)
    folder = files(_PACKAGE).joinpath("migrations")
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        number = int(entry.name.partition("_")[0])
        if number > version:
            for statement in _split(entry.read_text("utf-8")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            version = number
    return version


def version_of(connection: sqlite3.Connection) -> int:
    """The version that the schema has; 0 before the first migration."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def newest_version() -> int:
    """What `migrate` leads to."""
    return max(int(entry.name.partition("_")[0]) for entry in files(_PACKAGE).joinpath("migrations").iterdir())


def _split(script: str) -> Iterator[str]:
    """The statements of a script: `executescript` would commit the transaction around it."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""

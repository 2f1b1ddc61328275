"""Named parameters, handed to SQLite by position.

The driver lets go of the interpreter's lock for every name that it looks up, and each time another thread may take it:
where the event loop is busy, a statement with ten names waits ten times for its turn. By position it does not.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

_TOKEN: Final = re.compile(r"'(?:[^']|'')*'|--[^\n]*|:([a-z_]+)")
"""Texts and comments are skipped: a colon there names nothing."""

Values = Mapping[str, Any]


class PositionalConnection(sqlite3.Connection):
    """Takes named parameters, as in `WHERE id = :id`; otherwise a connection like any other."""

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        """See sqlite3."""
        if isinstance(parameters, Mapping):
            sql, pick = positional(sql)
            return super().execute(sql, pick(parameters))
        return super().execute(sql, parameters)


@lru_cache(maxsize=256)
def positional(sql: str) -> tuple[str, Callable[[Values], tuple[Any, ...]]]:
    """The statement with `?` for each name; and what picks the values in that order."""
    names: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        names.append(match[1])
        return "?"

    sql = _TOKEN.sub(replace, sql)
    if len(names) > 1:
        return sql, itemgetter(*names)
    return sql, lambda values: tuple(values[name] for name in names)

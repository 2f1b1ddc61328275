"""Named parameters by position: the same statements, the same results."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest

from tuspy_server.stores.sqlite.positional import PositionalConnection, positional
from tuspy_server.stores.sqlite.schema import statements


def test_names_are_found_where_sqlite_finds_them() -> None:
    sql, pick = positional("SELECT :b, ':a', 'it''s :a', :a_c -- :a\n, :b")
    assert sql == "SELECT ?, ':a', 'it''s :a', ? -- :a\n, ?"
    assert pick({"b": 1, "a_c": 2, "unused": 3}) == (1, 2, 1)


def test_one_name_and_none() -> None:
    assert positional("SELECT :a")[1]({"a": 1}) == (1,)
    assert positional("SELECT 1")[1]({"a": 1}) == ()


@pytest.mark.parametrize("sql", statements().values(), ids=statements().keys())
def test_no_name_of_a_statement_is_left(sql: str) -> None:
    text, pick = positional(sql)
    assert text.count("?") == len(pick(dict.fromkeys(_names(sql))))
    assert not _names(text)


def test_the_connection_takes_both() -> None:
    with closing(sqlite3.connect(":memory:", factory=PositionalConnection)) as connection:
        assert connection.execute("SELECT :b, :a, :b", {"a": 1, "b": 2}).fetchone() == (2, 1, 2)
        assert connection.execute("SELECT ?", (1,)).fetchone() == (1,)
        assert connection.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(KeyError):
            connection.execute("SELECT :a, :b", {"a": 1})


def _names(sql: str) -> set[str]:
    code = "\n".join(line.partition("--")[0] for line in sql.splitlines())
    return set(re.findall(r":([a-z_]+)", code))

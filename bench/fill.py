"""A table of many uploads: rows beside those that the load will touch, nine of ten finished, inserted by SQL."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Final

from bench.process import Running
from bench.services import Postgres, Services
from bench.wire import Broken
from tuspy_server.compose import DATABASE_NAME

BATCH_ROWS: Final = 100_000
"""Of one statement: it must end before its deadline on a busy machine too."""


def fill(running: Running, below: Services, rows: int) -> None:
    """Copies of an upload of the warm-up, under ids of their own; indexes and statistics are up to date after it.

    Raises:
        Broken: the table is not as this module knows it.
    """
    if below.postgres is not None:
        _fill_postgres(below.postgres, rows)
    else:
        _fill_sqlite(running, rows)


def _fill_sqlite(running: Running, rows: int) -> None:
    path = running.data / DATABASE_NAME
    if not path.exists():
        raise Broken(f"there is no {DATABASE_NAME} in the data folder")
    with contextlib.closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = -262144")
        names = [row[1] for row in connection.execute("PRAGMA table_info(uploads)")]
        # What is not named here is copied.
        changed = {
            "id": "lower(hex(randomblob(16)))",
            "status": "CASE n % 10 WHEN 0 THEN 'uploading' ELSE 'finished' END",
            "upload_offset": "CASE n % 10 WHEN 0 THEN 0 ELSE upload_length END",
        }
        connection.execute(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?), "  # noqa: S608  # the table's own names
            "one AS (SELECT * FROM uploads WHERE status = 'finished' LIMIT 1) "
            f"INSERT INTO uploads ({', '.join(names)}) "
            f"SELECT {', '.join(changed.get(name, name) for name in names)} FROM numbers, one",
            (rows,),
        )
        there = connection.execute("SELECT count(*) FROM uploads").fetchone()[0]
        connection.execute("ANALYZE")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if there < rows:
        raise Broken(f"{there} rows in the table in place of {rows}")


def _fill_postgres(postgres: Postgres, rows: int) -> None:
    firsts = range(1, rows + 1, BATCH_ROWS)
    batches = ((first, min(rows, first + BATCH_ROWS - 1)) for first in firsts)
    postgres.run(*(POSTGRES.replace("FIRST", str(first)).replace("LAST", str(last)) for first, last in batches))
    postgres.run("VACUUM (ANALYZE)", "CHECKPOINT")


# An id is an id of its type; a key, or what else must be unique, is one with a number behind it. What is neither, nor
# status nor offset, is copied.
POSTGRES: Final = """
DO $fill$
DECLARE
    place  text;
    names  text;
    made   text;
    filled bigint;
BEGIN
    SELECT format('%I.uploads', table_schema) INTO STRICT place
      FROM information_schema.tables WHERE table_name = 'uploads' AND table_schema NOT LIKE 'pg!_%' ESCAPE '!';
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum), string_agg(
               CASE
                   WHEN attname = 'id' AND atttypid = 'uuid'::regtype THEN 'gen_random_uuid()'
                   WHEN attname = 'id' THEN 'replace(gen_random_uuid()::text, ''-'', '''')'
                   WHEN attname = 'status' THEN format(
                       '(CASE n %% 10 WHEN 0 THEN ''uploading'' ELSE ''finished'' END)::%s', atttypid::regtype)
                   WHEN attname = 'upload_offset' THEN 'CASE n % 10 WHEN 0 THEN 0 ELSE upload_length END'
                   WHEN attname LIKE '%key%' AND atttypid = 'text'::regtype THEN format('%I || ''-'' || n', attname)
                   ELSE quote_ident(attname)
               END, ', ' ORDER BY attnum)
      INTO names, made
      FROM pg_attribute
     WHERE attrelid = place::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity = '';
    EXECUTE format(
        'INSERT INTO %s (%s) SELECT %s FROM generate_series(FIRST, LAST) AS n, '
        '(SELECT * FROM %s WHERE status::text = ''finished'' LIMIT 1) AS one', place, names, made, place);
    GET DIAGNOSTICS filled = ROW_COUNT;
    IF filled <> LAST - FIRST + 1 THEN RAISE EXCEPTION 'filled % rows', filled; END IF;
END
$fill$
"""

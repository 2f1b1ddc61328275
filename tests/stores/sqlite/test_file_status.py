"""`ports.file_status` and what stands for it in SQL, over all rows that the table can hold."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing

from tuspy_server.model import Processing, UploadStatus
from tuspy_server.ports import file_status
from tuspy_server.stores.sqlite.rows import FILE_STATUS, upload_of
from tuspy_server.stores.sqlite.schema import migrate

NOW = 1000


def test_both_say_the_same_of_every_row() -> None:
    compared = 0
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        migrate(connection)
        combinations = itertools.product(
            UploadStatus, [None, *Processing], [0, 4, 10], [None, 0, 4, 10], [None, "w"], [None, NOW - 1, NOW, NOW + 1]
        )
        for number, (status, processing, offset, length, writer, expires_at) in enumerate(combinations):
            values = (str(number), status, processing, offset, length, writer, expires_at)
            try:
                connection.execute(
                    "INSERT INTO uploads (id, status, processing, upload_offset, upload_length, writer, expires_at,"
                    " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
                    values,
                )
            except sqlite3.IntegrityError:
                continue  # a row that there cannot be
        text = f"SELECT *, {FILE_STATUS} AS file_status FROM uploads"
        for row in connection.execute(text, {"now": NOW}):
            assert row["file_status"] == file_status(upload_of(row, NOW)), dict(row)
            compared += 1
    assert compared > 1000

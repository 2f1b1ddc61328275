"""Whether the file is whole, and whether its rows and the files of uploads say the same (fault D09)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tuspy_server.model import UPLOAD_ID

MOST_DAMAGES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was found.

    Attributes:
        damage: what SQLite says of its pages, at most `MOST_DAMAGES` of it; all below is empty then.
        uploads: rows of uploads.
        short: uploads that count bytes which are not there: the files are older, or were lost.
        unknown: files that no row knows: the database is older.
        ahead: unfinished uploads whose file goes on past what the row counts, as after a crash, or where the database
            is older.
        whole: those of `ahead` whose file has the whole length.
    """

    damage: Sequence[str] = ()
    uploads: int = 0
    short: Sequence[str] = ()
    unknown: Sequence[str] = ()
    ahead: Sequence[str] = ()
    whole: Sequence[str] = ()


def damage_of(connection: sqlite3.Connection, *, quick: bool) -> Sequence[str]:
    """What SQLite says of the pages. Blocks for as long as it takes to read them; `quick`: without the indexes, for
    while it is read, the log of a running server grows."""
    try:
        check = "quick_check" if quick else "integrity_check"
        said = [str(row[0]) for row in connection.execute(f"PRAGMA {check}({MOST_DAMAGES})")]
    except sqlite3.DatabaseError as error:
        said = [str(error)]
    return [] if said == ["ok"] else said[:MOST_DAMAGES]


def look_through(connection: sqlite3.Connection, folder: Path) -> Audit:
    """Read all of the database, and the size of each file in `folder`. Blocks for as long as that takes."""
    damage = damage_of(connection, quick=False)
    if damage:
        return Audit(damage=damage)
    sizes = _sizes(folder)
    short, ahead, whole = [], [], []
    uploads = 0
    for upload_id, status, offset, length in connection.execute(
        "SELECT id, status, upload_offset, upload_length FROM uploads"
    ):
        uploads += 1
        size = sizes.pop(upload_id, 0)
        if status in ("uploading", "completing", "finished") and size < offset:
            short.append(upload_id)
        elif status == "uploading" and size > offset:
            ahead.append(upload_id)
            if size == length:
                whole.append(upload_id)
    return Audit(uploads=uploads, short=short, unknown=sorted(sizes), ahead=ahead, whole=whole)


def _sizes(folder: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if UPLOAD_ID.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):  # it has gone since
                    sizes[entry.name] = entry.stat().st_size
    return sizes

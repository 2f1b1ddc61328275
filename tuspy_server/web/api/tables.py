"""Answers as CSV, for spreadsheets: which take a cell that begins like a formula for one."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from tuspy_server.web.api.models import StatsShown, UploadShown

CONTENT_TYPE: Final = "text/csv; charset=utf-8; header=present"

UPLOAD_COLUMNS: Final = (
    "id",
    "jobId",
    "number",
    "name",
    "type",
    "status",
    "offset",
    "length",
    "createdAt",
    "expiresAt",
    "endedAt",
    "url",
)

_FORMULA: Final = ("=", "+", "-", "@", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Wide forms too: some spreadsheets take them for the narrow ones."""

_WITHIN: Final = re.compile(f'([;\t\r\n][\\s"]*+)([{re.escape("".join(_FORMULA))}]?)')
"""Where a cell begins for those who separate by semicolons, as half of Europe's spreadsheets do: they know no quotes
inside of a cell."""


def uploads_table(uploads: Iterable[UploadShown]) -> bytes:
    """One row an upload."""
    return _table(UPLOAD_COLUMNS, (upload.model_dump(by_alias=True) for upload in uploads))


def stats_table(stats: StatsShown) -> bytes:
    """One row a figure: `measure,value`."""
    rows: list[dict[str, object]] = []
    for name, value in stats.model_dump(by_alias=True).items():
        if isinstance(value, Mapping):
            rows += [{"measure": f"{name}.{inner}", "value": figure} for inner, figure in value.items()]
        else:
            rows.append({"measure": name, "value": value})
    return _table(("measure", "value"), rows)


def _table(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> bytes:
    text = io.StringIO()
    # RFC 4180: CRLF ends a line.
    writer = csv.writer(text, lineterminator="\r\n", quoting=csv.QUOTE_MINIMAL)
    writer.writerow(columns)
    for row in rows:
        writer.writerow(_cell(row[column]) for column in columns)
    return text.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if not isinstance(value, str):
        return "" if value is None else value
    text = value.replace("\0", "")
    text = _WITHIN.sub(lambda match: f"{match[1]}'{match[2]}" if match[2] else match[1], text)
    begins_badly = text[:1] in ("\t", "\r", "\n") or text.lstrip().startswith(_FORMULA)
    return f"'{text}" if begins_badly else text

"""What a request says, read without guesses; and cells that no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.uploads.bodies import ScriptedBody
from tuspy_server.ports import FileStatus
from tuspy_server.protocol.errors import InvalidParameter, InvalidRequest
from tuspy_server.protocol.fields import RequestHead
from tuspy_server.web.api.answering import wanted_format
from tuspy_server.web.api.models import FilesAsked, UploadShown
from tuspy_server.web.api.reading import BodyReader, before, cursor_of, instant, query_of, whole
from tuspy_server.web.api.tables import UPLOAD_COLUMNS, uploads_table

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@given(
    time=st.integers(0, 4 * 10**15).map(lambda microseconds: EPOCH + timedelta(microseconds=microseconds)),
    of_id=st.text("abcXYZ019_-", min_size=1, max_size=64),
)
def test_a_page_goes_on_where_it_ended(time: datetime, of_id: str) -> None:
    assert before({"before": cursor_of(time, of_id)}) == (time, of_id)


@pytest.mark.parametrize("text", ["", "x", "!!!", "MTIz", "MX4", "fn4", "é", "OTk5OTk5OTk5OTk5OTk5OTl-YQ", "A" * 99])
def test_what_no_answer_has_given_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidParameter):
        before({"before": text})


@given(text=st.text(max_size=30))
def test_no_cursor_crashes(text: str) -> None:
    with suppress(InvalidParameter):
        before({"before": text})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05.678901Z", NOW),
        ("2026-01-02T03:04:05.678901+00:00", NOW),
        ("2026-01-02T03:04:05.678901 00:00", NOW),
        ("2026-01-02T05:04:05.678901+02:00", NOW),
    ],
)
def test_instants(text: str, expected: datetime) -> None:
    assert instant({"from": text}, "from") == expected


async def test_a_million_of_nothings_is_not_decoded() -> None:
    """R08: that would hold up everybody else."""
    reader = BodyReader(most_files=10_000, idle_seconds=20)
    head = RequestHead("POST", {"content-type": ("application/json",)})
    for nothing in (b"{}", b"[]", b'{"a":[]}'):
        body = b'{"files":[' + b",".join([nothing] * 160_001) + b"]}"
        with pytest.raises(InvalidRequest):
            await reader.read(head, ScriptedBody.whole(body), FilesAsked)
    names = b",".join([b'{"name":"{8f5c}","metadata":{"a":"[b]"}}'] * 10_000)
    asked, _ = await reader.read(head, ScriptedBody.whole(b'{"files":[' + names + b"]}"), FilesAsked)
    assert len(asked.files) == 10_000


@pytest.mark.parametrize("text", ["", "now", "2026-01-02", "2026-01-02T03:04:05", "0001-01-01T00:00:00+23", "\u0661"])
def test_no_instants(text: str) -> None:
    with pytest.raises(InvalidParameter):
        instant({"from": text}, "from")


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "1e3", "\u0663", "11", "99999999999999999999", " 1", "0x1"])
def test_no_whole_numbers(text: str) -> None:
    with pytest.raises(InvalidParameter):
        whole({"limit": text}, "limit", 5, 10, least=0)


def test_whole_numbers() -> None:
    assert (whole({}, "limit", 5, 10), whole({"limit": "007"}, "limit", 5, 10)) == (5, 7)


@pytest.mark.parametrize("query", [b"limit=1&limit=1", b"limit=1&limit=2", b"what=1", b"%00=1", b"Limit=1"])
def test_a_query_is_not_guessed_at(query: bytes) -> None:
    with pytest.raises(InvalidParameter):
        query_of({"query_string": query}, frozenset({"limit"}))


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "json"),
        ("*/*", "json"),
        ("text/csv", "csv"),
        ("text/csv, */*", "csv"),
        ("TEXT/CSV;header=present", "csv"),
        ("application/json, text/csv;q=0.5", "json"),
        ("application/json;q=0.5, text/csv", "csv"),
        ("text/csv;q=0", "json"),
        ("text/csv;q=x", "json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "json"),
    ],
)
def test_which_format(accept: str | None, expected: str) -> None:
    head = RequestHead("GET", {} if accept is None else {"accept": (accept,)})
    assert wanted_format(head, {}) == expected
    assert wanted_format(head, {"format": "csv"}) == "csv"
    with pytest.raises(InvalidParameter):
        wanted_format(head, {"format": "xml"})


def shown(name: str) -> UploadShown:
    return UploadShown(
        id="u",
        url="/files/u",
        job_id=None,
        number=None,
        name=name,
        type="-2+3",
        metadata={},
        status=FileStatus.QUEUED,
        offset=0,
        length=-1,
        created_at=NOW,
        expires_at=NOW + timedelta(days=1),
        ended_at=None,
    )


@given(name=st.text(st.sampled_from(";,\"'=+\t\r\n ") | st.characters(exclude_categories=["Cs"])))
def test_no_cell_is_a_formula(name: str) -> None:
    """Names come from clients, and tables are opened in spreadsheets."""
    text = uploads_table([shown(name)]).decode()
    head, row = csv.reader(io.StringIO(text, newline=""))
    assert tuple(head) == UPLOAD_COLUMNS
    cells = dict(zip(head, row, strict=True))
    assert cells["name"].replace("'", "") == name.replace("\0", "").replace("'", "")
    for separator in ",;\t":
        for found in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            formulas = [cell for cell in found if cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d"))]
            assert formulas == (["-1"] if separator == "," and "-1" in found else [])
    assert (cells["type"], cells["length"], cells["jobId"]) == ("'-2+3", "-1", "")
    assert cells["createdAt"] == "2026-01-02T03:04:05.678901Z"

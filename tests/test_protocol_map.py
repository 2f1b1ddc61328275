"""Every requirement has a place in the code and a test that shows it, or a reason; and the page says so."""

from __future__ import annotations

import pytest

from tests.protocol_map import PAGE, ROOT, citations, hand_written, page, requirements

ROWS = [row["id"] for row in requirements()]
MAP = hand_written()
TESTS = citations()
OFFERED = [row for row in ROWS if not row.startswith(("CONC-", "TRLR-"))]


def test_the_page_is_current() -> None:
    """`python -m tests.protocol_map` has been run since a test, a row or a reason changed."""
    assert PAGE.read_text("utf-8") == page()


@pytest.mark.parametrize("row", ROWS)
def test_each_requirement_is_obeyed_or_decided(row: str) -> None:
    assert row in MAP.obeyed_in or row in MAP.decided


@pytest.mark.parametrize("row", OFFERED)
def test_each_requirement_of_what_is_offered_is_shown(row: str) -> None:
    """By a test of ours; the conformance case is a second opinion."""
    ours = [link for link in TESTS.get(row, []) if not link.startswith("[conformance")]
    assert ours or row in MAP.decided


def test_no_test_cites_a_row_that_does_not_exist() -> None:
    ours = {row for row, links in TESTS.items() if any(not link.startswith("[conformance") for link in links)}
    assert ours <= set(ROWS)


def test_files_that_obey_exist() -> None:
    files = {file for files in MAP.obeyed_in.values() for file in files.split()}
    assert [file for file in files if not (ROOT / "tuspy_server" / file).is_file()] == []

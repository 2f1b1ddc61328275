"""`protocol/fields.py`: the head as text, and readers that take nothing but what the specification writes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.samples import FIELD_TEXT, NOT_INTEGERS, head, outcome
from tuspy_server.protocol.errors import HeadersTooLarge, InvalidHeader, TusError
from tuspy_server.protocol.fields import MAX_INTEGER, RequestHead, http_date


@pytest.mark.parametrize("name", ["tus-resumable", "TUS-RESUMABLE", "Tus-Resumable"])
@pytest.mark.parametrize("value", ["1.0.0", "  1.0.0", "1.0.0\t ", "\t1.0.0\t"])
def test_names_ignore_case_and_whitespace_around_a_value_is_not_part_of_it(name: str, value: str) -> None:
    """CORE-VER-07."""
    assert head("POST", {name: value}).one("Tus-Resumable") == "1.0.0"


def test_a_field_that_was_not_sent_is_none() -> None:
    assert head().one("Upload-Offset") is None
    assert head().integer("Upload-Offset") is None
    assert head().media_type() is None


def test_two_lines_that_agree_are_one() -> None:
    lines = [(b"Upload-Offset", b"5"), (b"upload-offset", b" 5")]
    assert RequestHead.from_raw("PATCH", lines, 1000).integer("Upload-Offset") == 5


@pytest.mark.parametrize("name", ["Upload-Offset", "Upload-Length", "Tus-Resumable", "Upload-Checksum"])
def test_two_lines_that_differ_are_neither_the_first_nor_the_last(name: str) -> None:
    """CORE-PATCH-09."""
    lines = [(name.encode(), b"5"), (name.lower().encode(), b"6")]
    with pytest.raises(InvalidHeader, match=rf"^{name}: sent twice"):
        RequestHead.from_raw("PATCH", lines, 1000).one(name)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("5", 5), ("007", 7), (str(2**53 + 1), 2**53 + 1), (str(2**63 - 1), MAX_INTEGER)],
)
def test_integers_are_read_exactly(text: str, value: int) -> None:
    """CREA-POST-09: no detour through floating point."""
    assert head(Upload_Length=text).integer("Upload-Length") == value


@pytest.mark.parametrize("text", NOT_INTEGERS, ids=ascii)
def test_nothing_else_is_an_integer(text: str) -> None:
    """CORE-PATCH-07, CORE-PATCH-08, CREA-POST-06."""
    request = RequestHead("PATCH", {"upload-offset": (text,)})
    with pytest.raises(InvalidHeader) as caught:
        request.integer("Upload-Offset")
    assert caught.value.status == 400


@given(st.text(max_size=40) | st.integers().map(str) | st.from_regex(r"[+_ 0-9.eE-]{1,40}", fullmatch=True))
def test_any_text_is_an_integer_in_digits_or_a_400_that_does_not_repeat_it(text: str) -> None:
    """CORE-PATCH-08, I11, X19."""
    request = RequestHead("PATCH", {"upload-offset": (text,)})
    value = outcome(request.integer, "Upload-Offset")
    if isinstance(value, TusError):
        assert str(value) == "Upload-Offset: must be a non-negative integer below 2^63, in digits"
    else:
        assert value is not None
        assert 0 <= value <= MAX_INTEGER
        assert text.isascii()
        assert text.isdigit()
        assert text.lstrip("0") == str(value).lstrip("0")


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("application/offset+octet-stream", "application/offset+octet-stream"),
        ("Application/Offset+Octet-Stream", "application/offset+octet-stream"),
        ("application/offset+octet-stream; charset=utf-8", "application/offset+octet-stream"),
        ("application/offset+octet-stream ;x", "application/offset+octet-stream"),
        ("application/offset+octet-stream\xa0", "application/offset+octet-stream\xa0"),
        ("text/plain", "text/plain"),
        ("", ""),
    ],
)
def test_media_types_ignore_case_and_parameters(sent: str, read: str) -> None:
    """CORE-PATCH-04."""
    assert head(Content_Type=sent).media_type() == read


@pytest.mark.parametrize(
    ("lines", "body_bytes"),
    [
        ({}, 0),
        ({"Content-Length": "0"}, 0),
        ({"Content-Length": "5"}, 5),
        ({"Transfer-Encoding": "chunked"}, None),
        ({"Transfer-Encoding": "chunked", "Content-Length": "5"}, None),
    ],
)
def test_the_length_of_a_body_is_what_its_framing_says(lines: dict[str, str], body_bytes: int | None) -> None:
    """CORE-PATCH-14, CORE-PATCH-30."""
    assert head("POST", lines).body_bytes == body_bytes


def test_headers_up_to_the_limit_are_read() -> None:
    lines = [(b"ab", b"cd"), (b"ef", b"gh")]
    assert RequestHead.from_raw("POST", lines, 8).one("ef") == "gh"
    with pytest.raises(HeadersTooLarge, match=r"^the request's headers pass 7 bytes$"):
        RequestHead.from_raw("POST", lines, 7)


def test_a_head_of_many_short_lines_is_read_in_linear_time() -> None:
    """I10: in quadratic time, one such request would hold the event loop for seconds."""
    assert len(RequestHead.from_raw("POST", [(b"a", b"")] * 200_000, 200_000).fields["a"]) == 200_000


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=40)), max_size=8), st.integers(0, 400))
def test_any_bytes_are_a_head_or_a_431(lines: list[tuple[bytes, bytes]], limit: int) -> None:
    """I11."""
    size = sum(len(name) + len(value) for name, value in lines)
    request = outcome(RequestHead.from_raw, "POST", lines, limit)
    if isinstance(request, TusError):
        assert isinstance(request, HeadersTooLarge)
        assert size > limit
    else:
        assert size <= limit
        assert sum(len(values) for values in request.fields.values()) == len(lines)


@given(FIELD_TEXT, FIELD_TEXT)
def test_a_message_about_two_lines_repeats_neither(one: str, other: str) -> None:
    """X19."""
    request = RequestHead("POST", {"upload-length": (one, other)})
    value = outcome(request.one, "Upload-Length")
    if isinstance(value, TusError):
        assert str(value) == "Upload-Length: sent twice with different values"
    else:
        assert value == one == other


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC), "Sun, 06 Nov 1994 08:49:37 GMT"),
        (datetime(1994, 11, 6, 8, 49, 37, 999_999, tzinfo=UTC), "Sun, 06 Nov 1994 08:49:37 GMT"),
        (datetime(1994, 11, 6, 10, 49, 37, tzinfo=timezone(timedelta(hours=2))), "Sun, 06 Nov 1994 08:49:37 GMT"),
    ],
)
def test_dates_are_imf_fixdates_and_never_rounded_up(instant: datetime, text: str) -> None:
    """EXP-03."""
    assert http_date(instant) == text

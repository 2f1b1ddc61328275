"""`protocol/creation.py`: what a POST asks for, and the headers of 201."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.samples import FIELD_TEXT, NOT_INTEGERS, finished, head, outcome, policy, upload
from tuspy_server.protocol.checksum import Checksum
from tuspy_server.protocol.core import BODY_TYPE, Append
from tuspy_server.protocol.creation import Create, creation_headers, decide_create
from tuspy_server.protocol.errors import (
    FixRequest,
    HeadersTooLarge,
    InvalidHeader,
    InvalidMetadata,
    TusError,
    UploadTooLarge,
    WrongContentType,
)

SHA1_TEXT = f"sha1 {base64.b64encode(bytes(20)).decode()}"


def a_create(**changes: Any) -> Create:
    sound: dict[str, Any] = {
        "upload_length": 100,
        "upload_metadata": None,
        "carries_body": False,
        "most_bytes": 100,
        "checksum": None,
    }
    return Create(**(sound | changes))


@pytest.mark.parametrize(
    ("lines", "create"),
    [
        pytest.param({"Upload_Length": "100"}, a_create(), id="CREA-POST-02"),
        pytest.param({"Upload_Length": "0"}, a_create(upload_length=0, most_bytes=0), id="CREA-POST-04"),
        pytest.param(
            {"Upload_Length": "1000"}, a_create(upload_length=1000, most_bytes=1000), id="CREA-POST-08 the limit itself"
        ),
        pytest.param(
            {"Upload_Length": "100", "Upload_Metadata": "b Yg==,a YQ=="},
            a_create(upload_metadata="b Yg==,a YQ=="),
            id="CREA-META-01",
        ),
        pytest.param(
            {"Upload_Length": "100", "Content_Type": BODY_TYPE, "Content_Length": "5"},
            a_create(carries_body=True),
            id="CWU-02",
        ),
        pytest.param(
            {"Upload_Length": "100", "Content_Type": BODY_TYPE}, a_create(carries_body=True), id="CWU-02 empty"
        ),
        pytest.param(
            {"Upload_Length": "100", "Content_Type": BODY_TYPE, "Transfer_Encoding": "chunked"},
            a_create(carries_body=True),
            id="CWU-02 chunked",
        ),
        pytest.param(
            {"Upload_Length": "100", "Content_Type": "application/json", "Content_Length": "0"},
            a_create(),
            id="CREA-POST-10 another type without a body does no harm",
        ),
        pytest.param({"Upload_Defer_Length": "1"}, a_create(upload_length=None, most_bytes=1000), id="DEFER-01"),
        pytest.param(
            {"Upload_Defer_Length": "1", "Content_Type": BODY_TYPE, "Content_Length": "5"},
            a_create(upload_length=None, most_bytes=1000, carries_body=True),
            id="CWU-07",
        ),
        pytest.param(
            {"Upload_Length": "100", "Content_Type": BODY_TYPE, "Content_Length": "5", "Upload_Checksum": SHA1_TEXT},
            a_create(carries_body=True, most_bytes=50, checksum=Checksum("sha1", bytes(20))),
            id="CWU-09",
        ),
    ],
)
def test_a_post_asks_for_an_upload(lines: dict[str, str], create: Create) -> None:
    assert decide_create(head(**lines), policy(tus_max_size=1000, checksum_max_bytes=50)) == create


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param({}, "Upload-Length: exactly one of", id="CREA-POST-05"),
        pytest.param(
            {"Upload_Length": "5", "Upload_Defer_Length": "1"}, "Upload-Length: exactly one of", id="DEFER-10"
        ),
        pytest.param({"Upload_Defer_Length": "2"}, "Upload-Defer-Length: must be 1", id="DEFER-09 2"),
        pytest.param({"Upload_Defer_Length": "true"}, "Upload-Defer-Length: must be 1", id="DEFER-09 true"),
        pytest.param({"Upload_Defer_Length": "0"}, "Upload-Defer-Length: must be 1", id="DEFER-09 0"),
        pytest.param({"Upload_Defer_Length": ""}, "Upload-Defer-Length: must be 1", id="DEFER-09 empty"),
        pytest.param({"Upload_Length": "5", "Upload_Concat": "partial"}, "Upload-Concat: concat", id="CORE-EXT-01"),
        pytest.param({"Upload_Concat": "final;/a /b"}, "Upload-Concat: concatenation is", id="CORE-EXT-01 final"),
    ],
)
def test_a_contradiction_is_400(lines: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidHeader, match=rf"^{message}") as caught:
        decide_create(head(**lines), policy())
    assert caught.value.status == 400


@pytest.mark.parametrize("text", [text for text in NOT_INTEGERS if text.isascii()] + ["+10", "1_000"], ids=ascii)
def test_a_length_that_is_none_is_400(text: str) -> None:
    """CREA-POST-06, CREA-POST-09, R03."""
    with pytest.raises(InvalidHeader, match=r"^Upload-Length: must be"):
        decide_create(head(Upload_Length=text), policy())


@pytest.mark.parametrize("raw", ["a YQ==,a Yg==", "a !", ","])
def test_bad_metadata_is_400(raw: str) -> None:
    """CREA-META-03, CREA-META-04."""
    with pytest.raises(InvalidMetadata):
        decide_create(head(Upload_Length="5", Upload_Metadata=raw), policy())


def test_more_metadata_than_the_limit_is_431() -> None:
    """CREA-META-09."""
    with pytest.raises(HeadersTooLarge):
        decide_create(head(Upload_Length="5", Upload_Metadata="a YQ=="), policy(max_metadata_bytes=5))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param({"Upload_Length": "1001"}, "the upload is larger than Tus-Max-Size", id="CREA-POST-07"),
        pytest.param(
            {"Upload_Length": "5", "Content_Type": BODY_TYPE, "Content_Length": "6"},
            "the body passes the length of the upload",
            id="CWU-05",
        ),
        pytest.param(
            {"Upload_Defer_Length": "1", "Content_Type": BODY_TYPE, "Content_Length": "1001"},
            "the body passes the length of the upload",
            id="DEFER-07",
        ),
        pytest.param(
            {"Upload_Length": "99", "Content_Type": BODY_TYPE, "Content_Length": "51", "Upload_Checksum": SHA1_TEXT},
            "a body with Upload-Checksum may have 50 bytes",
            id="checksum",
        ),
    ],
)
def test_too_much_is_413(lines: dict[str, str], message: str) -> None:
    with pytest.raises(UploadTooLarge, match=rf"^{message}$") as caught:
        decide_create(head(**lines), policy(tus_max_size=1000, checksum_max_bytes=50))
    assert caught.value.status == 413


def test_without_a_limit_the_largest_length_is_what_64_bits_hold() -> None:
    """CREA-POST-09."""
    assert decide_create(head(Upload_Length=str(2**63 - 1)), policy()).upload_length == 2**63 - 1


@pytest.mark.parametrize(
    "lines",
    [
        {"Content_Type": "application/json", "Content_Length": "2"},
        {"Content_Length": "2"},
        {"Transfer_Encoding": "chunked"},
        {"Content_Type": "multipart/form-data; boundary=x", "Content_Length": "2"},
    ],
)
def test_a_body_of_another_type_is_refused_and_not_silently_dropped(lines: dict[str, str]) -> None:
    """CREA-POST-10, CWU-04, X21."""
    with pytest.raises(WrongContentType):
        decide_create(head(Upload_Length="100", **lines), policy())


def test_the_body_goes_to_the_start_of_the_upload() -> None:
    """CWU-02."""
    create = decide_create(head(Upload_Length="9", Content_Type=BODY_TYPE, Content_Length="5"), policy())
    assert create.append_of(None) == Append(
        upload_offset=0, upload_length=9, most_bytes=9, declares_length=False, checksum=None
    )


EXPIRES = ("Upload-Expires", "Thu, 05 Mar 2026 13:00:00 GMT")


def test_201_names_the_upload_and_its_expiry() -> None:
    """CREA-POST-02, EXP-02."""
    assert creation_headers("/files/x", upload(), a_create()) == (("Location", "/files/x"), EXPIRES)
    assert creation_headers("/files/x", finished(), a_create()) == (("Location", "/files/x"),)


@pytest.mark.parametrize("offset", [0, 5])
def test_201_of_a_creation_with_upload_tells_the_offset(offset: int) -> None:
    """CWU-02: 0 too, without which tus-js-client fails."""
    headers = creation_headers("/files/x", upload(upload_offset=offset), a_create(carries_body=True))
    assert headers == (("Location", "/files/x"), ("Upload-Offset", str(offset)), EXPIRES)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Concat", "Upload-Checksum",
                "Content-Type", "Content-Length", "Transfer-Encoding",
            ]
        ),
        FIELD_TEXT | st.sampled_from(["0", "1", "5", BODY_TYPE, SHA1_TEXT, "a YQ=="]),
    )
)  # fmt: skip
def test_any_head_ends_in_an_upload_within_the_limits_or_a_4xx(fields: dict[str, str]) -> None:
    """I11."""
    create = outcome(decide_create, head("POST", fields), policy(tus_max_size=1000))
    if isinstance(create, TusError):
        assert isinstance(create, FixRequest)
        assert 400 <= create.status < 500
    else:
        assert create.upload_length is None or 0 <= create.upload_length <= 1000
        assert create.most_bytes <= 1000

"""`protocol/core.py`: reading a PATCH's head, and deciding where its body goes."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.samples import (
    FIELD_TEXT,
    GONE_UPLOADS,
    NOT_INTEGERS,
    finished,
    head,
    outcome,
    patch_head,
    policy,
    upload,
)
from tuspy_server.model import Upload, UploadStatus
from tuspy_server.protocol.checksum import Checksum, parse_checksum
from tuspy_server.protocol.core import BODY_TYPE, Acknowledge, Append, Patch, decide_patch, parse_patch
from tuspy_server.protocol.errors import (
    ChecksumMismatch,
    FixRequest,
    InvalidHeader,
    OffsetMismatch,
    TusError,
    UploadBusy,
    UploadGone,
    UploadTooLarge,
    WrongContentType,
)

SHA1 = Checksum("sha1", bytes(20))
SHA1_TEXT = f"sha1 {base64.b64encode(bytes(20)).decode()}"


def a_patch(upload_offset: int = 5, body_bytes: int | None = 5, declared_length: int | None = None) -> Patch:
    return Patch(upload_offset=upload_offset, body_bytes=body_bytes, declared_length=declared_length, checksum=None)


@pytest.mark.parametrize(
    ("lines", "patch"),
    [
        ({}, Patch(upload_offset=0, body_bytes=5, declared_length=None, checksum=None)),
        (
            {"Upload_Length": "5", "Upload_Offset": "3", "Content_Length": "2", "Upload_Checksum": SHA1_TEXT},
            Patch(upload_offset=3, body_bytes=2, declared_length=5, checksum=SHA1),
        ),
        (
            {"Content_Length": "", "Transfer_Encoding": "chunked"},
            Patch(upload_offset=0, body_bytes=None, declared_length=None, checksum=None),
        ),
    ],
)
def test_a_head_is_read_whole(lines: dict[str, str], patch: Patch) -> None:
    """CORE-PATCH-01, CORE-PATCH-14, DEFER-03, CSUM-02."""
    assert parse_patch(patch_head(**lines), policy()) == patch


@pytest.mark.parametrize(
    "content_type", ["application/octet-stream", "", "text/plain", "multipart/form-data; boundary=x"]
)
def test_another_content_type_is_415(content_type: str) -> None:
    """CORE-PATCH-03, X21."""
    with pytest.raises(WrongContentType) as caught:
        parse_patch(patch_head(Content_Type=content_type), policy())
    assert caught.value.status == 415


def test_no_offset_is_400() -> None:
    """CORE-PATCH-06."""
    with pytest.raises(InvalidHeader, match=r"^Upload-Offset: is required$"):
        parse_patch(patch_head(Upload_Offset=""), policy())


@pytest.mark.parametrize("name", ["Upload-Offset", "Upload-Length", "Content-Length"])
@pytest.mark.parametrize("text", [text for text in NOT_INTEGERS if text.isascii()], ids=ascii)
def test_a_number_that_is_none_is_400(name: str, text: str) -> None:
    """CORE-PATCH-07, CORE-PATCH-08."""
    sound = {"Content-Type": BODY_TYPE, "Upload-Offset": "0"}
    with pytest.raises(InvalidHeader, match=rf"^{name}: must be a non-negative integer"):
        parse_patch(head("PATCH", sound | {name: text}), policy())


@pytest.mark.parametrize(
    "lines",
    [
        {"Upload_Length": "101"},
        {"Content_Length": "101"},
        {"Upload_Offset": "96"},
    ],
)
def test_more_than_tus_max_size_is_413(lines: dict[str, str]) -> None:
    """DEFER-07."""
    with pytest.raises(UploadTooLarge, match=r"^the upload is larger than Tus-Max-Size$"):
        parse_patch(patch_head(**lines), policy(tus_max_size=100))


def test_exactly_tus_max_size_is_allowed() -> None:
    lines = {"Upload_Length": "100", "Upload_Offset": "95"}
    assert parse_patch(patch_head(**lines), policy(tus_max_size=100)).declared_length == 100


def test_an_offset_past_tus_max_size_is_left_to_the_409_that_it_deserves() -> None:
    """CORE-PATCH-02: no upload can be there, so it differs from the offset of each."""
    rules = policy(tus_max_size=100)
    with pytest.raises(OffsetMismatch):
        decide_patch(parse_patch(patch_head(Upload_Offset="101"), rules), upload(), rules)


def test_a_body_with_a_checksum_has_a_limit_of_its_own() -> None:
    rules = policy(checksum_max_bytes=4)
    with pytest.raises(UploadTooLarge, match=r"^a body with Upload-Checksum may have 4 bytes$"):
        parse_patch(patch_head(Upload_Checksum=SHA1_TEXT), rules)
    chunked = patch_head(Upload_Checksum=SHA1_TEXT, Content_Length="", Transfer_Encoding="chunked")
    decision = decide_patch(parse_patch(chunked, rules), upload(upload_offset=0), rules)
    assert isinstance(decision, Append)
    assert decision.most_bytes == 4


@pytest.mark.parametrize(
    ("patch", "before", "upload_length", "most_bytes", "declares_length"),
    [
        pytest.param(a_patch(), upload(), 10, 5, False, id="CORE-PATCH-01"),
        pytest.param(a_patch(body_bytes=0), upload(), 10, 5, False, id="CORE-PATCH-10"),
        pytest.param(a_patch(body_bytes=None), upload(), 10, 5, False, id="CORE-PATCH-14 CORE-PATCH-13"),
        pytest.param(a_patch(), upload(writer="other"), 10, 5, False, id="CORE-PATCH-24 the newest request wins"),
        pytest.param(a_patch(), upload(upload_length=None), None, 95, False, id="DEFER-02"),
        pytest.param(a_patch(declared_length=20), upload(upload_length=None), 20, 15, True, id="DEFER-03"),
        pytest.param(a_patch(declared_length=10), upload(), 10, 5, False, id="DEFER-05"),
        pytest.param(a_patch(5, 0, 5), upload(upload_length=None), 5, 0, True, id="DEFER-08"),
    ],
)
def test_a_body_goes_where_the_upload_ends(
    patch: Patch, before: Upload, upload_length: int | None, most_bytes: int, declares_length: bool
) -> None:
    assert decide_patch(patch, before, policy(tus_max_size=100)) == Append(
        upload_offset=5,
        upload_length=upload_length,
        most_bytes=most_bytes,
        declares_length=declares_length,
        checksum=None,
    )


@pytest.mark.parametrize("offset", [4, 6, 0])
def test_another_offset_is_409_with_the_true_one(offset: int) -> None:
    """CORE-PATCH-02, CORE-PATCH-25."""
    with pytest.raises(OffsetMismatch) as caught:
        decide_patch(a_patch(offset), upload(), policy())
    assert (caught.value.status, caught.value.headers()) == (409, (("Upload-Offset", "5"),))


def test_another_offset_is_423_while_a_writer_may_move_it() -> None:
    """CORE-PATCH-24: some clients never retry 409; 423 sends them to HEAD."""
    with pytest.raises(UploadBusy):
        decide_patch(a_patch(4), upload(writer="other"), policy())


@pytest.mark.parametrize("gone", GONE_UPLOADS, ids=lambda gone: gone.status)
def test_what_is_gone_takes_no_bytes(gone: Upload) -> None:
    """EXP-05, EXP-06, TERM-02."""
    with pytest.raises(UploadGone):
        decide_patch(a_patch(), gone, policy())


def test_an_upload_being_finished_takes_no_bytes() -> None:
    with pytest.raises(UploadBusy):
        decide_patch(a_patch(), upload(status=UploadStatus.COMPLETING), policy())


@pytest.mark.parametrize(
    ("patch", "before", "error", "status"),
    [
        pytest.param(a_patch(body_bytes=6), upload(), UploadTooLarge, 413, id="CORE-PATCH-12"),
        pytest.param(a_patch(declared_length=11), upload(), InvalidHeader, 400, id="DEFER-04"),
        pytest.param(a_patch(declared_length=9), upload(), InvalidHeader, 400, id="DEFER-04 smaller"),
        pytest.param(a_patch(declared_length=4), upload(upload_length=None), InvalidHeader, 400, id="DEFER-06 below"),
        pytest.param(a_patch(declared_length=9), upload(upload_length=None), UploadTooLarge, 413, id="DEFER-06 body"),
        pytest.param(a_patch(4, 1, 9), upload(upload_length=None), OffsetMismatch, 409, id="DEFER-06 409"),
        pytest.param(a_patch(10, 1), finished(), UploadTooLarge, 413, id="CORE-PATCH-11 a byte"),
        pytest.param(a_patch(10, None), finished(), UploadTooLarge, 413, id="CORE-PATCH-11 chunked"),
        pytest.param(
            replace(a_patch(10, 0), checksum=parse_checksum("crc32 AAAAAQ==")),
            finished(),
            ChecksumMismatch,
            460,
            id="CORE-PATCH-11 another checksum",
        ),
        pytest.param(a_patch(9, 0), finished(), OffsetMismatch, 409, id="CORE-PATCH-11 another offset"),
    ],
)
def test_a_body_that_does_not_fit_is_refused(patch: Patch, before: Upload, error: type[TusError], status: int) -> None:
    with pytest.raises(error) as caught:
        decide_patch(patch, before, policy())
    assert caught.value.status == status


@pytest.mark.parametrize("declared_length", [None, 10])
def test_an_empty_patch_at_the_end_is_acknowledged(declared_length: int | None) -> None:
    """CORE-PATCH-11: and nothing finishes twice."""
    for checksum in (None, parse_checksum("crc32 AAAAAA==")):
        patch = replace(a_patch(10, 0, declared_length), checksum=checksum)
        assert decide_patch(patch, finished(), policy()) == Acknowledge(upload=finished())


NUMBERS = FIELD_TEXT | st.integers(-(2**64), 2**64).map(str)


@given(
    st.fixed_dictionaries(
        {"Content_Type": st.just(BODY_TYPE) | FIELD_TEXT},
        optional={
            "Upload_Offset": NUMBERS,
            "Upload_Length": NUMBERS,
            "Content_Length": NUMBERS,
            "Transfer_Encoding": st.just("chunked"),
            "Upload_Checksum": FIELD_TEXT | st.just(SHA1_TEXT),
        },
    ),
    st.sampled_from([upload(), upload(upload_length=None), finished(), upload(status=UploadStatus.COMPLETING)]),
)
def test_any_head_ends_in_a_decision_within_the_length_or_a_4xx(lines: dict[str, str], before: Upload) -> None:
    """I3, I11."""
    rules = policy(tus_max_size=1000)
    patch = outcome(parse_patch, head("PATCH", **lines), rules)
    decision = patch if isinstance(patch, TusError) else outcome(decide_patch, patch, before, rules)
    match decision:
        case TusError():
            assert 400 <= decision.status < 500
            assert isinstance(decision, FixRequest | OffsetMismatch | UploadBusy)
        case Append():
            assert decision.upload_offset == before.upload_offset
            assert before.upload_offset + decision.most_bytes <= (decision.upload_length or 1000)
        case Acknowledge():
            assert before.status is UploadStatus.FINISHED

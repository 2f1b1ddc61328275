"""`protocol/metadata.py`: what is refused, and that what is taken comes back byte for byte."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.samples import FIELD_TEXT, outcome
from tuspy_server.protocol.errors import HeadersTooLarge, InvalidMetadata
from tuspy_server.protocol.metadata import check_metadata, metadata_text, parse_metadata

KEYS = st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), min_size=1)


@pytest.mark.parametrize(
    ("raw", "pairs"),
    [
        pytest.param("", {}, id="nothing"),
        pytest.param("filename d29y,is_confidential", {"filename": b"wor", "is_confidential": b""}, id="CREA-META-01"),
        pytest.param("is_confidential", {"is_confidential": b""}, id="CREA-META-02 no space"),
        pytest.param("is_confidential ", {"is_confidential": b""}, id="CREA-META-02 space"),
        pytest.param("a YQ==, b Yg==", {"a": b"a", "b": b"b"}, id="CREA-META-05 space after the comma"),
        pytest.param(
            "a YQ==, Yg==", {"a": b"a", "Yg==": b""}, id="CREA-META-04 an empty key reads as a key without value"
        ),
        pytest.param("a YQ== ,\tb Yg==", {"a": b"a", "b": b"b"}, id="white space around members"),
        pytest.param(
            f"all {base64.b64encode(bytes(range(256))).decode()}", {"all": bytes(range(256))}, id="CREA-META-07"
        ),
        pytest.param("a Kys=,A Ly8=", {"a": b"++", "A": b"//"}, id="keys keep their case"),
    ],
)
def test_pairs_are_read_in_their_order(raw: str, pairs: dict[str, bytes]) -> None:
    assert list(parse_metadata(raw).items()) == list(pairs.items())


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param("a YQ==,a Yg==", "a key appears twice", id="CREA-META-03"),
        pytest.param("filename !!!", "every value must be base64 with padding", id="CREA-META-04 value"),
        pytest.param("a YQ==,,b Yg==", "every key must be non-empty visible ASCII", id="CREA-META-04 member"),
        pytest.param(",", "every key must be non-empty visible ASCII", id="CREA-META-04 two members"),
        pytest.param("a YQ==,", "every key must be non-empty visible ASCII", id="CREA-META-04 last member"),
        pytest.param("a YQ", "every value must be base64 with padding", id="CREA-META-06 unpadded"),
        pytest.param("a _-8=", "every value must be base64 with padding", id="CREA-META-06 base64url"),
        pytest.param("a  YQ==", "every value must be base64 with padding", id="two spaces"),
        pytest.param("a YQ== YQ==", "every value must be base64 with padding", id="two values"),
        pytest.param("a YQ==YQ==", "every value must be base64 with padding", id="bytes after the padding"),
        pytest.param("a Y Q==", "every value must be base64 with padding", id="a space within the value"),
        pytest.param("a \xff", "every value must be base64 with padding", id="a value that is not ASCII"),
        pytest.param("\xe9 YQ==", "every key must be non-empty visible ASCII", id="a key that is not ASCII"),
        pytest.param("a\x00 YQ==", "every key must be non-empty visible ASCII", id="NUL"),
        pytest.param("a\tYQ==", "every key must be non-empty visible ASCII", id="a tab for the space"),
    ],
)
def test_what_breaks_the_grammar_is_400(raw: str, reason: str) -> None:
    with pytest.raises(InvalidMetadata) as caught:
        parse_metadata(raw)
    assert (caught.value.status, str(caught.value)) == (400, f"Upload-Metadata: {reason}")


@given(FIELD_TEXT)
def test_any_text_is_metadata_or_a_400_that_does_not_repeat_it(raw: str) -> None:
    """I11, X19."""
    refusal = outcome(check_metadata, raw, 60)
    if refusal is not None:
        assert isinstance(refusal, InvalidMetadata | HeadersTooLarge)
        assert str(refusal) in {
            "Upload-Metadata passes 60 bytes",
            "Upload-Metadata: every key must be non-empty visible ASCII",
            "Upload-Metadata: a key appears twice",
            "Upload-Metadata: every value must be base64 with padding",
        }
    else:
        assert raw.strip(" \t").isascii()
        assert len(raw) <= 60


@given(st.dictionaries(KEYS, st.binary(max_size=100), max_size=6))
def test_whatever_clients_encode_is_read_back_exactly(pairs: dict[str, bytes]) -> None:
    """CREA-META-07."""
    raw = ",".join(f"{key} {base64.b64encode(value).decode()}" for key, value in pairs.items())
    assert parse_metadata(raw) == pairs


def test_the_limit_counts_the_raw_value() -> None:
    """CREA-META-09."""
    check_metadata(None, 0)
    check_metadata("a YQ==", 6)
    with pytest.raises(HeadersTooLarge) as caught:
        check_metadata("a YQ==", 5)
    assert (caught.value.status, str(caught.value)) == (431, "Upload-Metadata passes 5 bytes")


def test_values_as_text_replace_what_is_not_utf_8() -> None:
    emoji = base64.b64encode("🐘.txt".encode()).decode()
    assert metadata_text(f"filename {emoji},raw /w==,flag") == {"filename": "🐘.txt", "raw": "\ufffd", "flag": ""}
    assert metadata_text(None) == {}

"""What a file of a job becomes: metadata as a client of tus would have sent it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuspy_server.jobs.wishes import FileWish
from tuspy_server.protocol.errors import HeadersTooLarge, InvalidMetadata
from tuspy_server.protocol.metadata import metadata_text
from tuspy_server.protocol.policy import Policy

POLICY = Policy(
    tus_max_size=None, max_header_bytes=1 << 15, max_metadata_bytes=1 << 13, checksum_max_bytes=1, expiration=False
)
KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), min_size=1, max_size=20)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(name=TEXTS, kind=TEXTS | st.none(), metadata=st.dictionaries(KEYS, TEXTS, max_size=5))
def test_nothing_of_it_is_lost(name: str, kind: str | None, metadata: dict[str, str]) -> None:
    further = {key: value for key, value in metadata.items() if key not in {"filename", "filetype"}}
    raw = FileWish(name=name, type=kind, metadata=further).upload_metadata(POLICY)
    expected = {"filename": name} | ({} if kind is None else {"filetype": kind}) | further
    assert metadata_text(raw) == expected


@pytest.mark.parametrize("key", ["", " ", "\ta", "a\t", "a b", "a,b", "ключ", "a\nb", "a\0", "é"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    """One that is two would be, to whoever reads the metadata, somebody else's pair."""
    with pytest.raises(InvalidMetadata):
        FileWish(name="a", metadata={key: "x"}).upload_metadata(POLICY)


@pytest.mark.parametrize(
    "wish", [FileWish(name="a", metadata={"filename": "b"}), FileWish(name="a", type="t", metadata={"filetype": "u"})]
)
def test_a_name_comes_once(wish: FileWish) -> None:
    with pytest.raises(InvalidMetadata):
        wish.upload_metadata(POLICY)


def test_what_is_too_large_for_a_header_is_too_large_here() -> None:
    fits = FileWish(name="x" * 6000)
    assert len(fits.upload_metadata(POLICY)) <= POLICY.max_metadata_bytes
    with pytest.raises(HeadersTooLarge):
        FileWish(name="x" * 6200).upload_metadata(POLICY)

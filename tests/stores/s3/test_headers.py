"""What objects say about themselves: nothing that a client sends can add a header or break one (faults X02, X03)."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.rows import a_row
from tuspy_server.stores.s3.headers import Marker, headers_of, marker_of
from tuspy_server.stores.s3.values import METADATA_BYTES, ObjectFacts, decoded_metadata

ID = "0123456789abcdef" * 2
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def raw(pairs: dict[str, bytes]) -> str:
    return ",".join(f"{key} {base64.b64encode(value).decode()}" for key, value in pairs.items())


KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=1, max_size=40)


@given(st.dictionaries(st.sampled_from(["filename", "name", "filetype", "type"]) | KEYS, st.binary(max_size=900)))
def test_any_metadata_makes_sound_headers_with_our_marker(pairs: dict[str, bytes]) -> None:
    upload = replace(a_row(ID), upload_metadata=raw(pairs) or None)
    marker = Marker(upload_id=ID, crc32c=7, claimed_at=NOW)
    headers = headers_of(upload, marker)
    encoded = headers.encoded_metadata()
    assert sum(len(name) + len(value) for name, value in encoded.items()) <= METADATA_BYTES
    for text in (headers.content_type, headers.content_disposition, *encoded, *encoded.values()):
        assert text is not None
        assert text.isascii()
        assert text.isprintable()
    facts = ObjectFacts(length=0, etag="e", metadata=decoded_metadata(encoded), crc32c=None)
    assert marker_of(facts, ID) == marker, "also where the client has sent names like ours"


def test_types_and_names() -> None:
    upload = replace(a_row(ID), upload_metadata=raw({"filename": "a\r\nb ü.html".encode(), "filetype": b"text/html"}))
    headers = headers_of(upload, Marker(upload_id=ID))
    assert headers.content_type == "application/octet-stream"
    assert headers.content_disposition == "attachment; filename=\"ab u.html\"; filename*=UTF-8''ab%20%C3%BC.html"
    assert headers.metadata["tuspy-upload-id"] == ID


def test_whose_an_object_is() -> None:
    def facts(metadata: dict[str, str], crc32c: int | None = None) -> ObjectFacts:
        return ObjectFacts(length=0, etag="e", metadata=metadata, crc32c=crc32c)

    assert marker_of(facts({"tuspy-upload-id": "f" * 32}), ID) is None
    assert marker_of(facts({"tuspy-upload-id": ID, "tuspy-crc32c": "no"}), ID) is None
    assert marker_of(facts({}), ID) is None, "put by another program, at a key or id that a hook has chosen"
    weak = marker_of(facts({}, 5), ID, keeps_metadata=False)
    assert weak == Marker(upload_id=ID, crc32c=5), "a store that keeps no metadata"

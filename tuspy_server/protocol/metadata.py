"""`Upload-Metadata`: comma-separated pairs of a key and an optional base64 value. The raw text is kept and echoed.

Source: tus 1.0.0, Creation, Upload-Metadata.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from tuspy_server.protocol.errors import HeadersTooLarge, InvalidMetadata

_KEY: Final = re.compile(r"[\x21-\x2b\x2d-\x7e]+")  # visible ASCII but the comma


def parse_metadata(raw: str) -> dict[str, bytes]:
    """Keys and decoded values, in the order sent; a key without a value has `b""`.

    Raises:
        InvalidMetadata: 400, an empty member or key, a key that is not visible ASCII or is not unique, or a value that
            is not padded base64 in the standard alphabet (RFC 4648 section 4).
    """
    pairs: dict[str, bytes] = {}
    if not raw:
        return pairs
    for member in raw.split(","):
        # Space after the comma is not in the grammar, but clients in the field send it, and it is harmless.
        key, _, value = member.strip(" \t").partition(" ")
        if not _KEY.fullmatch(key):
            raise InvalidMetadata("every key must be non-empty visible ASCII")
        # The key MUST NOT be empty … and all keys MUST be unique.
        if key in pairs:
            raise InvalidMetadata("a key appears twice")
        try:
            pairs[key] = base64.b64decode(value.encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise InvalidMetadata("every value must be base64 with padding") from error
    return pairs


def check_metadata(raw: str | None, max_metadata_bytes: int) -> None:
    """Refuse what `parse_metadata` refuses, and what is too large.

    Raises:
        InvalidMetadata: 400. HeadersTooLarge: 431, the raw value is longer than `max_metadata_bytes`.
    """
    if raw is None:
        return
    if len(raw) > max_metadata_bytes:
        raise HeadersTooLarge(f"Upload-Metadata passes {max_metadata_bytes} bytes")
    parse_metadata(raw)


def metadata_text(raw: str | None) -> dict[str, str]:
    """Parsed values as text, for events and downloads; bytes that are not UTF-8 become U+FFFD."""
    return {key: value.decode("utf-8", "replace") for key, value in parse_metadata(raw or "").items()}

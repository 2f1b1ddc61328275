"""CRC32C of bytes in pages, and its form in S3's headers."""

from __future__ import annotations

import base64
import binascii
import ctypes
from collections.abc import Iterable
from typing import Final

import google_crc32c

_DIRECT_BYTES: Final = 64 << 10
_DirectBlock: Final = ctypes.c_char * _DIRECT_BYTES


def crc32c_of(views: Iterable[memoryview], crc32c: int = 0) -> int:
    """The CRC32C of all views in their order, going on from `crc32c`.

    Some 10 GiB/s, without the interpreter's lock: for more than 256 KiB, call it in a thread.
    """
    for view in views:
        crc32c = _extend(crc32c, view)
    return crc32c


def _extend(crc32c: int, view: memoryview) -> int:
    # The library refuses memoryviews. It takes a ctypes array, which is a window on a writable page and copies nothing;
    # of one length only, because ctypes keeps a type for every length of array there ever was.
    position = 0
    if not view.readonly:
        while len(view) - position >= _DIRECT_BYTES:
            window: bytes = _DirectBlock.from_buffer(view, position)  # type: ignore[assignment]
            crc32c = google_crc32c.extend(crc32c, window)
            position += _DIRECT_BYTES
    while position < len(view):
        crc32c = google_crc32c.extend(crc32c, bytes(view[position : position + _DIRECT_BYTES]))
        position += _DIRECT_BYTES
    return crc32c


def header_of(crc32c: int) -> str:
    """As S3 wants it: base64 of the four bytes, the highest first."""
    return binascii.b2a_base64(crc32c.to_bytes(4, "big"), newline=False).decode()


def crc32c_in(value: str | None) -> int | None:
    """The number in a header of the store; None where there is none, or a composite of parts (`…-3`)."""
    if value is None:
        return None
    try:
        digest = base64.b64decode(value, validate=True)
    except ValueError:
        return None
    return int.from_bytes(digest, "big") if len(digest) == 4 else None  # noqa: PLR2004

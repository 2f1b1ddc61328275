"""What is known of the bytes of a whole upload without reading them again."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Final

from tuspy_server.ports import Assembly
from tuspy_server.protocol.checksum import Checksum

_POLYNOMIAL: Final = 0x82F63B78
"""Of CRC32C, reflected: the highest bit is the coefficient of x⁰."""

_ONE: Final = 1 << 31
_INLINE: Final = 250
"""Some microseconds for each."""


def crc32c_text(crc32c: int) -> str:
    """As `Upload-Checksum` has it."""
    return str(Checksum("crc32c", crc32c.to_bytes(4, "big")))


async def crc32c_of_whole(assembly: Assembly, part_bytes: int, upload_length: int) -> int | None:
    """The CRC32C of an upload, made of those of its parts and pieces; None where one of them is not known."""
    if len(assembly.parts) + len(assembly.pieces) <= _INLINE:
        return _of_whole(assembly, part_bytes, upload_length)
    return await asyncio.to_thread(_of_whole, assembly, part_bytes, upload_length)


def _of_whole(assembly: Assembly, part_bytes: int, upload_length: int) -> int | None:
    parts = {(part.part_number - 1) * part_bytes: (part.part_bytes, part.crc32c) for part in assembly.parts}
    pieces = {piece.start: (piece.stop - piece.start, piece.crc32c) for piece in assembly.pieces}
    whole = offset = 0
    while offset < upload_length:
        count, crc32c = parts.get(offset) or pieces.get(offset) or (0, None)
        if crc32c is None:
            return None
        whole = _times(_power(count * 8), whole) ^ crc32c
        offset += count
    return whole if offset == upload_length else None


@lru_cache(maxsize=64)
def _power(exponent: int) -> int:
    """x to it, modulo the polynomial. Nearly all parts of an upload have the same length."""
    power, square = _ONE, _ONE >> 1
    while exponent:
        if exponent & 1:
            power = _times(square, power)
        square = _times(square, square)
        exponent >>= 1
    return power


def _times(left: int, right: int) -> int:
    """The product modulo the polynomial."""
    product = 0
    for bit in range(31, -1, -1):
        if left >> bit & 1:
            product ^= right
        right = (right >> 1) ^ (_POLYNOMIAL if right & 1 else 0)
    return product

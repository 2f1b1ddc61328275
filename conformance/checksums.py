"""Digests of the checksum extension, by the names that servers advertise."""

import hashlib
import zlib
from base64 import b64encode
from collections.abc import Callable

CRC32C_POLYNOMIAL = 0x82F63B78
"""Castagnoli, bits reversed (RFC 3720, 12.1)."""


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of these bytes, 0 to 2**32 - 1; slow, for short inputs."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (CRC32C_POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def digests(algorithm: str, data: bytes) -> list[str]:
    """Return the digest in base64, empty if the algorithm is unknown here.

    A CRC comes in both byte orders, the usual big-endian first: tus does not say how a number is written.
    """
    crcs: dict[str, Callable[[bytes], int]] = {"crc32": zlib.crc32, "crc32c": crc32c}
    if algorithm in crcs:
        number = crcs[algorithm](data)
        return [b64encode(number.to_bytes(4, "big")).decode(), b64encode(number.to_bytes(4, "little")).decode()]
    if algorithm not in hashlib.algorithms_available or algorithm.startswith("shake"):
        return []
    return [b64encode(hashlib.new(algorithm, data).digest()).decode()]

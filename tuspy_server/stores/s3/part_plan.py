"""Which bytes are which part: one grid an upload, fixed at its creation, so that a part that is sent again is the same
bytes from any node, and all parts but the last are equal (which R2 demands)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tuspy_server.protocol.errors import UploadTooLarge

MOST_PARTS: Final = 10_000
"""S3's limit."""

_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PartPlan:
    """How large parts are.

    Attributes:
        part_bytes: unless the length needs larger ones. S3 takes no part but the last below 5 MiB.
        deferred_part_bytes: where the length is not known yet.
        steps: larger parts for larger uploads: pairs of a length and the `part_bytes` from it on, ascending.
        most_part_bytes: what memory allows: a quarter of the page pool, so that a part fills while others are sent, of
            the largest fewer than `PARTS_IN_FLIGHT`.
    """

    part_bytes: int = 8 * _MIB
    deferred_part_bytes: int = 16 * _MIB
    steps: tuple[tuple[int, int], ...] = ()
    most_part_bytes: int

    def part_bytes_for(self, upload_length: int | None) -> int:
        """The grid of a new upload.

        Raises:
            UploadTooLarge: 413, its parts would not fit in memory.
        """
        if upload_length is None:
            chosen = self.deferred_part_bytes
        else:
            chosen = self.part_bytes
            for length, part_bytes in self.steps:
                if upload_length >= length:
                    chosen = max(chosen, part_bytes)
            if upload_length > chosen * MOST_PARTS:
                chosen = _rounded_up(-(-upload_length // MOST_PARTS), _MIB)
        if chosen > self.most_part_bytes:
            raise UploadTooLarge(
                f"its parts of {chosen} bytes pass a quarter of the memory for bodies; the setting is pool_bytes"
            )
        return chosen


def part_number_at(upload_offset: int, part_bytes: int) -> int:
    """The part that holds the byte at `upload_offset`, from 1."""
    return upload_offset // part_bytes + 1


def part_start(part_number: int, part_bytes: int) -> int:
    """The offset of a part's first byte."""
    return (part_number - 1) * part_bytes


def part_count(upload_length: int, part_bytes: int) -> int:
    """How many parts there are."""
    return -(-upload_length // part_bytes)


def part_range(part_number: int, part_bytes: int, upload_length: int) -> tuple[int, int]:
    """First byte, and the one after the last."""
    start = part_start(part_number, part_bytes)
    return start, min(start + part_bytes, upload_length)


def check_length(upload_length: int | None, part_bytes: int) -> None:
    """Refuse a length that was declared after the grid had been fixed, where it needs too many parts.

    Raises:
        UploadTooLarge: 413.
    """
    if upload_length is not None and upload_length > part_bytes * MOST_PARTS:
        raise UploadTooLarge(f"an upload of deferred length holds at most {part_bytes * MOST_PARTS} bytes")


def _rounded_up(number: int, step: int) -> int:
    return -(-number // step) * step

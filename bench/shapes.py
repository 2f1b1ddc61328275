"""The shapes of load: one row each, in three sizes: quick (counts only), normal, full (gigabytes more)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

KIBIBYTE: Final = 1 << 10
MEBIBYTE: Final = 1 << 20
GIBIBYTE: Final = 1 << 30

SLOWEST_BYTES: Final = 16 * MEBIBYTE
"""A second, of a server that is still worth waiting for."""

SLOWEST_UPLOADS: Final = 20
"""A second, likewise."""

Size = Literal["quick", "normal", "full"]


class Unit(StrEnum):
    """What a figure counts."""

    STREAM = "GiB/s"
    UPLOADS = "uploads/s"
    REQUESTS = "requests/s"
    LATENCY = "ms, HEAD p99"
    """The one of which less is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One load. `chunk_bytes` 0: each upload in one PATCH; `seconds` for slow uploads alone."""

    name: str
    title: str
    group: Literal["shapes", "memory", "slow", "size", "connections"]
    unit: Unit
    connections: int
    uploads: int = 0
    upload_bytes: int = KIBIBYTE
    chunk_bytes: int = 0
    in_creation: bool = False
    heads: int = 0
    seconds: int = 0
    most_repeats: int = 100

    @property
    def body_bytes(self) -> int:
        """That it sends in all."""
        return self.uploads * (self.seconds * KIBIBYTE if self.seconds else self.upload_bytes)

    @property
    def requests(self) -> int:
        """That its uploads and HEADs take, without those of a slow shape's probe."""
        patches = 0 if self.in_creation else -(-self.upload_bytes // (self.chunk_bytes or self.upload_bytes))
        return self.heads or self.uploads * (1 + patches)

    @property
    def limit_seconds(self) -> float:
        """After which a run is given up."""
        return 60 + self.seconds + self.body_bytes / SLOWEST_BYTES + (self.uploads + self.heads) / SLOWEST_UPLOADS

    @property
    def growth(self) -> bool:
        """Whether it is a point of a curve."""
        return self.group in ("size", "connections")


def shapes(size: Size) -> list[Shape]:
    """All shapes of a size, in the order in which they are shown."""
    pick = _picker(size)
    return [*_streams(pick), *_small(pick), *_slow(pick), *_memory(size), *_growth(size, pick)]


Pick = Callable[[int, int], int]


def _picker(size: Size) -> Pick:
    return lambda quick, normal: quick if size == "quick" else normal


def _streams(pick: Pick) -> list[Shape]:
    one, many, chunked = pick(4, 1024) * MEBIBYTE, pick(1, 64) * MEBIBYTE, pick(1024, 102_400) * KIBIBYTE
    chunk = pick(64, 1024) * KIBIBYTE
    uploads, connections = pick(4, 24), pick(2, 8)
    return [
        Shape(
            name="one",
            title=f"1 × {amount(one)}, one PATCH",
            group="shapes",
            unit=Unit.STREAM,
            connections=1,
            uploads=1,
            upload_bytes=one,
        ),
        Shape(
            name="many",
            title=f"{uploads} × {amount(many)}, {connections} at once",
            group="shapes",
            unit=Unit.STREAM,
            connections=connections,
            uploads=uploads,
            upload_bytes=many,
        ),
        Shape(
            name="chunks",
            title=f"{amount(chunked)} in {amount(chunk)} PATCHes",
            group="shapes",
            unit=Unit.STREAM,
            connections=1,
            uploads=1,
            upload_bytes=chunked,
            chunk_bytes=chunk,
        ),
    ]


def _small(pick: Pick) -> list[Shape]:
    connections, uploads, heads = pick(4, 16), pick(32, 1500), pick(64, 5000)
    return [
        Shape(
            name="small",
            title=f"1 KiB, POST + PATCH, {connections} at once",
            group="shapes",
            unit=Unit.UPLOADS,
            connections=connections,
            uploads=uploads,
        ),
        Shape(
            name="creation",
            title=f"1 KiB, creation-with-upload, {connections} at once",
            group="shapes",
            unit=Unit.UPLOADS,
            connections=connections,
            uploads=uploads,
            in_creation=True,
        ),
        Shape(
            name="head",
            title=f"HEAD, {connections} at once",
            group="shapes",
            unit=Unit.REQUESTS,
            connections=connections,
            heads=heads,
        ),
    ]


def _slow(pick: Pick) -> list[Shape]:
    uploads, seconds = pick(20, 1000), pick(2, 20)
    return [
        Shape(
            name="slow",
            title=f"{uploads:,} uploads at 1 KiB/s for {seconds} s",
            group="slow",
            unit=Unit.LATENCY,
            connections=uploads,
            uploads=uploads,
            seconds=seconds,
            most_repeats=3,
        )
    ]


def _memory(size: Size) -> list[Shape]:
    if size != "full":
        return []
    return [
        Shape(
            name="memory",
            title="8 × 1 GiB, 8 at once",
            group="memory",
            unit=Unit.STREAM,
            connections=8,
            uploads=8,
            upload_bytes=GIBIBYTE,
            most_repeats=1,
        )
    ]


def _growth(size: Size, pick: Pick) -> list[Shape]:
    lengths = {
        "quick": (64 * KIBIBYTE, MEBIBYTE),
        "normal": (MEBIBYTE, 16 * MEBIBYTE, 128 * MEBIBYTE, GIBIBYTE),
        "full": (MEBIBYTE, 16 * MEBIBYTE, 128 * MEBIBYTE, GIBIBYTE, 4 * GIBIBYTE, 15 * GIBIBYTE),
    }[size]
    counts = (1, 32) if size == "quick" else (1, 4, 16, 64, 256, 1000)
    by_size = [
        Shape(
            name=f"size-{amount(length).replace(' ', '')}",
            title=f"a file of {amount(length)}",
            group="size",
            unit=Unit.STREAM,
            connections=1,
            # Many of the small ones, so that there is something to time.
            uploads=max(1, min(64, pick(1, 128) * MEBIBYTE // length)),
            upload_bytes=length,
            most_repeats=1 if length > GIBIBYTE else 3,
        )
        for length in lengths
    ]
    by_connections = [
        Shape(
            name=f"connections-{count}",
            title=f"1 KiB, POST + PATCH, {count:,} connection{'s' if count > 1 else ''}",
            group="connections",
            unit=Unit.UPLOADS,
            connections=count,
            uploads=max(2 * count, pick(16, 1000)),
            most_repeats=3,
        )
        for count in counts
    ]
    return [*by_size, *by_connections]


def amount(count: int) -> str:
    """Bytes as people write them."""
    for unit, name in ((GIBIBYTE, "GiB"), (MEBIBYTE, "MiB"), (KIBIBYTE, "KiB")):
        if count >= unit:
            return f"{count / unit:.4g} {name}"
    return f"{count} B"

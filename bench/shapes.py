"""The shapes of load: one row each, in three sizes: quick (counts only), normal, full (gigabytes more).

They come in parts, which may be run at different times: `files`, `load`, `growth`, `rows`, and in `s3_shapes` the rest.
"""

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
Part = Literal["files", "load", "growth", "rows", "s3", "latency", "events"]


class Unit(StrEnum):
    """What a figure counts."""

    STREAM = "GiB/s"
    UPLOADS = "uploads/s"
    REQUESTS = "requests/s"
    LATENCY = "ms, HEAD p99"
    """Of this and the next less is better."""
    TIME = "ms an upload"
    LATE = "ms, commit to event, p95"
    DELIVERIES = "deliveries/s"

    @property
    def less_is_better(self) -> bool:
        """Whether it is a time."""
        return self in (Unit.LATENCY, Unit.TIME, Unit.LATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One load. `chunk_bytes` 0: each upload in one PATCH; `seconds` for slow uploads alone."""

    name: str
    title: str
    part: Part = "files"
    group: Literal["shapes", "memory", "slow", "size", "connections", "rows", "events"]
    unit: Unit
    connections: int
    uploads: int = 0
    upload_bytes: int = KIBIBYTE
    chunk_bytes: int = 0
    in_creation: bool = False
    heads: int = 0
    seconds: int = 0
    latency_ms: float = 0.0
    """Of each call at the S3 sink."""
    rows: int = 0
    """Uploads that are in the table before."""
    ours_only: bool = False
    """It has no rival: a promise of ours alone is tried."""
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
        return self.group in ("size", "connections", "rows")


Pick = Callable[[int, int], int]


def picker(size: Size) -> Pick:
    """Of a quick size and the size of all others, the one."""
    return lambda quick, normal: quick if size == "quick" else normal


def file_shapes(size: Size) -> list[Shape]:
    """Those that want a disk, in the order in which they are shown."""
    pick = picker(size)
    return [*_streams(pick), *_small(pick), *_slow(pick), *_memory(size), *_growth(size, pick), *_rows(pick)]


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
            most_repeats=2,
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
            most_repeats=2,
        ),
        Shape(
            name="head",
            title=f"HEAD, {connections} at once",
            group="shapes",
            unit=Unit.REQUESTS,
            connections=connections,
            heads=heads,
            most_repeats=2,
        ),
    ]


def _slow(pick: Pick) -> list[Shape]:
    uploads, seconds = pick(20, 1000), pick(2, 20)
    return [
        Shape(
            name="slow",
            title=f"{uploads:,} uploads at 1 KiB/s for {seconds} s",
            part="load",
            group="slow",
            unit=Unit.LATENCY,
            connections=uploads,
            uploads=uploads,
            seconds=seconds,
            most_repeats=1,
        )
    ]


def _memory(size: Size) -> list[Shape]:
    if size == "quick":
        return []
    return [
        Shape(
            name="memory",
            title="8 × 1 GiB at once",
            part="load",
            group="memory",
            unit=Unit.STREAM,
            connections=8,
            uploads=8,
            upload_bytes=GIBIBYTE,
            ours_only=size != "full",
            most_repeats=1,
        )
    ]


def _growth(size: Size, pick: Pick) -> list[Shape]:
    lengths: tuple[int, ...] = (64 * KIBIBYTE, MEBIBYTE)
    if size != "quick":
        lengths = (MEBIBYTE, 16 * MEBIBYTE, 128 * MEBIBYTE, GIBIBYTE, 4 * GIBIBYTE, 15 * GIBIBYTE)
    counts = (1, 32) if size == "quick" else (1, 8, 64, 1000)
    by_size = [
        Shape(
            name=f"size-{amount(length).replace(' ', '')}",
            title=f"a file of {amount(length)}",
            part="growth",
            group="size",
            unit=Unit.STREAM,
            connections=1,
            # Many of the small ones, so that there is something to time.
            uploads=max(1, min(64, pick(1, 128) * MEBIBYTE // length)),
            upload_bytes=length,
            ours_only=length > GIBIBYTE and size != "full",
            most_repeats=1 if length > GIBIBYTE else 2,
        )
        for length in lengths
    ]
    by_connections = [
        Shape(
            name=f"connections-{count}",
            title=f"1 KiB, POST + PATCH, {count:,} connection{'s' if count > 1 else ''}",
            part="growth",
            group="connections",
            unit=Unit.UPLOADS,
            connections=count,
            uploads=max(2 * count, pick(16, 800)),
            most_repeats=2,
        )
        for count in counts
    ]
    return [*by_size, *by_connections]


def _rows(pick: Pick) -> list[Shape]:
    return [
        Shape(
            name=f"rows-{name}",
            title=f"PATCHes of 1 KiB, 16 at once, {rows:,} uploads in the table",
            part="rows",
            group="rows",
            unit=Unit.REQUESTS,
            connections=16,
            uploads=16,
            upload_bytes=pick(4, 200) * KIBIBYTE,
            chunk_bytes=KIBIBYTE,
            rows=rows,
            ours_only=True,
            most_repeats=2,
        )
        for name, rows in (("none", 0), ("many", pick(1000, 1_000_000)))
    ]


def amount(count: int) -> str:
    """Bytes as people write them."""
    for unit, name in ((GIBIBYTE, "GiB"), (MEBIBYTE, "MiB"), (KIBIBYTE, "KiB")):
        if count >= unit:
            return f"{count / unit:.4g} {name}"
    return f"{count} B"

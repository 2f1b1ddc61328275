"""What was measured: samples, refusals and the machine; kept as JSON, one file a part, read back to make the page."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple, Self

from bench.shapes import GIBIBYTE, Part


class S3Count(NamedTuple):
    """Of one operation."""

    calls: int
    bytes_in: int
    bytes_out: int
    errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One shape on one server, once."""

    server: str
    shape: str
    repeat: int
    figure: float
    """In the shape's unit."""
    seconds: float
    cpu_seconds: float
    """Of the server's tree of processes, user and system."""
    client_cpu_seconds: float
    other_cpu_seconds: float
    """Of everything else on the machine: the kernel's threads, and programs that spoil the figure."""
    peak_rss_bytes: int
    requests: int
    body_bytes: int
    reconnects: int
    commits: int | None
    """Of ours, as its metrics count them."""
    postgres_cpu_seconds: float | None = None
    """Of all processes of the database's, where there is one."""
    s3_cpu_seconds: float | None = None
    """Of the S3 sink."""
    s3: dict[str, S3Count] | None = None
    """Operation → its calls and bytes."""

    @property
    def s3_calls(self) -> int:
        """In all."""
        return sum(row.calls for row in (self.s3 or {}).values())

    @property
    def s3_bytes(self) -> tuple[int, int]:
        """Of objects and parts, to S3 and back; what calls say in XML is in neither."""
        counts, none = self.s3 or {}, S3Count(0, 0, 0, 0)
        sent = sum(counts.get(name, none).bytes_in for name in ("PutObject", "UploadPart"))
        return sent, counts.get("GetObject", none).bytes_out

    @property
    def cpu_ms_a_request(self) -> float:
        """What a request costs the server."""
        return 1000 * self.cpu_seconds / self.requests if self.requests else 0.0

    @property
    def cpu_seconds_a_gibibyte(self) -> float:
        """What a GiB costs the server."""
        return self.cpu_seconds / (self.body_bytes / GIBIBYTE) if self.body_bytes else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A figure that does not count, and why; or a shape that the server does not offer."""

    server: str
    shape: str
    repeat: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """System calls of one server for one upload, by name, as strace counts them."""

    server: str
    shape: str
    calls: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """SQL statements of one server for one upload, by what they do, as PostgreSQL logs them."""

    server: str
    shape: str
    statements: dict[str, float]


class Spread(NamedTuple):
    """Of several repeats."""

    median: float
    least: float
    most: float
    repeats: int


@dataclass(slots=True, kw_only=True)
class Results:
    """Of one part of one run."""

    part: Part
    started: str
    commit: str
    command: str
    size: str
    machine: dict[str, str]
    servers: dict[str, str]
    """Name → version."""
    notes: dict[str, str]
    """Name → how it was set up."""
    missing: list[str]
    titles: dict[str, str]
    """Shape → title."""
    disk_gib_a_second: float | None = None
    """What the disk takes with one fdatasync at the end of a GiB."""
    samples: list[Sample] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    calls: list[Calls] = field(default_factory=list)
    statements: list[Statements] = field(default_factory=list)
    cut: str = ""
    """Why a part of it was left out."""

    def of(self, server: str, shape: str) -> list[Sample]:
        """Every repeat of one figure; none if one of them was refused, for a server that loses bytes has no speed."""
        if any(row.server == server and row.shape == shape for row in self.refusals):
            return []
        return [sample for sample in self.samples if sample.server == server and sample.shape == shape]

    def figure(self, server: str, shape: str) -> Spread | None:
        """In the shape's unit."""
        return spread(sample.figure for sample in self.of(server, shape))

    def cpu(self, server: str, shape: str) -> Spread | None:
        """CPU seconds a GiB."""
        return spread(sample.cpu_seconds_a_gibibyte for sample in self.of(server, shape))

    def cpu_a_request(self, server: str, shape: str) -> Spread | None:
        """CPU milliseconds a request."""
        return spread(sample.cpu_ms_a_request for sample in self.of(server, shape))

    def rss(self, server: str, shape: str) -> Spread | None:
        """Peak resident bytes."""
        return spread(float(sample.peak_rss_bytes) for sample in self.of(server, shape))

    def ratio(self, ours: str, peer: str, shape: str) -> float | None:
        """Median over median."""
        mine, theirs = self.figure(ours, shape), self.figure(peer, shape)
        return mine.median / theirs.median if mine and theirs and theirs.median else None

    def save(self, path: Path) -> None:
        """As JSON, a line for each sample."""
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = dataclasses.asdict(self)
        lists = {name: raw.pop(name) for name in ROWS}
        lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in raw.items()]
        for name, rows in lists.items():
            content = ",\n  ".join(json.dumps(row) for row in rows)
            lines.append(f"{json.dumps(name)}: [\n  {content}\n ]" if rows else f"{json.dumps(name)}: []")
        path.write_text("{\n " + ",\n ".join(lines) + "\n}\n", "utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        raw = json.loads(path.read_text("utf-8"))
        for name, kind in ROWS.items():
            raw[name] = [kind(**row) for row in raw[name]]
        raw["samples"] = [dataclasses.replace(row, s3=_counts(row.s3)) for row in raw["samples"]]
        return cls(**raw)


ROWS: Final[dict[str, type]] = {"samples": Sample, "refusals": Refusal, "calls": Calls, "statements": Statements}


def _counts(raw: dict[str, S3Count] | None) -> dict[str, S3Count] | None:
    return raw and {name: S3Count(*row) for name, row in raw.items()}


def spread(values: Iterable[float]) -> Spread | None:
    """Median, least and most; None of nothing."""
    ordered = sorted(values)
    return Spread(median(ordered), ordered[0], ordered[-1], len(ordered)) if ordered else None

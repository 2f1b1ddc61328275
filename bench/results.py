"""What was measured: samples, refusals and the machine; kept as JSON, read back to make the page anew."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple, Self

from bench.shapes import GIBIBYTE


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


class Spread(NamedTuple):
    """Of several repeats."""

    median: float
    least: float
    most: float
    repeats: int


@dataclass(slots=True, kw_only=True)
class Results:
    """All of one run."""

    started: str
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

    def rss(self, server: str, shape: str) -> Spread | None:
        """Peak resident bytes."""
        return spread(float(sample.peak_rss_bytes) for sample in self.of(server, shape))

    def ratio(self, ours: str, peer: str, shape: str) -> float | None:
        """Median over median."""
        mine, theirs = self.figure(ours, shape), self.figure(peer, shape)
        return mine.median / theirs.median if mine and theirs and theirs.median else None

    def save(self, path: Path) -> None:
        """As JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1), "utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        raw = json.loads(path.read_text("utf-8"))
        raw["samples"] = [Sample(**row) for row in raw["samples"]]
        raw["refusals"] = [Refusal(**row) for row in raw["refusals"]]
        raw["calls"] = [Calls(**row) for row in raw["calls"]]
        return cls(**raw)


def spread(values: Iterable[float]) -> Spread | None:
    """Median, least and most; None of nothing."""
    ordered = sorted(values)
    return Spread(median(ordered), ordered[0], ordered[-1], len(ordered)) if ordered else None

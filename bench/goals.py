"""The goals for files, and whether a run reached them, by the figures that show it."""

from __future__ import annotations

from typing import NamedTuple

from bench.results import Results
from bench.servers import OURS, TUS_NODE, TUSD
from bench.shapes import MEBIBYTE

STREAMS = ("one", "many")
FLAT = 1.25
"""What grows by less than this, while its load grows fifteenfold, is called flat."""


class Verdict(NamedTuple):
    """One goal; `reached` None: not measured in this run."""

    goal: str
    reached: bool | None
    shown_by: str


def verdicts(results: Results) -> list[Verdict]:
    """Every goal, reached or not."""
    return [
        *(_ratio(results, shape, TUS_NODE, 4.0) for shape in STREAMS),
        *(_ratio(results, shape, TUSD, 1.25) for shape in STREAMS),
        _ratio(results, "small", TUS_NODE, 3.0),
        *(_cpu(results, shape) for shape in STREAMS),
        _memory(results, "memory", 300),
        _memory(results, "slow", 400),
        _head(results),
        *_flat(results),
    ]


def _title(results: Results, shape: str) -> str:
    return results.titles.get(shape, shape)


def _ratio(results: Results, shape: str, peer: str, least: float) -> Verdict:
    goal = f"{_title(results, shape)}: at least {least:g}× {peer}"
    ratio = results.ratio(OURS, peer, shape)
    if ratio is None:
        return Verdict(goal, None, f"no figure of {peer} in this run")
    process = results.ratio("ours-process", peer, shape)
    beside = f"; {process:.2f}× without fdatasync" if process is not None else ""
    return Verdict(goal, ratio >= least, f"{ratio:.2f}×{beside}")


def _cpu(results: Results, shape: str) -> Verdict:
    goal = f"{_title(results, shape)}: no more CPU a GiB than {TUSD}"
    ours, peer = results.cpu(OURS, shape), results.cpu(TUSD, shape)
    if ours is None or peer is None:
        return Verdict(goal, None, f"no figure of {TUSD} in this run")
    return Verdict(goal, ours.median <= peer.median, f"{ours.median:.2f} s against {peer.median:.2f} s")


def _memory(results: Results, shape: str, most_mebibytes: int) -> Verdict:
    goal = f"{_title(results, shape)}: under {most_mebibytes} MiB resident"
    rss = results.rss(OURS, shape)
    if rss is None:
        return Verdict(goal, None, "needs --full" if shape == "memory" else "no figure in this run")
    return Verdict(goal, rss.most < most_mebibytes * MEBIBYTE, f"{rss.most / MEBIBYTE:.0f} MiB at most")


def _head(results: Results) -> Verdict:
    goal = f"HEAD beside {_title(results, 'slow')}: p99 under 50 ms"
    latency = results.figure(OURS, "slow")
    if latency is None:
        return Verdict(goal, None, "no figure in this run")
    return Verdict(goal, latency.median < 50, f"{latency.median:.1f} ms")


def _flat(results: Results) -> list[Verdict]:
    least, most = "size-1GiB", "size-15GiB"
    small, large = results.figure(OURS, least), results.figure(OURS, most)
    small_rss, large_rss = results.rss(OURS, least), results.rss(OURS, most)
    goals = ("time a GiB is flat from 1 to 15 GiB a file", "memory is flat from 1 to 15 GiB a file")
    if small is None or large is None or small_rss is None or large_rss is None:
        return [Verdict(goal, None, "needs --full") for goal in goals]
    slower, more = small.median / large.median, large_rss.median / small_rss.median
    return [
        Verdict(goals[0], slower < FLAT, f"{slower:.2f} times the time a GiB"),
        Verdict(goals[1], more < FLAT, f"{more:.2f} times the memory"),
    ]

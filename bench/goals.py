"""The goals, and whether the parts that were run reached them, by the figures that show it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from bench.book import Book, shapes_of
from bench.results import Results
from bench.s3_servers import OURS_S3, TUS_NODE_S3, TUSD_S3, TUSD_S3_TUNED
from bench.servers import OURS, TUS_NODE
from bench.shapes import MEBIBYTE, Part, Shape
from bench.tusd import TUSD

FLAT: Final = 1.25
"""What grows by less than this, while its load grows fifteenfold or more, is called flat."""

PART_BYTES: Final = 8 * MEBIBYTE
"""Ours, by default."""

BEST_TUSD: Final = (TUSD_S3, TUSD_S3_TUNED)
CREATION: Final = 1.5
"""Creation-with-upload over POST + PATCH."""


class Verdict(NamedTuple):
    """One goal; `reached` None: not measured."""

    goal: str
    reached: bool | None
    shown_by: str


def verdicts(book: Book) -> list[Verdict]:
    """Every goal, reached or not."""
    makers: tuple[tuple[Part, Callable[[Results], Iterator[Verdict]]], ...] = (
        ("files", _files),
        ("load", _load),
        ("growth", _growth),
        ("rows", _rows),
        ("s3", _s3),
        ("latency", _latency),
        ("events", _events),
    )
    found: list[Verdict] = []
    for part, make in makers:
        if part in book:
            found.extend(make(book[part]))
        else:
            found.append(Verdict(f"those of the part “{part}”", None, "this part was not run"))
    return found


def _files(results: Results) -> Iterator[Verdict]:
    for shape in ("one", "many"):
        yield _ratio(results, OURS, shape, (TUS_NODE,), 4.0)
        yield _ratio(results, OURS, shape, (TUSD,), 1.25)
        yield _cpu(results, OURS, shape, (TUSD,))
    yield _ratio(results, OURS, "small", (TUS_NODE,), 3.0)


def _load(results: Results) -> Iterator[Verdict]:
    yield _memory(results, OURS, "memory", 300)
    yield _memory(results, OURS, "slow", 400)
    yield _head(results, OURS, "slow")


def _growth(results: Results) -> Iterator[Verdict]:
    yield _flat_time(results, OURS, "size-1GiB", "size-15GiB", "time a GiB, 1 to 15 GiB a file")
    yield _flat_memory(results, OURS, "size-1GiB", "size-15GiB", "memory, 1 to 15 GiB a file")


def _rows(results: Results) -> Iterator[Verdict]:
    for server in (OURS, OURS_S3):
        goal = (
            f"{server}: CPU of a PATCH is flat from an empty table to {_title(results, 'rows-many').split(', ', 2)[-1]}"
        )
        few, many = results.cpu_a_request(server, "rows-none"), results.cpu_a_request(server, "rows-many")
        yield _flat(goal, many and many.median, few and few.median)


def _s3(results: Results) -> Iterator[Verdict]:
    for shape in ("s3-one", "s3-many"):
        yield _ratio(results, OURS_S3, shape, BEST_TUSD, 1.25)
        yield _ratio(results, OURS_S3, shape, (TUS_NODE_S3,), 4.0)
        yield _cpu(results, OURS_S3, shape, BEST_TUSD)
    for peers, least in ((BEST_TUSD, 1.5), ((TUS_NODE_S3,), 5.0)):
        yield _ratio(results, OURS_S3, "s3-small", peers, least)
        yield _ratio(results, OURS_S3, "s3-creation", peers, CREATION * least, of="s3-small")
    for shape in ("s3-small", "s3-creation", "s3-hundred", "s3-chunks", "s3-head"):
        yield _calls(results, shape)
    yield _memory(results, OURS_S3, "s3-memory", 300)
    yield _memory(results, OURS_S3, "s3-slow", 400)
    yield _head(results, OURS_S3, "s3-slow")
    yield _flat_time(results, OURS_S3, "s3-one", "s3-fifteen", "time a GiB, 1 to 15 GiB an object")
    yield _flat_memory(results, OURS_S3, "s3-one", "s3-fifteen", "memory, 1 to 15 GiB an object")
    few, many = results.cpu(OURS_S3, "s3-chunks"), results.cpu(OURS_S3, "s3-many-chunks")
    yield _flat(f"{OURS_S3}: CPU of a PATCH is flat from 13 to 128 parts", many and many.median, few and few.median)


def _latency(results: Results) -> Iterator[Verdict]:
    yield _under(results, "late-one", 45)
    yield _as_prompt(results, "late-small", "prompt-small")
    yield _under(results, "late-hundred", 220)
    yield _under(results, "late-chunks", 4000)
    yield _as_prompt(results, "late-gibibyte", "prompt-gibibyte")


def _events(results: Results) -> Iterator[Verdict]:
    for shape, least, most in (("events-late", None, 50.0), ("events-deliver", 500.0, None)):
        figure = results.figure(OURS_S3, shape)
        title = _title(results, shape)
        goal = f"{title}: p95 at most {most:g} ms" if most else f"{title}: at least {least:g} a second"
        if figure is None:
            yield Verdict(goal, None, "not in this run")
        elif most is not None:
            yield Verdict(goal, figure.median <= most, f"{figure.median:.0f} ms")
        elif least is not None:
            yield Verdict(goal, figure.median >= least, f"{figure.median:,.0f} a second")


# --- one kind of goal each ---------------------------------------------------------------------------------------


def _title(results: Results, shape: str) -> str:
    return results.titles.get(shape, shape)


def _ratio(
    results: Results, mine: str, shape: str, peers: tuple[str, ...], least: float, *, of: str | None = None
) -> Verdict:
    """`of`: the peers' shape, if it is another one."""
    beside = f" {_title(results, of)}" if of else ""
    goal = f"{mine}, {_title(results, shape)}: at least {least:g}× {_either(peers)}{beside}"
    own = results.figure(mine, shape)
    others = {peer: figure.median for peer in peers if (figure := results.figure(peer, of or shape))}
    if own is None or not others:
        return Verdict(goal, None, f"no figure of {_either(peers) if own else mine} in this run")
    best = max(others, key=lambda peer: others[peer])
    ratio = own.median / others[best]
    shown = f"{ratio:.2f}× {best}" if len(peers) > 1 else f"{ratio:.2f}×"
    process = results.ratio("ours-process", best, shape)
    shown += f"; {process:.2f}× without fdatasync" if process is not None else ""
    return Verdict(goal, ratio >= least, shown)


def _cpu(results: Results, mine: str, shape: str, peers: tuple[str, ...]) -> Verdict:
    goal = f"{mine}, {_title(results, shape)}: no more CPU a GiB than {_either(peers)}"
    own, others = results.cpu(mine, shape), [cpu.median for peer in peers if (cpu := results.cpu(peer, shape))]
    if own is None or not others:
        return Verdict(goal, None, f"no figure of {_either(peers) if own else mine} in this run")
    return Verdict(goal, own.median <= min(others), f"{own.median:.2f} s against {min(others):.2f} s")


def _memory(results: Results, mine: str, shape: str, most_mebibytes: int) -> Verdict:
    goal = f"{mine}, {_title(results, shape)}: under {most_mebibytes} MiB resident"
    rss = results.rss(mine, shape)
    if rss is None:
        return Verdict(goal, None, f"no figure of {mine} in this run")
    return Verdict(goal, rss.most < most_mebibytes * MEBIBYTE, f"{rss.most / MEBIBYTE:.0f} MiB at most")


def _head(results: Results, mine: str, shape: str) -> Verdict:
    goal = f"{mine}, HEAD beside {_title(results, shape)}: p99 under 50 ms"
    latency = results.figure(mine, shape)
    if latency is None:
        return Verdict(goal, None, f"no figure of {mine} in this run")
    return Verdict(goal, latency.median < 50, f"{latency.median:.1f} ms")


def _flat_time(results: Results, mine: str, least: str, most: str, what: str) -> Verdict:
    small, large = results.figure(mine, least), results.figure(mine, most)
    return _flat(f"{mine}: flat is {what}", large and 1 / large.median, small and 1 / small.median)


def _flat_memory(results: Results, mine: str, least: str, most: str, what: str) -> Verdict:
    small, large = results.rss(mine, least), results.rss(mine, most)
    return _flat(f"{mine}: flat is {what}", large and large.median, small and small.median)


def _flat(goal: str, grown: float | None, before: float | None) -> Verdict:
    if not grown or not before:
        return Verdict(goal, None, "no figures of both in this run")
    return Verdict(goal, grown / before < FLAT, f"{grown / before:.2f} times as much")


def s3_budget(shape: Shape) -> tuple[int, float]:
    """S3 calls an upload, and bytes written as a multiple of its own, that the architecture's table allows us.

    One object is one call; a larger one its parts, a beginning and an end. A PATCH that fills no part is a piece, and
    one call deletes all of them.
    """
    if shape.heads:
        return 0, 0.0
    parts, patches = (
        -(-shape.upload_bytes // PART_BYTES),
        -(-shape.upload_bytes // (shape.chunk_bytes or shape.upload_bytes)),
    )
    if parts == 1 and patches == 1:
        return 1, 1.0
    if patches == 1:
        return parts + 2, 1.0
    pieces = patches - parts
    return parts + pieces + 3, round(1 + pieces * shape.chunk_bytes / shape.upload_bytes, 2)


def _calls(results: Results, name: str) -> Verdict:
    shape = next(shape for shape in shapes_of(results) if shape.name == name)
    calls, written = s3_budget(shape)
    goal = f"{OURS_S3}, {shape.title}: S3 calls {calls}, bytes {written:g}×, nothing read back"
    counted = s3_counted(results, shape)
    if not counted:
        return Verdict(goal, None, f"no figure of {OURS_S3} in this run")
    shown = "; ".join(f"{n:g} calls, {times:g}×, {read:,} B read" for n, times, read in sorted(counted))
    return Verdict(goal, counted == {(calls, written, 0)}, shown)


def s3_counted(results: Results, shape: Shape) -> set[tuple[float, float, int]]:
    """Ours in each repeat: calls an upload, bytes written as a multiple of its own, bytes read back."""
    counted = set()
    for sample in results.of(OURS_S3, shape.name):
        sent, read = sample.s3_bytes
        calls = sample.s3_calls / (shape.uploads or shape.heads)
        counted.add((calls, round(sent / (sample.body_bytes or 1), 2), read))
    return counted


def _under(results: Results, shape: str, most_ms: float) -> Verdict:
    goal = f"{OURS_S3}, {_title(results, shape)}: under {most_ms:g} ms"
    figure = results.figure(OURS_S3, shape)
    if figure is None:
        return Verdict(goal, None, f"no figure of {OURS_S3} in this run")
    return Verdict(goal, figure.median < most_ms, f"{figure.median:.0f} ms")


def _as_prompt(results: Results, late: str, prompt: str) -> Verdict:
    goal = f"{OURS_S3}, {_title(results, late)}: as without latency"
    slower, faster = results.figure(OURS_S3, late), results.figure(OURS_S3, prompt)
    if slower is None or faster is None:
        return Verdict(goal, None, f"no figures of {OURS_S3} in this run")
    share = slower.median / faster.median
    return Verdict(goal, share > 1 / FLAT, f"{share:.0%} of the speed without")


def _either(peers: tuple[str, ...]) -> str:
    return " or ".join(peers)

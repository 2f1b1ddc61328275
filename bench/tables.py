"""The tables: one function each, for the terminal and for the page alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from bench.calls import COUNTED, syncs
from bench.chart import number
from bench.goals import verdicts
from bench.method import ours, peers
from bench.results import Results, Spread
from bench.servers import OURS
from bench.shapes import MEBIBYTE, Shape, Unit

NONE = "–"


class Table(NamedTuple):
    """Texts in rows; the first row names the columns."""

    title: str
    rows: list[list[str]]

    def markdown(self) -> str:
        """For the page."""
        head, *rest = ([cell.replace("|", "\\|") for cell in row] for row in self.rows)
        lines = [head, ["---", *["--:"] * (len(head) - 1)], *rest]
        return "\n".join(f"| {' | '.join(row)} |" for row in lines)

    def text(self) -> str:
        """For the terminal."""
        widths = [max(len(row[index]) for row in self.rows) for index in range(len(self.rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if index == 0 else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in self.rows
        ]
        return "\n".join((self.title, "-" * len(self.title), *lines))


def all_tables(results: Results, shapes: Sequence[Shape]) -> list[Table]:
    """Every table that the run has figures for; of a quick run the counts alone, for its seconds mean nothing."""
    if results.size == "quick":
        return [table for table in (client(results, shapes), refused(results)) if len(table.rows) > 1]
    tables = [
        figures(results, shapes),
        ratios(results, shapes),
        costs(results, shapes),
        memory(results, shapes),
        growth(results, shapes),
        system_calls(results),
        client(results, shapes),
        goals(results),
        refused(results),
    ]
    return [table for table in tables if len(table.rows) > 1]


def figures(results: Results, shapes: Sequence[Shape]) -> Table:
    """Medians with their spread."""
    rows = _per_server(results, _of(shapes, growth=False), lambda server, shape: results.figure(server, shape.name))
    return Table("Figures: median (least–most)", rows)


def ratios(results: Results, shapes: Sequence[Shape]) -> Table:
    """Ours over each peer, as a speed: of latencies the other way round."""
    names = peers(results)
    rows = [["shape", *(f"{mine} / {peer}" for mine in ours(results) for peer in names)]]
    for shape in _of(shapes, growth=False):
        cells = []
        for mine in ours(results):
            for peer in names:
                ratio = results.ratio(mine, peer, shape.name)
                if ratio and shape.unit is Unit.LATENCY:
                    ratio = 1 / ratio
                cells.append(f"{ratio:.2f}×" if ratio else NONE)
        rows.append([shape.title, *cells])
    return Table("Ratios of the medians", rows if names else rows[:1])


def costs(results: Results, shapes: Sequence[Shape]) -> Table:
    """CPU of the server's processes, for streams."""
    streams = [shape for shape in _of(shapes, growth=False) if shape.unit is Unit.STREAM]
    rows = _per_server(results, streams, lambda server, shape: results.cpu(server, shape.name), unit=False)
    return Table("CPU seconds a GiB (user + system, whole process tree)", rows)


def memory(results: Results, shapes: Sequence[Shape]) -> Table:
    """Peak resident memory."""

    def mebibytes(server: str, shape: Shape) -> Spread | None:
        rss = results.rss(server, shape.name)
        return rss and Spread(rss.median / MEBIBYTE, rss.least / MEBIBYTE, rss.most / MEBIBYTE, rss.repeats)

    return Table("Peak resident memory, MiB", _per_server(results, shapes, mebibytes, unit=False))


def growth(results: Results, shapes: Sequence[Shape]) -> Table:
    """The curves, as figures."""
    rows = _per_server(results, _of(shapes, growth=True), lambda server, shape: results.figure(server, shape.name))
    return Table("Growth: median (least–most)", rows)


def system_calls(results: Results) -> Table:
    """Who makes bytes durable, and what an upload costs."""
    rows = [["load", "server", "fsync + fdatasync an upload", "all system calls an upload"]]
    titles = {shape.name: shape.title for shape in COUNTED}
    rows += [
        [titles[row.shape], row.server, f"{syncs(row):.2f}", f"{row.calls.get('total', 0.0):,.0f}"]
        for row in results.calls
    ]
    return Table("System calls (strace, in a run of its own)", rows)


def client(results: Results, shapes: Sequence[Shape]) -> Table:
    """The counts that were checked, and the share of the time in which the client and everything else worked."""
    rows = [["shape", "requests", "bytes", "commits", "reconnects", "client's CPU / time", "others' CPU / time"]]
    for shape in shapes:
        samples = results.of(OURS, shape.name)
        if samples:
            last = samples[-1]
            busy = f"{last.client_cpu_seconds / last.seconds:.0%}"
            others = f"{max(sample.other_cpu_seconds / sample.seconds for sample in samples):.0%}"
            commits = NONE if last.commits is None else f"{last.commits:,}"
            rows.append(
                [
                    shape.title,
                    f"{last.requests:,}",
                    f"{last.body_bytes:,}",
                    commits,
                    str(last.reconnects),
                    busy,
                    others,
                ]
            )
    return Table(
        "Counts of the runs of ours (the server counts the same as the client, or the figure is refused)", rows
    )


def goals(results: Results) -> Table:
    """Reached or not, and by what."""
    words = {True: "reached", False: "**not reached**", None: "not measured"}
    rows = [[row.goal, words[row.reached], row.shown_by] for row in verdicts(results)]
    return Table("Goals", [["goal", "", "by"], *rows])


def refused(results: Results) -> Table:
    """Figures that do not count."""
    rows = sorted({(results.titles[row.shape], row.server, row.reason) for row in results.refusals})
    return Table("Without a figure", [["shape", "server", "why"], *map(list, rows)])


Cell = Callable[[str, Shape], Spread | None]


def _of(shapes: Iterable[Shape], *, growth: bool) -> list[Shape]:
    return [shape for shape in shapes if shape.growth is growth]


def _per_server(results: Results, shapes: Iterable[Shape], cell: Cell, *, unit: bool = True) -> list[list[str]]:
    rows = [["shape", *results.servers]]
    for shape in shapes:
        cells = [_spread(cell(server, shape)) for server in results.servers]
        if any(text != NONE for text in cells):
            rows.append(
                [f"{shape.title}, {shape.unit}" if unit and shape.unit not in shape.title else shape.title, *cells]
            )
    used = [0, *(index for index in range(1, len(rows[0])) if any(row[index] != NONE for row in rows[1:]))]
    return [[row[index] for index in used] for row in rows]


def _spread(value: Spread | None) -> str:
    if value is None:
        return NONE
    if value.repeats == 1:
        return number(value.median)
    return f"{number(value.median)} ({number(value.least)}–{number(value.most)})"

"""`docs/performance.md` and its charts, made from results; nobody edits them by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench import tables
from bench.chart import bars, lines
from bench.method import ours, peers
from bench.results import Results
from bench.servers import OURS, SINK
from bench.shapes import Shape, Unit, amount

PAGE: Final = "performance.md"
CHARTS: Final = "performance"

METHOD: Final = """\
Every server is started anew on an empty folder of one file system for each measurement, warmed up with a few uploads
of 1 KiB, loaded, checked, ended, and its data removed. Within a repeat each shape goes to all servers in turn, and the
turn moves on by one with each repeat. Figures are medians over the repeats; the spread is the least and the most. The
time runs from the first request to the last answer, over the loopback; the client is raw sockets, epoll and `sendfile`
in processes of its own, on the same cores as the server. `sink` reads and discards: what the client could do. A figure
counts only if every upload was acknowledged, HEAD gives its length, every file has its size on the disk and one of them
the bytes that were sent; for ours the server's own counts of requests and bytes must be the client's."""

SAYS: Final = """\
- Ratios within one run on one machine. Another machine, disk or network moves all of the figures, and not by one
  factor.
- Client and server share the cores, so a server that leaves more of them to the client gains by it; CPU seconds a GiB
  say what it costs without that.
- `ours` makes bytes durable (`fdatasync`, then a commit) before it tells an offset. The peers that have no fsync in the
  table of system calls acknowledge what a power cut takes away; `ours-process` gives the promise that they give. Where
  the disk is the limit, `ours` cannot pass it, and a peer that leaves its bytes in the page cache can.
- CPU seconds are those of the server's processes; what the kernel's own threads do to write pages back is in nobody's.
  It is in *others' CPU* of the counts, with whatever else ran: where that is much, the figures beside it are noise.
- Peak memory is the kernel's high-water mark of resident memory, summed over the processes that still run at the end.
- Peers run as their documentation shows them, with their logs off; ours runs as installed, with its request log on.
- HEAD beside slow uploads asks for an upload that nobody writes to.
- Not measured here: S3, PostgreSQL, TLS, a network with latency, a million rows."""


def write(results: Results, shapes: Sequence[Shape], docs: Path) -> list[Path]:
    """The page, and the charts that it shows. Returns what was written."""
    folder = docs / CHARTS
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, chart in charts(results, shapes).items():
        path = folder / f"{name}.svg"
        path.write_text(chart, "utf-8")
        written.append(path)
    path = docs / PAGE
    path.write_text(page(results, shapes, [path.stem for path in written]), "utf-8")
    return [path, *written]


def charts(results: Results, shapes: Sequence[Shape]) -> dict[str, str]:
    """Name → SVG, of those that have figures."""
    by_name: dict[str, str] = {}
    for unit, name in ((Unit.STREAM, "streams"), (Unit.UPLOADS, "uploads")):
        groups = {
            shape.title: _medians(results, shape)
            for shape in shapes
            if shape.group == "shapes" and shape.unit is unit and _medians(results, shape)
        }
        if groups:
            by_name[name] = bars(f"Throughput by shape, {unit}", groups, list(results.servers))
    curves: tuple[tuple[str, str, str, Callable[[Shape], float], Callable[[float], str]], ...] = (
        (
            "size",
            "Growth by the size of a file, GiB/s",
            "size",
            lambda shape: shape.upload_bytes,
            lambda x: amount(int(x)),
        ),
        (
            "connections",
            "Growth by connections, uploads/s",
            "connections",
            lambda shape: shape.connections,
            lambda x: f"{x:,.0f}",
        ),
    )
    for name, title, group, where, label in curves:
        series = {
            server: points
            for server in (OURS, *peers(results))
            if (points := _points(results, server, [shape for shape in shapes if shape.group == group], where))
        }
        if series:
            by_name[name] = lines(title, series, label, list(results.servers))
    return by_name


def page(results: Results, shapes: Sequence[Shape], chart_names: Sequence[str]) -> str:
    """The whole text."""
    shown = "\n\n".join(f"![{name}]({CHARTS}/{name}.svg)" for name in chart_names)
    sections = [
        "# Performance",
        f"Made by `{results.command}` on {results.started}. Run it again to make this page anew on your machine.",
        _machine(results),
        shown,
        *(f"## {table.title}\n\n{table.markdown()}" for table in tables.all_tables(results, shapes)),
        f"## How it was measured\n\n{METHOD}",
        f"## What the figures say, and what they do not\n\n{SAYS}",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _machine(results: Results) -> str:
    disk = results.disk_gib_a_second
    machine = {**results.machine, **({"disk, 1 GiB and one fdatasync": f"{disk:.2f} GiB/s"} if disk else {})}
    rows = [["machine", ""], *([name, value] for name, value in machine.items())]
    servers = [["server", "version", "set up"]]
    servers += [[name, version, results.notes[name]] for name, version in results.servers.items()]
    parts = [_left(rows), _left(servers)]
    if results.missing:
        parts.append("Left out: " + "; ".join(results.missing) + ".")
    return "\n\n".join(parts)


def _left(rows: list[list[str]]) -> str:
    lines_ = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines_)


def _medians(results: Results, shape: Shape) -> dict[str, float]:
    figures = {name: results.figure(name, shape.name) for name in (*ours(results), *peers(results))}
    return {name: figure.median for name, figure in figures.items() if figure is not None and name != SINK}


def _points(
    results: Results, server: str, shapes: Sequence[Shape], where: Callable[[Shape], float]
) -> list[tuple[float, float]]:
    figures = ((where(shape), results.figure(server, shape.name)) for shape in shapes)
    return [(x, figure.median) for x, figure in figures if figure is not None]

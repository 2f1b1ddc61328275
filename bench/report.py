"""`docs/performance.md` and its charts, made from what is kept of each part; nobody edits them by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench import book, tables
from bench.book import PARTS, Book, shapes_of
from bench.chart import bars, lines
from bench.method import ours, peers
from bench.results import Results
from bench.servers import CEILINGS
from bench.shapes import Shape, Unit, amount

PAGE: Final = "performance.md"
CHARTS: Final = "performance"
KEPT: Final = CHARTS
"""Beside the charts: what the page is made of."""

METHOD: Final = """\
Every server is started anew on an empty folder of one file system, an empty database, an empty S3 endpoint for each
measurement, warmed up with a few uploads of 1 KiB, loaded, checked, ended, and its data removed. Within a repeat each
shape goes to all servers in turn, and the turn moves on by one with each repeat. Figures are medians over the
repeats; the spread is the least and the most. Parts may have been run at different times; every ratio is of one run.
The time runs from the first request to the last answer, over the loopback; the client is raw sockets, epoll and
`sendfile` in processes of its own, on the same cores as the server. `sink` reads and discards: what the client could
do. A figure counts only if every upload was acknowledged, HEAD gives its length, every file has its size on the disk
and one of them the bytes that were sent; for ours the server's own counts of requests and bytes must be the client's.

The S3 endpoint is the bench's own (`bench/s3_sink.py`): one process, on the same cores, that takes bytes and lets
them go, counts calls by operation, answers at once or after a latency that does not hold up other calls, and checks
no signature and no checksum. There a figure counts only if every upload is one object of its length, and the first
and last 32 bytes of each of its parts are those of its place; objects up to 8 MiB are read back and compared.
PostgreSQL is 18 with its defaults but for `shared_buffers` (64 MB) and connections: fsync and synchronous commits are
on. A million rows are put into the table by SQL, nine of ten finished, then `VACUUM (ANALYZE)` or `ANALYZE`, then the
load."""

SAYS: Final = """\
- Ratios within one run on one machine. Another machine, disk or network moves all of the figures, and not by one
  factor.
- Client and server share the cores, so a server that leaves more of them to the client gains by it; CPU seconds a GiB
  say what it costs without that.
- `ours` makes bytes durable (`fdatasync`, then a commit) before it tells an offset. The peers that have no fsync in
  the table of system calls acknowledge what a power cut takes away; `ours-process` gives the promise that they give.
  Where the disk is the limit, `ours` cannot pass it, and a peer that leaves its bytes in the page cache can.
- CPU seconds are those of the server's processes, PostgreSQL's beside them; what the kernel's own threads do to write
  pages back is in nobody's. It is in *others' CPU* of the counts, with whatever else ran: where that is much, the
  figures beside it are noise.
- Peak memory is the kernel's high-water mark of resident memory, summed over the processes that still run at the end.
- Peers run as their documentation shows them, with their logs off; ours runs as installed, with its request log on.
- HEAD beside slow uploads asks for an upload that nobody writes to, while all of them flow; a thousand that begin or
  end within one second are another load.
- The S3 endpoint costs about as little as one can; a real one has its own limits. Its bytes are not on any disk.
- `ours-stock`, `ours-quiet` and `sink` are measured once, for their place and not for their digits.
- Not measured here: TLS, more than one process, S3 across a network, Realtime (goal 7)."""


def write(made: Book, docs: Path) -> list[Path]:
    """Put parts in place of their older runs, make the page anew of all that are there. Returns what was written."""
    folder = docs / CHARTS
    written = book.save(made, docs / KEPT)
    whole = book.load(docs / KEPT)
    shown: dict[str, list[str]] = {}
    for part, results in whole.items():
        for name, chart in charts(results, shapes_of(results)).items():
            path = folder / f"{part}-{name}.svg"
            path.write_text(chart, "utf-8")
            written.append(path)
            shown.setdefault(part, []).append(path.stem)
    path = docs / PAGE
    path.write_text(page(whole, shown), "utf-8")
    return [path, *written]


def charts(results: Results, shapes: Sequence[Shape]) -> dict[str, str]:
    """Name → SVG, of those that have figures."""
    by_name: dict[str, str] = {}
    for unit, name in ((Unit.STREAM, "streams"), (Unit.UPLOADS, "uploads"), (Unit.TIME, "times")):
        groups = {
            shape.title: _medians(results, shape)
            for shape in shapes
            if shape.group == "shapes" and shape.unit is unit and not shape.ours_only and _medians(results, shape)
        }
        if groups:
            by_name[name] = bars(f"{PARTS[results.part]}, {unit}", groups, list(results.servers))
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
            for server in results.servers
            if server not in CEILINGS
            if (points := _points(results, server, [shape for shape in shapes if shape.group == group], where))
        }
        if series:
            by_name[name] = lines(title, series, label, list(results.servers))
    return by_name


def page(whole: Book, shown: dict[str, list[str]]) -> str:
    """The whole text. `shown`: part → names of its charts."""
    sections = [
        "# Performance",
        "Made by `python -m bench --write`, whole or part by part (`--only`); a part that is run again takes the place "
        "of its older run. Nobody edits this page by hand.",
        f"## Goals\n\n{tables.goals(whole).markdown()}",
        f"## What was run\n\n{_runs(whole)}",
    ]
    for part, results in whole.items():
        sections.append(f"## {PARTS[part]}\n\n{_servers(results)}")
        sections += [f"![{name}]({CHARTS}/{name}.svg)" for name in shown.get(part, [])]
        found = tables.all_tables(results, shapes_of(results))
        sections += [f"### {PARTS[part]}: {table.title}\n\n{table.markdown()}" for table in found]
    sections += [
        f"## How it was measured\n\n{METHOD}",
        f"## What the figures say, and what they do not\n\n{SAYS}",
    ]
    return "\n\n".join(sections) + "\n"


def _runs(whole: Book) -> str:
    rows = [["part", "date", "commit", "repeats", "command", "cut short"]]
    for part, results in whole.items():
        repeats = 1 + max((sample.repeat for sample in results.samples), default=-1)
        rows.append(
            [PARTS[part], results.started, results.commit, str(repeats), f"`{results.command}`", results.cut or "no"]
        )
    facts = list(dict.fromkeys(name for results in whole.values() for name in _facts(results)))
    machines = [["machine", *(PARTS[part] for part in whole)]]
    machines += [[name, *(_facts(results).get(name, "–") for results in whole.values())] for name in facts]
    # What is the same for all parts is said once.
    if all(len(set(row[1:])) == 1 for row in machines[1:]):
        machines = [["machine", ""], *([row[0], row[1]] for row in machines[1:])]
    return f"{_left(rows)}\n\n{_left(machines)}"


def _facts(results: Results) -> dict[str, str]:
    disk = results.disk_gib_a_second
    return {**results.machine, **({"disk, 1 GiB and one fdatasync": f"{disk:.2f} GiB/s"} if disk else {})}


def _servers(results: Results) -> str:
    rows = [["server", "version", "set up"]]
    rows += [[name, version, results.notes[name]] for name, version in results.servers.items()]
    text = _left(rows)
    wants_s3 = results.part in ("s3", "latency")
    missing = [reason for reason in results.missing if (" s3" in reason or "+s3" in reason) is wants_s3]
    return f"{text}\n\nLeft out: {'; '.join(missing)}." if missing else text


def _left(rows: list[list[str]]) -> str:
    lines_ = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines_)


def _medians(results: Results, shape: Shape) -> dict[str, float]:
    figures = {name: results.figure(name, shape.name) for name in (*ours(results), *peers(results))}
    return {name: figure.median for name, figure in figures.items() if figure is not None and name not in CEILINGS}


def _points(
    results: Results, server: str, shapes: Sequence[Shape], where: Callable[[Shape], float]
) -> list[tuple[float, float]]:
    figures = ((where(shape), results.figure(server, shape.name)) for shape in shapes)
    return [(x, figure.median) for x, figure in figures if figure is not None]

"""The tables: one function each, for the terminal and for the page alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from bench.book import Book
from bench.calls import COUNTED, syncs
from bench.chart import number
from bench.goals import verdicts
from bench.method import ours, peers
from bench.results import Results, Sample, Spread, spread
from bench.s3_servers import OURS_S3
from bench.servers import OURS
from bench.shapes import GIBIBYTE, MEBIBYTE, Shape, Unit

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
    """Every table that a part has figures for; of a quick run the counts alone, for its seconds mean nothing."""
    if results.size == "quick":
        counts = (s3_calls(results, shapes), client(results, shapes), refused(results))
        return [table for table in counts if len(table.rows) > 1]
    tables = [
        figures(results, shapes),
        ratios(results, shapes),
        costs(results, shapes),
        small_costs(results, shapes),
        memory(results, shapes),
        growth(results, shapes),
        s3_calls(results, shapes),
        sql(results),
        system_calls(results),
        client(results, shapes),
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
                if ratio and shape.unit.less_is_better:
                    ratio = 1 / ratio
                cells.append(f"{ratio:.2f}×" if ratio else NONE)
        if any(cell != NONE for cell in cells):
            rows.append([shape.title, *cells])
    return Table("Ratios of the medians (more is better for us, also of times)", rows if names else rows[:1])


def costs(results: Results, shapes: Sequence[Shape]) -> Table:
    """CPU of the server's processes, for streams."""
    streams = [shape for shape in _of(shapes, growth=False) if shape.upload_bytes >= MEBIBYTE and not shape.seconds]
    return Table(
        "CPU seconds a GiB (user + system, whole process tree)",
        _with_postgres(
            results,
            streams,
            lambda sample: sample.cpu_seconds_a_gibibyte,
            lambda sample, seconds: seconds / (sample.body_bytes / GIBIBYTE),
        ),
    )


def small_costs(results: Results, shapes: Sequence[Shape]) -> Table:
    """CPU of a request, for small uploads, HEADs and PATCHes into a full table."""
    small = [shape for shape in shapes if shape.unit in (Unit.UPLOADS, Unit.REQUESTS) and shape.group != "connections"]
    return Table(
        "CPU milliseconds a request (user + system, whole process tree)",
        _with_postgres(
            results,
            small,
            lambda sample: sample.cpu_ms_a_request,
            lambda sample, seconds: 1000 * seconds / sample.requests,
        ),
    )


def _with_postgres(
    results: Results,
    shapes: Sequence[Shape],
    of_server: Callable[[Sample], float],
    of_postgres: Callable[[Sample, float], float],
) -> list[list[str]]:
    def own(name: str) -> Cell:
        return lambda shape: spread(map(of_server, results.of(name, shape.name)))

    def below(name: str) -> Cell:
        return lambda shape: spread(
            of_postgres(sample, sample.postgres_cpu_seconds or 0.0) for sample in results.of(name, shape.name)
        )

    columns: dict[str, Cell] = {}
    for name in results.servers:
        columns[name] = own(name)
        if any(sample.postgres_cpu_seconds is not None for sample in results.samples if sample.server == name):
            columns[f"{name}: its PostgreSQL"] = below(name)
    return _columns(columns, shapes, unit=False)


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


def s3_calls(results: Results, shapes: Sequence[Shape]) -> Table:
    """What an upload asks of S3."""
    rows = [["shape", "server", "S3 calls an upload", "of them", "bytes written", "bytes read back"]]
    for shape in shapes:
        of = shape.uploads or shape.heads
        for server in results.servers:
            samples = [sample for sample in results.of(server, shape.name) if sample.s3 is not None]
            if not samples or shape.rows:
                continue
            last = samples[-1]
            sent, read = last.s3_bytes
            calls = [sample.s3_calls / of for sample in samples]
            least, most = (f"{value:,.4g}" for value in (min(calls), max(calls)))
            named = sorted((last.s3 or {}).items(), key=lambda item: -item[1].calls)
            times = [f"{value / last.body_bytes:.2f}×" if last.body_bytes else f"{value:,} B" for value in (sent, read)]
            rows.append(
                [
                    shape.title,
                    server,
                    least if least == most else f"{least}–{most}",
                    ", ".join(f"{row.calls / of:.4g} {name}" for name, row in named) or NONE,
                    *times,
                ]
            )
    title = "S3 calls an upload (of HEADs: a HEAD), and bytes as a multiple of the upload's"
    return Table(title, rows)


def sql(results: Results) -> Table:
    """What an upload asks of PostgreSQL."""
    rows = [["shape", "server", "SQL statements an upload", "of them"]]
    for row in results.statements:
        words = ", ".join(f"{number:.3g} {word}" for word, number in row.statements.items())
        rows.append(
            [results.titles.get(row.shape, row.shape), row.server, f"{sum(row.statements.values()):.3g}", words or NONE]
        )
    return Table(
        "SQL statements an upload, with those of the background (PostgreSQL's log, in runs of their own)", rows
    )


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
    head = ["shape", "server", "requests", "bytes", "commits", "reconnects", "client's CPU / time", "S3 sink's"]
    rows = [[*head, "others' CPU / time"]]
    for shape in shapes:
        for server in (OURS, OURS_S3):
            samples = results.of(server, shape.name)
            if not samples:
                continue
            last = samples[-1]
            rows.append(
                [
                    shape.title,
                    server,
                    f"{last.requests:,}",
                    f"{last.body_bytes:,}",
                    NONE if last.commits is None else f"{last.commits:,}",
                    str(last.reconnects),
                    f"{last.client_cpu_seconds / last.seconds:.0%}",
                    NONE if last.s3_cpu_seconds is None else f"{last.s3_cpu_seconds / last.seconds:.0%}",
                    f"{max(sample.other_cpu_seconds / sample.seconds for sample in samples):.0%}",
                ]
            )
    return Table(
        "Counts of the runs of ours (the server counts the same as the client, or the figure is refused)", rows
    )


def goals(book: Book) -> Table:
    """Reached or not, and by what."""
    words = {True: "reached", False: "**not reached**", None: "not measured"}
    rows = [[row.goal, words[row.reached], row.shown_by] for row in verdicts(book)]
    return Table("Goals", [["goal", "", "by"], *rows])


def refused(results: Results) -> Table:
    """Figures that do not count."""
    rows = sorted({(results.titles[row.shape], row.server, row.reason) for row in results.refusals})
    return Table("Without a figure", [["shape", "server", "why"], *map(list, rows)])


Cell = Callable[[Shape], Spread | None]


def _of(shapes: Iterable[Shape], *, growth: bool) -> list[Shape]:
    return [shape for shape in shapes if shape.growth is growth]


def _per_server(
    results: Results, shapes: Iterable[Shape], cell: Callable[[str, Shape], Spread | None], *, unit: bool = True
) -> list[list[str]]:
    columns: dict[str, Cell] = {server: partial(cell, server) for server in results.servers}
    return _columns(columns, shapes, unit=unit)


def _columns(columns: Mapping[str, Cell], shapes: Iterable[Shape], *, unit: bool) -> list[list[str]]:
    rows = [["shape", *columns]]
    for shape in shapes:
        cells = [_spread(cell(shape)) for cell in columns.values()]
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

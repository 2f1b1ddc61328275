"""The command line of the bench."""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

from bench import calls, method, report, tables
from bench.measure import Place
from bench.results import Results
from bench.servers import OURS, SINK, STORES, Server
from bench.shapes import Shape, Size, shapes
from bench.source import Source

REPOSITORY: Final = Path(__file__).parents[1]
RESULTS: Final = REPOSITORY / "bench" / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for. Exit status 1: a figure was refused, or a server was not found."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser()
    options = parser.parse_args(given)
    if options.quick and options.write is not None:
        parser.error("a quick run has no figures to write")
    if options.render is not None:
        results = Results.load(options.render)
        return _show(results, shapes(_size(results.size)), options)
    size: Size = "quick" if options.quick else "full" if options.full else "normal"
    found, missing = STORES[options.store](options.tusd)
    servers, chosen = _choose(found, options.servers), _choose_shapes(shapes(size), options.shapes)
    if not servers or not chosen:
        print(
            f"nothing to measure; servers: {', '.join(server.name for server in found)}; "
            f"shapes: {', '.join(shape.name for shape in shapes(size))}",
            file=sys.stderr,
        )
        return 2
    folder = Path(tempfile.mkdtemp(prefix="tuspy-bench-", dir=options.folder))
    results = Results(
        started=f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC",
        command=" ".join(("python -m bench", *given)),
        size=size,
        machine=method.describe_machine(folder),
        servers={server.name: server.version for server in servers},
        notes={server.name: server.note for server in servers},
        missing=missing,
        titles={shape.name: shape.title for shape in shapes(size)},
    )
    for reason in missing:
        _say(f"left out: {reason}")
    try:
        _measure(results, servers, chosen, folder, options)
    except KeyboardInterrupt:
        _say("ended by Ctrl-C: what follows is what there is")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _show(results, chosen, options)


def _measure(
    results: Results, servers: Sequence[Server], chosen: Sequence[Shape], folder: Path, options: argparse.Namespace
) -> None:
    with Source(folder / "source") as source:
        place = Place(folder, source)
        if results.size != "quick":
            results.disk_gib_a_second = method.disk_gib_a_second(folder)
            _say(f"the disk takes {results.disk_gib_a_second:.2f} GiB/s")
            results.calls.extend(calls.count(servers, place))
        repeats = options.repeats or (1 if results.size == "quick" else 5)
        method.run(results, servers, chosen, place, repeats=repeats, minutes=options.minutes, say=_say)


def _show(results: Results, chosen: Sequence[Shape], options: argparse.Namespace) -> int:
    for table in tables.all_tables(results, chosen):
        print(f"\n{table.text()}")
    saved = options.json or RESULTS / "latest.json"
    results.save(saved)
    print(f"\nresults: {saved}")
    if options.write is not None:
        for path in report.write(results, chosen, options.write):
            print(f"written: {path}")
    return 1 if any(row.server.startswith((OURS, SINK)) for row in results.refusals) else 0


def _choose(found: Sequence[Server], names: str | None) -> list[Server]:
    wanted = None if names is None else names.split(",")
    return [server for server in found if wanted is None or server.name in wanted]


def _choose_shapes(known: Sequence[Shape], names: str | None) -> list[Shape]:
    wanted = None if names is None else names.split(",")
    return [shape for shape in known if wanted is None or shape.name in wanted or shape.group in wanted]


def _size(text: str) -> Size:
    return next(size for size in get_args(Size) if size == text)


def _say(text: str) -> None:
    print(text, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Our server and its peers under one load.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small, once: for its counts, never its seconds")
    size.add_argument("--full", action="store_true", help="also 8 × 1 GiB at once, and files up to 15 GiB")
    parser.add_argument("--store", choices=tuple(STORES), default="files", help="where the bytes go")
    parser.add_argument("--servers", metavar="NAMES", help=f"only these, with commas: {OURS},{SINK},…")
    parser.add_argument("--shapes", metavar="NAMES", help="only these shapes or groups: one,small,size,connections,…")
    parser.add_argument("--repeats", type=int, metavar="N", help="of each measurement; else 5, --quick 1")
    parser.add_argument("--minutes", type=float, default=120, help="begin nothing new after so many (120)")
    parser.add_argument(
        "--folder", type=Path, help="for the data of all servers; else the system's, which may be no disk"
    )
    parser.add_argument("--tusd", metavar="PATH", help="a tusd program; auto: on the PATH, else by go install")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="where results are kept; else bench/results/latest.json"
    )
    parser.add_argument("--render", type=Path, metavar="FILE", help="measure nothing, show kept results")
    parser.add_argument(
        "--write",
        type=Path,
        nargs="?",
        const=REPOSITORY / "docs",
        metavar="DOCS",
        help="write performance.md and its charts into this folder; docs/ where none is named",
    )
    return parser

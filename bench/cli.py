"""The command line of the bench."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench import book, calls, method, report, s3_servers, statements, tables
from bench.book import PARTS, Book
from bench.place import Place, spread
from bench.results import Results
from bench.s3_shapes import shapes
from bench.servers import CEILINGS, OURS
from bench.services import Postgres
from bench.shapes import Part, Shape, Size
from bench.site import Server
from bench.source import Source
from bench.wire import Broken

REPOSITORY: Final = Path(__file__).parents[1]
KEPT: Final = REPOSITORY / "bench" / "results"
DOCS: Final = REPOSITORY / "docs"
REPEATS: Final = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for. Exit status 1: a figure was refused, or a server was not found."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser()
    options = parser.parse_args(given)
    narrowed = options.quick or options.servers or options.shapes
    if narrowed and options.write == DOCS:
        parser.error("the page has whole parts: no --quick, --servers or --shapes")
    if options.render is not None:
        return _show(book.load(options.render), options)
    size: Size = "quick" if options.quick else "full" if options.full else "normal"
    found, missing = s3_servers.find(options.tusd)
    servers, chosen = _choose(found, options.servers), _choose_shapes(shapes(size), options.only, options.shapes)
    chosen = [shape for shape in chosen if any(method.wanted(server, shape) for server in servers)]
    servers = [server for server in servers if any(method.wanted(server, shape) for shape in chosen)]
    if not servers:
        print(
            f"nothing to measure; servers: {', '.join(server.name for server in found)}; parts: {', '.join(PARTS)}; "
            f"shapes: {', '.join(shape.name for shape in shapes(size))}",
            file=sys.stderr,
        )
        return 2
    folder = Path(tempfile.mkdtemp(prefix="tuspy-bench-", dir=options.folder))
    # PostgreSQL, which does not run as root, has its data below it.
    folder.chmod(0o711)
    spread(folder)
    made = _empty(servers, chosen, size, folder, " ".join(("python -m bench", *given)), missing)
    for reason in missing:
        _say(f"left out: {reason}")
    try:
        _measure(made, servers, chosen, folder, options)
    except KeyboardInterrupt:
        _say("ended by Ctrl-C: what follows is what there is")
        for results in made.values():
            results.cut = "ended by hand before it was done"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _show(made, options)


def _empty(
    servers: Sequence[Server], chosen: Sequence[Shape], size: Size, folder: Path, command: str, missing: list[str]
) -> Book:
    started, machine, commit = (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC",
        method.describe_machine(folder),
        method.commit(REPOSITORY),
    )
    made: Book = {}
    for part in PARTS:
        of_part = [shape for shape in chosen if shape.part == part]
        takers = [server for server in servers if any(method.wanted(server, shape) for shape in of_part)]
        if of_part:
            made[part] = Results(
                part=part,
                started=started,
                commit=commit,
                command=command,
                size=size,
                machine=machine,
                servers={server.name: server.version for server in takers},
                notes={server.name: server.note for server in takers},
                missing=missing,
                titles={shape.name: shape.title for shape in of_part},
            )
    return made


def _measure(
    made: Book, servers: Sequence[Server], chosen: Sequence[Shape], folder: Path, options: argparse.Namespace
) -> None:
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(Source(folder / "source"))
        postgres = None
        if any(server.postgres for server in servers):
            try:
                postgres = stack.enter_context(Postgres(folder / "postgres"))
            except Broken as error:
                _say(f"no PostgreSQL: {error}")
        place = Place(folder, source, postgres)
        if not options.quick:
            _beside(made, servers, place)
        repeats = options.repeats or (1 if options.quick else REPEATS)
        method.run(made, servers, chosen, place, repeats=repeats, minutes=options.minutes, say=_say)


def _beside(made: Book, servers: Sequence[Server], place: Place) -> None:
    disk = method.disk_gib_a_second(place.folder)
    _say(f"the disk takes {disk:.2f} GiB/s")
    for results in made.values():
        results.disk_gib_a_second = disk
    if "files" in made:
        made["files"].calls.extend(calls.count([server for server in servers if server.store == "files"], place))
    if "s3" in made:
        made["s3"].statements.extend(statements.count(servers, place, "normal"))


def _show(made: Book, options: argparse.Namespace) -> int:
    for part, results in made.items():
        print(f"\n=== {PARTS[part]}, {results.started}, {results.commit}")
        for table in tables.all_tables(results, book.shapes_of(results)):
            print(f"\n{table.text()}")
    if any(results.size != "quick" for results in made.values()):
        print(f"\n{tables.goals(made).text()}")
    if options.render is None:
        for path in book.save(made, options.keep):
            print(f"kept: {path}")
    if options.write is not None:
        for path in report.write(made, options.write):
            print(f"written: {path}")
    refusals = [row for results in made.values() for row in results.refusals]
    return 1 if any(row.server.startswith(OURS) or row.server in CEILINGS for row in refusals) else 0


def _choose(found: Sequence[Server], names: str | None) -> list[Server]:
    wanted = None if names is None else names.split(",")
    return [server for server in found if wanted is None or server.name in wanted]


def _choose_shapes(known: Sequence[Shape], parts: Sequence[Part] | None, names: str | None) -> list[Shape]:
    wanted = None if names is None else names.split(",")
    return [
        shape
        for shape in known
        if (parts is None or shape.part in parts) and (wanted is None or shape.name in wanted or shape.group in wanted)
    ]


def _parts(text: str) -> list[Part]:
    given = text.split(",")
    chosen = [part for part in PARTS if part in given]
    if len(chosen) != len(given):
        raise argparse.ArgumentTypeError(f"parts are {', '.join(PARTS)}")
    return chosen


def _say(text: str) -> None:
    print(text, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Our server and its peers under one load.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small, once: for its counts, never its seconds")
    size.add_argument(
        "--full", action="store_true", help="the peers too with 8 × 1 GiB at once, and files up to 15 GiB"
    )
    parser.add_argument("--only", type=_parts, metavar="PARTS", help=f"with commas, of {', '.join(PARTS)}; else all")
    parser.add_argument("--servers", metavar="NAMES", help=f"only these, with commas: {OURS},{CEILINGS[0]},…")
    parser.add_argument("--shapes", metavar="NAMES", help="only these shapes or groups: one,small,size,connections,…")
    parser.add_argument("--repeats", type=int, metavar="N", help=f"of each measurement; else {REPEATS}, --quick 1")
    parser.add_argument("--minutes", type=float, default=35, help="begin nothing new after so many (35)")
    parser.add_argument(
        "--folder", type=Path, help="for the data of all servers; else the system's, which may be no disk"
    )
    parser.add_argument("--tusd", metavar="PATH", help="a tusd program; auto: that of the PATH, else made by go")
    parser.add_argument(
        "--keep", type=Path, default=KEPT, metavar="FOLDER", help="where results are kept; else bench/results"
    )
    parser.add_argument(
        "--render", type=Path, nargs="?", const=DOCS / report.KEPT, metavar="FOLDER", help="measure nothing, show kept"
    )
    parser.add_argument(
        "--write",
        type=Path,
        nargs="?",
        const=DOCS,
        metavar="DOCS",
        help="put the parts that were run in place of their older ones in this folder, docs/ where none is named, and "
        "make performance.md and its charts anew from all that are there",
    )
    return parser

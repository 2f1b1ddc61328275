"""SQL statements of one upload, counted in PostgreSQL's own log: in runs of their own, for a log costs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from bench import load
from bench.measure import FEW_SECONDS, parts, warm_up
from bench.place import Place
from bench.process import Running
from bench.results import Statements
from bench.s3_shapes import shapes
from bench.services import services
from bench.shapes import Shape, Size
from bench.site import Server
from bench.wire import Broken

COUNTED: Final = ("s3-small", "s3-creation", "s3-hundred", "s3-chunks", "s3-head")
STATEMENT: Final = re.compile(r"LOG:  (?:statement|execute [^:\n]*): (.*(?:\n\t.*)*)")
"""Of the log: further lines of a statement begin with a tab."""

COMMENT: Final = re.compile(r"--.*")
CHANGES: Final = re.compile(r"\b(INSERT|UPDATE|DELETE)\b")


def count(servers: Sequence[Server], place: Place, size: Size) -> list[Statements]:
    """Of each server with a database, and each of the counted shapes."""
    counted = []
    for shape in (shape for shape in shapes(size) if shape.name in COUNTED):
        for server in servers:
            row = _count(server, shape, place) if server.postgres else None
            if row is not None:
                counted.append(row)
    return counted


def _count(server: Server, shape: Shape, place: Place) -> Statements | None:
    try:
        with (
            place.run_folder() as folder,
            services(server, folder, place.postgres, log_statements=True) as below,
        ):
            if below.postgres is None or below.s3 is None:
                return None
            url = below.s3.url
            with Running(server, folder, s3_url=url, database_url=below.database_url) as running:
                targets = warm_up(running, place.source)
                log = below.postgres.log_path
                before = log.stat().st_size
                load.run(running.port, place.source, parts(running, shape, targets), FEW_SECONDS)
                below.s3.settle()
                counts = parse(log.read_bytes()[before:].decode())
    except Broken:
        return None
    of = shape.uploads or shape.heads
    return Statements(
        server=server.name, shape=shape.name, statements={word: number / of for word, number in sorted(counts.items())}
    )


def parse(log: str) -> Counter[str]:
    """Statements by what they do, of a log that `log_statement = 'all'` has written."""
    return Counter(_verb(COMMENT.sub("", text)) for text in STATEMENT.findall(log))


def _verb(text: str) -> str:
    words = text.split(None, 1)
    verb = words[0].upper().rstrip(";") if words else "nothing"
    if verb == "WITH":
        # What it changes first is what it is for.
        changes = CHANGES.search(text)
        return changes[1] if changes else "SELECT"
    return verb

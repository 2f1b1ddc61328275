"""All parts together: each from its newest run, which may have been at another time than the others'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, get_args

from bench.results import Results
from bench.s3_shapes import shapes
from bench.shapes import Part, Shape, Size

PARTS: Final[Mapping[Part, str]] = {
    "files": "Files",
    "load": "Files: much at once",
    "growth": "Files: growth",
    "rows": "A million rows",
    "s3": "S3",
    "latency": "S3, 30 ms a call",
    "events": "Events",
}
"""Every part and its title, in the order in which they are shown."""

Book = dict[Part, Results]


def load(folder: Path) -> Book:
    """The parts that are kept in a folder."""
    kept = {part: folder / f"{part}.json" for part in PARTS}
    return {part: Results.load(path) for part, path in kept.items() if path.exists()}


def save(book: Book, folder: Path) -> list[Path]:
    """Each part in a file of its own, in place of what an earlier run has left; returns them."""
    paths = []
    for part, results in book.items():
        path = folder / f"{part}.json"
        results.save(path)
        paths.append(path)
    return paths


def shapes_of(results: Results) -> list[Shape]:
    """Of its part, in the size in which it was run."""
    size: Size = next(size for size in get_args(Size) if size == results.size)
    return [shape for shape in shapes(size) if shape.part == results.part]

"""The registry: which requirement each case judges, and how a case says what it found.

A case is a coroutine function that takes a `Tus` client, returns if the server behaves, and raises `Failure` or `Skip`
if not. What it judges is a row of one of the CSV files in `rows/`; the row's text is the case's documentation.
"""

import csv
import importlib
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

from conformance.message import Response

if TYPE_CHECKING:
    from conformance.client import Tus

CaseFunction = Callable[["Tus"], Awaitable[None]]
Chapter = Literal["tus", "user", "rufh"]


class Level(StrEnum):
    """How much a row weighs; only MUST decides the exit status."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    PRACTICE = "PRACTICE"
    MAY = "MAY"


@dataclass(frozen=True)
class Requirement:
    """One row of a requirements CSV."""

    id: str
    extension: str
    level: Level
    request: str
    expected: str
    source: str
    chapter: Chapter

    @property
    def heading(self) -> str:
        """The extension as tables name it; the chapters beyond tus 1.0.0 keep their own headings."""
        return self.extension if self.chapter == "tus" else f"{self.chapter}: {self.extension}"


class Skip(Exception):
    """The case cannot judge this server; the message says why."""


class Failure(Exception):
    """The server does not do what the row expects.

    Args:
        expected: what should have been, and what was.
        response: the response that shows it; without one the report shows the last exchange.
        level: set where one row holds rules of two levels; else the row's own level counts.
    """

    def __init__(self, expected: str, response: Response | None = None, level: Level | None = None) -> None:
        super().__init__(expected)
        self.expected = expected
        self.response = response
        self.level = level


@dataclass(frozen=True)
class Case:
    """A requirement and the function that judges a server by it.

    `unadvertised`: run even if the server does not advertise the row's extension.
    `alone`: not run beside other cases, because it measures time or loads the server.
    """

    requirement: Requirement
    function: CaseFunction
    unadvertised: bool = False
    alone: bool = False

    @property
    def id(self) -> str:
        """The row's id, which names the case everywhere."""
        return self.requirement.id


_registry: dict[str, Case] = {}


@cache
def requirements() -> dict[str, Requirement]:
    """Return all rows by id, in the order of the files."""
    rows: dict[str, Requirement] = {}
    chapters: tuple[Chapter, ...] = ("tus", "user", "rufh")
    for chapter in chapters:
        text = files("conformance").joinpath("rows", f"{chapter}-requirements.csv").read_text(encoding="utf-8")
        for row in csv.DictReader(text.splitlines()):
            level = Level(row.pop("level"))
            rows[row["id"]] = Requirement(level=level, chapter=chapter, **row)
    return rows


def case(row_id: str, *, unadvertised: bool = False, alone: bool = False) -> Callable[[CaseFunction], CaseFunction]:
    """Register a function as the case of the row with this id; see `Case` for the options."""

    def register(function: CaseFunction) -> CaseFunction:
        if row_id in _registry:
            raise ValueError(f"two cases for {row_id}")
        _registry[row_id] = Case(requirements()[row_id], function, unadvertised, alone)
        return function

    return register


async def _unwritten(_tus: "Tus") -> None:
    raise Skip("no case is written for this row yet")


@cache
def all_cases() -> tuple[Case, ...]:
    """Import every chapter and return its cases in the order of the requirements."""
    package = importlib.import_module("conformance.cases")
    for module in pkgutil.iter_modules(package.__path__, "conformance.cases."):
        importlib.import_module(module.name)
    for row_id, row in requirements().items():
        if row.chapter == "rufh" and row_id not in _registry:
            _registry[row_id] = Case(row, _unwritten)
    return tuple(_registry[row_id] for row_id in requirements() if row_id in _registry)

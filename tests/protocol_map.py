"""Writes `docs/protocol.md` from the requirements and the tests: `python -m tests.protocol_map`; a test holds it.

Which file obeys a row, and why a row is not obeyed to the letter, people say in `protocol_map.toml`. Which tests show
it is found by its id: in a test's parameters or docstring, and in the conformance cases, which run against our server
too.
"""

from __future__ import annotations

import ast
import csv
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "protocol.md"
ROWS: Final = ROOT / "conformance" / "rows" / "tus-requirements.csv"

_ID: Final = re.compile(r"\b(?:CORE|CREA|CWU|DEFER|EXP|CSUM|TRLR|TERM|CONC)(?:-[A-Z]+)?-\d\d\b")


@dataclass(frozen=True)
class Map:
    """What people have said of rows, by id: the files that obey, tests that cite no ids, decisions."""

    obeyed_in: Mapping[str, str]
    shown: Mapping[str, str]
    decided: Mapping[str, str]


def requirements() -> list[dict[str, str]]:
    """The rows of tus 1.0.0, in their order."""
    with ROWS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def hand_written() -> Map:
    """`protocol_map.toml`: there, `CORE-HEAD` stands for all of its rows that are not named themselves."""
    said = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return Map(_by_row(said["files"]), _by_row(said["shown"]), _by_row(said["decided"]))


def _by_row(said: Mapping[str, str]) -> dict[str, str]:
    rows = [row["id"] for row in requirements()]
    unknown = said.keys() - rows - {row.rpartition("-")[0] for row in rows}
    if unknown:
        raise ValueError(f"no such rows: {sorted(unknown)}")
    found = {row: said.get(row) or said.get(row.rpartition("-")[0]) for row in rows}
    return {row: text for row, text in found.items() if text}


def citations() -> dict[str, list[str]]:
    """For each id the tests that cite it, as links from the page."""
    found: dict[str, list[str]] = defaultdict(list)
    files = [*sorted((ROOT / "tests").rglob("test_*.py")), *sorted((ROOT / "conformance" / "cases").glob("*.py"))]
    for file in files:
        # The tests of `conformance` break another server on purpose; they show nothing of ours.
        if "node_modules" in file.parts or file.is_relative_to(ROOT / "tests" / "conformance"):
            continue
        for name, rows in _cited_in(file):
            for row in rows:
                found[row].append(f"[{name}](../{file.relative_to(ROOT)})")
    for row, test in hand_written().shown.items():
        path, _, name = test.partition("::")
        if f"def {name}(" not in (ROOT / "tests" / path).read_text("utf-8"):
            raise ValueError(f"there is no {test}")
        found[row].append(f"[{name}](../tests/{path})")
    return found


def _cited_in(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Each function of a file with the ids that it cites, its decorators included."""
    source = file.read_text("utf-8")
    lines = source.splitlines()
    is_case = file.parent.name == "cases"
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        text = "\n".join(lines[first - 1 : node.end_lineno])
        if is_case:
            # A case may mention other rows; it judges the one that it is registered for.
            yield f"conformance: {node.name}", re.findall(r'^@case\("([^"]+)"', text, re.MULTILINE)
        elif node.name.startswith("test_"):
            yield node.name, list(dict.fromkeys(_ID.findall(text)))


def page() -> str:
    """The whole page."""
    said, tests = hand_written(), citations()
    lines = [
        "# The protocol, requirement by requirement",
        "",
        "Made by `python -m tests.protocol_map`. Rows come from `conformance/rows/tus-requirements.csv`, which says of",
        "each what is sent, what is expected, and where it is written. MUST, SHOULD and MAY are the specification's",
        "words; PRACTICE is what servers and clients in the field agree on. *Decided* rows are explained in the last",
        "table.",
    ]
    sections: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in requirements():
        sections[row["extension"]].append(row)
    for extension, rows in sections.items():
        lines += ["", f"## {extension}", "", "| id | level | request | obeyed in | shown by |", "|---|---|---|---|---|"]
        lines += [_row(row, said, tests) for row in rows]
    lines += ["", "## Decided, or not for this server", "", "| id | what we do, and why |", "|---|---|"]
    for reason, group in groupby(said.decided.items(), key=itemgetter(1)):
        names = [name for name, _ in group]
        lines.append(f"| {' to '.join(dict.fromkeys((names[0], names[-1])))} | {reason} |")
    return "\n".join(lines) + "\n"


def _row(row: Mapping[str, str], said: Map, tests: Mapping[str, list[str]]) -> str:
    name = row["id"]
    files = (f"[{file}](../tuspy_server/{file})" for file in said.obeyed_in.get(name, "").split())
    where = ", ".join((*files, *(["*decided*"] if name in said.decided else [])))
    request = row["request"].replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;").replace("_", "\\_")
    return f"| {name} | {row['level']} | {request} | {where} | {', '.join(tests.get(name, []))} |"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")

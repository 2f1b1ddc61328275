"""What a run found, as text for a terminal, as JUnit XML, as Markdown and as JSON."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree as ET

from conformance import __version__
from conformance.case import Level
from conformance.runner import Result
from conformance.target import Target

MARKS = {"passed": ".", "failed": "F", "skipped": "s"}


def counts(results: Sequence[Result]) -> str:
    """Return the last line of a run: `N passed, N failed, N skipped`."""
    by_status = Counter(result.status for result in results)
    return ", ".join(f"{by_status[status]} {status}" for status in ("passed", "failed", "skipped"))


def must_failed(results: Sequence[Result]) -> bool:
    """Whether a rule of level MUST failed, which decides the exit status."""
    return any(result.status == "failed" and result.level is Level.MUST for result in results)


def headings(results: Sequence[Result]) -> list[str]:
    """Return the headings of the results, each once, in their order."""
    return list(dict.fromkeys(result.requirement.heading for result in results))


def _cells(results: Sequence[Result], heading: str) -> Iterator[str]:
    for level in Level:
        mine = [r for r in results if r.requirement.heading == heading and r.level is level and r.status != "skipped"]
        passed = sum(result.status == "passed" for result in mine)
        yield f"{passed}/{len(mine)}" if mine else "-"
    yield str(sum(r.requirement.heading == heading and r.status == "skipped" for r in results))


def table(results: Sequence[Result]) -> str:
    """Return a table by extension and level; a cell reads passed/judged."""
    width = max(len(heading) for heading in [*headings(results), "extension"])
    lines = [f"{'extension':<{width}}" + "".join(f"{level:>10}" for level in [*Level, "skipped"])]
    lines += [
        f"{heading:<{width}}" + "".join(f"{cell:>10}" for cell in _cells(results, heading))
        for heading in headings(results)
    ]
    return "\n".join(lines)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def failure(result: Result) -> str:
    """Return a failure in full: the rule, its source, what was expected, and the exchanges that show it."""
    row = result.requirement
    lines = [
        f"{result.level} {row.id} ({row.heading})",
        f"  request:  {row.request}",
        f"  rule:     {row.expected}",
        f"  source:   {row.source}",
        f"  expected: {result.detail}",
    ]
    for exchange in result.exchanges:
        events = "".join(f"\n({event})" for event in exchange.events)
        lines += ["  request head:", _indented(exchange.request + events)]
        lines += ["  response head:", _indented(exchange.response or "(none)")]
    lines += [f"  note:     {note}" for note in result.notes]
    return "\n".join(lines)


def as_dict(target: Target, results: Sequence[Result]) -> dict[str, Any]:
    """Return a run as plain data; this is what the JSON file holds."""
    return {
        "tool": f"tus-conformance {__version__}",
        "url": target.url,
        "server": target.server,
        "extensions": sorted(target.extensions),
        "seed": target.options.seed,
        "counts": counts(results),
        "must_failed": must_failed(results),
        "results": [
            {
                "id": result.id,
                "extension": result.requirement.extension,
                "chapter": result.requirement.chapter,
                "status": result.status,
                "level": result.level,
                "detail": result.detail,
                "notes": list(result.notes),
                "seconds": round(result.seconds, 3),
                "exchanges": [asdict(exchange) for exchange in result.exchanges],
            }
            for result in results
        ],
    }


def as_json(target: Target, results: Sequence[Result]) -> str:
    """Return a run as JSON text."""
    return json.dumps(as_dict(target, results), indent=1, ensure_ascii=False) + "\n"


def _printable(text: str) -> str:
    # XML 1.0 has no way to write most control characters, and servers may send any.
    return "".join(letter if letter >= " " or letter in "\n\t" else "\ufffd" for letter in text)


def as_junit(target: Target, results: Sequence[Result]) -> str:
    """Return a run as JUnit XML; failures below MUST carry their level as the type."""
    by_status = Counter(result.status for result in results)
    suite = ET.Element(
        "testsuite",
        name=f"tus-conformance {target.url}",
        tests=str(len(results)),
        failures=str(by_status["failed"]),
        skipped=str(by_status["skipped"]),
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    for result in results:
        name = {"classname": result.requirement.heading, "name": result.id, "time": f"{result.seconds:.3f}"}
        element = ET.SubElement(suite, "testcase", name)
        if result.status == "failed":
            inner = ET.SubElement(element, "failure", type=result.level, message=_printable(result.detail))
            inner.text = _printable(failure(result))
        elif result.status == "skipped":
            ET.SubElement(element, "skipped", message=_printable(result.detail))
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def as_markdown(target: Target, results: Sequence[Result]) -> str:
    """Return a run as a Markdown report."""
    lines = [
        f"# tus conformance of {target.url}",
        "",
        f"tus-conformance {__version__}; server: {target.server or 'not named'};"
        f" extensions: {', '.join(sorted(target.extensions)) or 'none'}; seed {target.options.seed}.",
        "",
        f"**{counts(results)}**",
        "",
        "| extension | " + " | ".join([*Level, "skipped"]) + " |",
        "|---" * (len(Level) + 2) + "|",
    ]
    lines += [f"| {heading} | " + " | ".join(_cells(results, heading)) + " |" for heading in headings(results)]
    for level in Level:
        failed = [result for result in results if result.status == "failed" and result.level is level]
        if failed:
            lines += ["", f"## {level} failures"]
        for result in failed:
            shown = failure(result).replace("```", "'''")
            lines += ["", f"### {result.id}", "", result.detail, "", "```", shown, "```"]
    noted = [result for result in results if result.notes]
    lines += ["", "## Notes", ""] if noted else []
    lines += [f"- {result.id}: {note}" for result in noted for note in result.notes]
    lines += ["", "## Skipped", ""]
    lines += [f"- {result.id}: {result.detail}" for result in results if result.status == "skipped"]
    return "\n".join(lines) + "\n"

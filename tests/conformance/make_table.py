"""`python -m tests.conformance.make_table` judges the servers known here and writes the table of the page."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from conformance import __version__
from conformance.case import Level, requirements
from tests.conformance.servers import (
    ROOT,
    TUS_NODE_SERVER,
    TUSD,
    TUSPY_SERVER,
    TUSPYSERVER,
    Server,
    judge,
    judge_tuspyserver,
    judge_tuspyserver_slowly,
    tus_node_server,
    tusd_server,
    tuspy_server,
)

PAGE = ROOT / "docs" / "conformance.md"
BEGIN, END = "<!-- the table begins -->\n", "<!-- the table ends -->\n"

Results = list[dict[str, Any]]


def _own() -> Results:
    with tuspy_server() as url:
        results: Results = judge(url)[1]["results"]
    with tuspy_server("--expires-seconds", "1") as url:
        expired: Results = judge(url, "--only", "EXP-0[567]", "--expires-seconds", "1")[1]["results"]
    return _merged(results, expired)


def _tusd() -> Results:
    with tusd_server() as url:
        results: Results = judge(url)[1]["results"]
    return _merged(results, [])


def _node() -> Results:
    with tus_node_server("3600000") as url:
        results: Results = judge(url)[1]["results"]
    with tus_node_server("1000") as url:
        expired: Results = judge(url, "--only", "EXP-0[567]", "--expires-seconds", "1")[1]["results"]
    return _merged(results, expired)


def _tuspyserver() -> Results:
    return _merged(judge_tuspyserver()["results"], judge_tuspyserver_slowly())


def _merged(results: Results, others: Results) -> Results:
    found = {result["id"]: result for result in [*results, *others]}
    return [found[row] for row in requirements() if row in found]


def _headings(results: Iterable[Results]) -> list[str]:
    rows = requirements()
    ids = {result["id"] for found in results for result in found if result["status"] != "skipped"}
    return list(dict.fromkeys(row.heading for row in rows.values() if row.id in ids))


def _cell(results: Results, heading: str) -> str:
    rows = requirements()
    mine = [r for r in results if rows[r["id"]].heading == heading and r["status"] != "skipped"]
    if not mine:
        return "not offered"
    passed = sum(result["status"] == "passed" for result in mine)
    broken = sum(result["status"] == "failed" and result["level"] == Level.MUST for result in mine)
    return f"{passed}/{len(mine)}" + (f", {broken} MUST broken" if broken else "")


def table(judged: dict[Server, Results]) -> str:
    """Return the table and, below it, the list of what each server fails."""
    lines = [
        f"Judged on {datetime.now(UTC):%Y-%m-%d} by tus-conformance {__version__}; a cell reads passed/judged.",
        "",
        "| | " + " | ".join(f"{server.name} {server.version()}" for server in judged) + " |",
        "|---" * (len(judged) + 1) + "|",
    ]
    lines += [
        f"| {heading} | " + " | ".join(_cell(found, heading) for found in judged.values()) + " |"
        for heading in _headings(judged.values())
    ]
    for server, found in judged.items():
        lines += ["", f"**{server.name}** fails:", ""]
        for level in Level:
            ids = [r["id"] for r in found if r["status"] == "failed" and r["level"] == level]
            lines += [f"- {level}: {', '.join(ids)}"] if ids else []
        if lines[-1] == "":
            lines.append("- nothing")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Judge, and write the page anew between its two marks."""
    # The page is read first, so that a page that is missing costs no minutes.
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    judged = {TUSPY_SERVER: _own(), TUSD: _tusd(), TUS_NODE_SERVER: _node(), TUSPYSERVER: _tuspyserver()}
    PAGE.write_text(f"{before}{BEGIN}\n{table(judged)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()

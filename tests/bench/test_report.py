"""The page and its charts, made of figures that are known."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree as ET

import pytest

from bench import book, report
from bench.goals import s3_budget, verdicts
from bench.results import Calls, Refusal, Results, S3Count, Sample, Statements
from bench.s3_servers import OURS_S3, TUS_NODE_S3
from bench.s3_shapes import shapes
from bench.servers import OURS, SINK, TUS_NODE
from bench.shapes import GIBIBYTE, MEBIBYTE, Size
from bench.statements import parse

FULL = [shape for shape in shapes("full") if shape.part == "files"]


def results(ours: float, peer: float) -> Results:
    made = Results(
        part="files",
        started="2026-01-01 00:00 UTC",
        commit="abc1234",
        command="python -m bench --full",
        size="full",
        machine={"cores": "2"},
        servers={OURS: "1", TUS_NODE: "2", SINK: "3"},
        notes={OURS: "defaults", TUS_NODE: "no fsync", SINK: "nothing"},
        missing=["tusd: not asked for"],
        titles={shape.name: shape.title for shape in FULL},
        disk_gib_a_second=0.5,
    )
    for shape in FULL:
        for server, figure in ((OURS, ours), (TUS_NODE, peer), (SINK, 9.0)):
            made.samples += [sample(server, shape.name, repeat, figure + repeat / 10) for repeat in range(3)]
    made.calls.append(Calls(server=OURS, shape="calls-small", calls={"fdatasync": 1.5, "total": 90.0}))
    return made


def sample(server: str, shape: str, repeat: int, figure: float) -> Sample:
    return Sample(
        server=server,
        shape=shape,
        repeat=repeat,
        figure=figure,
        seconds=2.0,
        cpu_seconds=1.0,
        client_cpu_seconds=0.5,
        other_cpu_seconds=0.1,
        peak_rss_bytes=100 * MEBIBYTE,
        requests=2,
        body_bytes=GIBIBYTE,
        reconnects=0,
        commits=4,
    )


def test_page_shows_medians_with_their_spread_and_ratios(tmp_path: Path) -> None:
    """Of 4.0, 4.1 and 4.2 against 1.0, 1.1 and 1.2."""
    report.write({"files": results(4.0, 1.0)}, tmp_path)
    page = (tmp_path / "performance.md").read_text("utf-8")
    assert "| 1 × 1 GiB, one PATCH, GiB/s | 4.10 (4.00–4.20) | 1.10 (1.00–1.20) | 9.10 (9.00–9.20) |" in page
    assert "| 1 × 1 GiB, one PATCH | 3.73× |" in page
    assert "tusd: not asked for" in page
    assert "| 1 KiB, POST + PATCH, 16 at once | ours | 1.50 | 90 |" in page
    for chart in re.findall(r"\]\((\S+\.svg)\)", page):
        ET.parse(tmp_path / chart)
    assert {path.name for path in (tmp_path / "performance").iterdir()} == {
        "files.json",
        "files-streams.svg",
        "files-uploads.svg",
    }


def test_results_are_the_same_after_they_were_kept(tmp_path: Path) -> None:
    """A page can be made anew without measuring anew."""
    made = results(4.0, 1.0)
    made.save(tmp_path / "kept.json")
    assert Results.load(tmp_path / "kept.json") == made


def test_a_server_that_broke_once_has_no_figure() -> None:
    """Whatever its other repeats say."""
    made = results(4.0, 1.0)
    made.refusals.append(Refusal(server=TUS_NODE, shape="one", repeat=2, reason="lost a byte"))
    assert made.figure(TUS_NODE, "one") is None
    assert made.ratio(OURS, TUS_NODE, "one") is None
    assert made.figure(OURS, "one") is not None


@pytest.mark.parametrize(("ours", "reached"), [(5.0, True), (2.0, False)])
def test_goals_are_reached_or_not_by_their_figures(ours: float, reached: bool) -> None:
    """At least 4 times @tus/server."""
    goal = next(row for row in verdicts({"files": results(ours, 1.0)}) if row.goal.startswith("ours, 1 × 1 GiB"))
    assert goal.reached is reached


def test_a_goal_without_figures_is_not_measured() -> None:
    """There is no tusd in this run."""
    assert all(row.reached is None for row in verdicts({"files": results(5.0, 1.0)}) if "tusd" in row.goal)


def of_s3(date: str, ours: float) -> Results:
    made = Results(
        part="s3",
        started=date,
        commit="def5678",
        command="python -m bench --only s3",
        size="normal",
        machine={"cores": "4"},
        servers={OURS_S3: "1", TUS_NODE_S3: "2"},
        notes={OURS_S3: "fsync", TUS_NODE_S3: "as documented"},
        missing=["tusd s3: not asked for", "tusd: not asked for"],
        titles={shape.name: shape.title for shape in shapes("normal") if shape.part == "s3"},
    )
    uploads = 1000
    for server, calls in ((OURS_S3, 1), (TUS_NODE_S3, 10)):
        taken = dataclasses.replace(
            sample(server, "s3-small", 0, ours if server == OURS_S3 else 1.0),
            body_bytes=uploads * 1024,
            s3={"PutObject": S3Count(calls * uploads, uploads * 1024, 0, 0)},
            s3_cpu_seconds=0.25,
            postgres_cpu_seconds=0.5 if server == OURS_S3 else None,
        )
        made.samples.append(taken)
    made.statements.append(Statements(server=OURS_S3, shape="s3-small", statements={"INSERT": 1.0, "UPDATE": 2.0}))
    return made


def test_parts_of_different_runs_are_one_page(tmp_path: Path) -> None:
    """Each part has its date, machine and commit; run again, it takes the place of its older run, and of no other."""
    report.write({"files": results(4.0, 1.0)}, tmp_path)
    report.write({"s3": of_s3("2026-01-02 00:00 UTC", 3.0)}, tmp_path)
    report.write({"s3": of_s3("2026-01-03 00:00 UTC", 6.0)}, tmp_path)
    page = (tmp_path / "performance.md").read_text("utf-8")
    assert "| Files | 2026-01-01 00:00 UTC | abc1234 | 3 |" in page
    assert "| S3 | 2026-01-03 00:00 UTC | def5678 | 1 |" in page
    assert "2026-01-02" not in page
    assert "| cores | 2 | 4 |" in page, "two machines"
    assert "| 1 × 1 GiB, one PATCH | 3.73× |" in page
    assert "| ours+pg+s3, 1 KiB, POST + PATCH, 16 at once: at least 5× @tus/server s3 | reached | 6.00× |" in page
    assert "| those of the part “latency” | not measured |" in page
    assert "| 1 KiB, POST + PATCH, 16 at once | ours+pg+s3 | 1 | 1 PutObject | 1.00× | 0.00× |" in page
    assert "| 1 KiB, POST + PATCH, 16 at once | ours+pg+s3 | 3 | 1 INSERT, 2 UPDATE |" in page
    assert "ours+pg+s3: its PostgreSQL" in page
    assert book.load(tmp_path / "performance")["s3"] == of_s3("2026-01-03 00:00 UTC", 6.0)


def test_a_run_that_was_cut_short_says_so(tmp_path: Path) -> None:
    """An honest page names what it lacks."""
    made = results(4.0, 1.0)
    made.cut = "35 minutes had passed"
    report.write({"files": made}, tmp_path)
    assert "| 35 minutes had passed |" in (tmp_path / "performance.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "budget"),
    [
        ("s3-small", (1, 1.0)),
        ("s3-hundred", (15, 1.0)),
        ("s3-chunks", (103, 1.87)),
        ("s3-head", (0, 0.0)),
    ],
)
def test_the_budget_of_s3_calls_is_the_architectures(name: str, budget: tuple[int, float]) -> None:
    """Its table, row by row."""
    assert s3_budget(next(shape for shape in shapes("normal") if shape.name == name)) == budget


def test_more_calls_than_the_budget_do_not_reach_the_goal() -> None:
    """One call too many is a goal that is not reached."""
    made = of_s3("2026-01-01 00:00 UTC", 3.0)
    goal = "ours+pg+s3, 1 KiB, POST + PATCH, 16 at once: S3 calls 1"
    assert next(row for row in verdicts({"s3": made}) if row.goal.startswith(goal)).reached is True
    made.samples[0] = dataclasses.replace(made.samples[0], s3={"PutObject": S3Count(1001, 1000 * 1024, 0, 0)})
    assert next(row for row in verdicts({"s3": made}) if row.goal.startswith(goal)).reached is False


def test_every_shape_has_one_name() -> None:
    """Results are found by it, whatever their part."""
    for size in get_args(Size):
        names = [shape.name for shape in shapes(size)]
        assert len(names) == len(set(names))


def test_statements_are_read_from_the_log_of_postgresql() -> None:
    """By what they do: comments are none, and a WITH is what it changes."""
    log = """2026-01-01 00:00:00.000 UTC [7] LOG:  statement: BEGIN;
2026-01-01 00:00:00.001 UTC [7] LOG:  execute __asyncpg_stmt_1__: -- Why: first of all
\tWITH old AS (SELECT 1)
\tUPDATE uploads SET writer = $1
2026-01-01 00:00:00.001 UTC [7] DETAIL:  Parameters: $1 = 'INSERT'
2026-01-01 00:00:00.002 UTC [7] LOG:  execute <unnamed>: SELECT pg_notify($1, $2)
2026-01-01 00:00:00.003 UTC [7] LOG:  checkpoint starting: time
2026-01-01 00:00:00.004 UTC [7] LOG:  statement: COMMIT
"""
    assert parse(log) == {"BEGIN": 1, "UPDATE": 1, "SELECT": 1, "COMMIT": 1}

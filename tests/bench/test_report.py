"""The page and its charts, made of figures that are known."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import report
from bench.goals import verdicts
from bench.results import Calls, Refusal, Results, Sample
from bench.servers import OURS, SINK, TUS_NODE
from bench.shapes import GIBIBYTE, MEBIBYTE, shapes

FULL = shapes("full")


def results(ours: float, peer: float) -> Results:
    made = Results(
        started="2026-01-01 00:00 UTC",
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
    report.write(results(4.0, 1.0), FULL, tmp_path)
    page = (tmp_path / "performance.md").read_text("utf-8")
    assert "| 1 × 1 GiB, one PATCH, GiB/s | 4.10 (4.00–4.20) | 1.10 (1.00–1.20) | 9.10 (9.00–9.20) |" in page
    assert "| 1 × 1 GiB, one PATCH | 3.73× |" in page
    assert "tusd: not asked for" in page
    assert "| 1 KiB, POST + PATCH, 16 at once | ours | 1.50 | 90 |" in page
    for chart in re.findall(r"\]\((\S+\.svg)\)", page):
        ET.parse(tmp_path / chart)
    assert len(list((tmp_path / "performance").iterdir())) == 4


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
    goal = next(row for row in verdicts(results(ours, 1.0)) if row.goal.startswith("1 × 1 GiB"))
    assert goal.reached is reached


def test_a_goal_without_figures_is_not_measured() -> None:
    """There is no tusd in this run."""
    assert all(row.reached is None for row in verdicts(results(5.0, 1.0)) if "tusd" in row.goal)

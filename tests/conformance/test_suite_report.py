"""Reports: what a run found, told the same in each form."""

import json
from xml.etree import ElementTree as ET

import pytest

from conformance import report
from conformance.case import Level, requirements
from conformance.message import Exchange
from conformance.runner import Result
from conformance.target import Options, Target

ROWS = requirements()
EXCHANGE = Exchange("HEAD /files/1 HTTP/1.1", ["5 bytes of body sent"], "HTTP/1.1 500 Oops\n\n\x00")
TARGET = Target("http://h/files/", Options(seed=7), extensions=frozenset({"creation"}), server="x")
RESULTS = [
    Result(ROWS["CORE-HEAD-01"], "passed", Level.MUST, notes=("a note",), seconds=0.5),
    Result(ROWS["CORE-PATCH-03"], "failed", Level.SHOULD, "415, got 400", exchanges=(EXCHANGE,), seconds=0.25),
    Result(ROWS["CSUM-01"], "skipped", Level.MUST, "checksum is not advertised"),
    Result(ROWS["USER-ZERO-01"], "passed", Level.MUST),
]


def test_the_last_line() -> None:
    assert report.counts(RESULTS) == "2 passed, 1 failed, 1 skipped"


@pytest.mark.parametrize(("level", "failed"), [(Level.MUST, True), (Level.SHOULD, False), (Level.PRACTICE, False)])
def test_only_must_decides(level: Level, failed: bool) -> None:
    assert report.must_failed([*RESULTS, Result(ROWS["CORE-HEAD-01"], "failed", level)]) is failed


def test_the_table_tells_levels_apart() -> None:
    lines = {line.split("  ")[0]: line.split()[-5:] for line in report.table(RESULTS).splitlines()}
    assert lines["core"] == ["1/1", "0/1", "-", "-", "0"]
    assert lines["checksum"] == ["-", "-", "-", "-", "1"]
    assert lines["user: small"] == ["1/1", "-", "-", "-", "0"]


def test_a_failure_shows_exchange_rule_and_source() -> None:
    text = report.failure(RESULTS[1])
    row = ROWS["CORE-PATCH-03"]
    for part in (row.source, row.expected, "415, got 400", "HEAD /files/1", "(5 bytes of body sent)", "500 Oops"):
        assert part in text


def test_json() -> None:
    found = json.loads(report.as_json(TARGET, RESULTS))
    assert found["counts"] == "2 passed, 1 failed, 1 skipped"
    assert found["seed"] == 7
    assert [result["status"] for result in found["results"]] == ["passed", "failed", "skipped", "passed"]
    assert found["results"][1]["exchanges"][0]["response"].startswith("HTTP/1.1 500")


def test_junit_is_sound_xml_whatever_the_server_sent() -> None:
    suite = ET.fromstring(report.as_junit(TARGET, RESULTS))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert (failure.get("type"), failure.get("message")) == ("SHOULD", "415, got 400")


def test_markdown() -> None:
    text = report.as_markdown(TARGET, RESULTS)
    for part in ("2 passed, 1 failed, 1 skipped", "## SHOULD failures", "### CORE-PATCH-03", "CORE-HEAD-01: a note"):
        assert part in text
    assert "MUST failures" not in text

"""Other servers, judged through the command line: exactly the failures checked by hand in peers.toml are found."""

import tomllib
from typing import Any

import pytest

from tests.conformance.servers import (
    HERE,
    Absent,
    in_ci,
    judge,
    judge_tuspyserver,
    judge_tuspyserver_slowly,
    tus_node_server,
    tusd_server,
)

KNOWN: dict[str, dict[str, str]] = tomllib.loads((HERE / "peers.toml").read_text(encoding="utf-8"))


def failed(results: list[dict[str, Any]]) -> dict[str, str]:
    return {result["id"]: result["detail"] for result in results if result["status"] == "failed"}


def of(server: str, results: list[dict[str, Any]]) -> set[str]:
    return set(KNOWN[server]) & {result["id"] for result in results if result["status"] != "skipped"}


@pytest.mark.long
def test_tus_node_server() -> None:
    try:
        with tus_node_server("3600000") as url:
            status, found = judge(url)
        with tus_node_server("1000") as url:
            _, expired = judge(url, "--only", "EXP-0[567]", "--expires-seconds", "1")
    except Absent as absent:
        if in_ci():
            raise
        pytest.skip(str(absent))
    results = found["results"] + expired["results"]
    assert failed(results).keys() == KNOWN["@tus/server"].keys(), failed(results)
    assert status == 1
    assert len(found["results"]) >= 168


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_tusd() -> None:
    """For people: go takes 400 MiB of modules and minutes to make it."""
    try:
        with tusd_server() as url:
            results = judge(url)[1]["results"]
    except Absent as absent:
        pytest.skip(str(absent))
    assert failed(results).keys() == KNOWN["tusd"].keys(), failed(results)


@pytest.mark.long
def test_tuspyserver() -> None:
    results = judge_tuspyserver()["results"]
    assert failed(results).keys() == of("tuspyserver", results), failed(results)


@pytest.mark.long
def test_tuspyserver_under_contention() -> None:
    results = judge_tuspyserver_slowly()
    # A busy machine makes more of its answers late; what it cannot do it never can.
    assert failed(results).keys() >= of("tuspyserver", results), failed(results)


def test_every_known_failure_has_a_reason() -> None:
    assert all(len(reason) > 10 for reasons in KNOWN.values() for reason in reasons.values())

"""On a CI machine a failed test of real processes is run once more, and the summary says which: decision record 20.

Hooks of pytest, for `tests/conftest.py`. What runs in one process, on one clock, is never run twice.
"""

from __future__ import annotations

import os

import pytest
import pytest_timeout  # type: ignore[import-untyped]
from _pytest.terminal import TerminalReporter

FOLDERS = frozenset(
    {
        "api",
        "bench",
        "clients",
        "conformance",
        "crash",
        "docs",
        "edge",
        "jobs",
        "production",
        "production_crash",
        "realtime",
        "strict_s3",
        "web",
    }
)
"""Of `tests/`: processes, sockets and the machine's clock."""

FIXTURES = frozenset(
    {"gateway", "make_nginx", "make_server", "moto", "pgbouncer", "postgres_server", "rclone", "strict_s3"}
)
"""Servers outside the test's process, for tests of other folders."""

NEVER = frozenset({"protocol", "uploads"})
"""Whatever their fixtures: a failure there is a history that someone can repeat."""

LOSSES = ("offset fell from", r"'[0-9a-f.]{28,64}' == '[0-9a-f.]{28,64}'")
"""What a failure says where an acknowledged offset was taken back, or SHA-256 differs: no machine is so slow that bytes
are lost, and what one kill in ten loses a second run would hide."""

AT_MOST = 6
"""Second runs in a session. A change that breaks more than that is not unlucky, and CI's minutes are counted."""


def _of_processes(item: pytest.Item) -> bool:
    tests = item.config.rootpath / "tests"
    folder = item.path.relative_to(tests).parts[0] if item.path.is_relative_to(tests) else ""
    if folder in NEVER:
        return False
    return folder in FOLDERS or not FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def _on_ci() -> bool:
    return os.environ.get("CI") == "true"


class _Silence:
    """Once a test is run again, what it has left behind (its traceback holds connections and sockets) is not told of as
    the failure of whichever test the collector comes by in."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if str(report.outcome) == "rerun":
            self._config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnraisableExceptionWarning")


def pytest_configure(config: pytest.Config) -> None:
    if _on_ci():
        config.option.max_suite_reruns = AT_MOST
        config.pluginmanager.register(_Silence(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not _on_ci():
        return
    for item in items:
        if _of_processes(item):
            item.add_marker(pytest.mark.flaky(reruns=1, rerun_except=LOSSES))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The first failure has stopped the test's clock, which pytest-timeout starts once for all runs."""
    if getattr(item, "execution_count", 1) > 1:
        settings = pytest_timeout._get_item_settings(item)
        if settings.timeout:
            item.config.hook.pytest_timeout_cancel_timer(item=item)
            item.config.hook.pytest_timeout_set_timer(item=item, settings=settings)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Each first failure, in full: a test that needs luck is a fault, here or in the server."""
    first = terminalreporter.stats.get("rerun", [])
    if not first:
        return
    terminalreporter.write_sep("!", "NEEDED A SECOND RUN", red=True, bold=True)
    for report in first:
        terminalreporter.write_sep("_", f"{report.nodeid} ({report.when})", red=True)
        report.toterminal(terminalreporter._tw)
        for title, text in report.sections:
            terminalreporter.write_sep("-", title)
            terminalreporter.write_line(text)
    terminalreporter.write_sep("!", f"{len(first)} to be mended: see above", red=True, bold=True)
    for report in first:
        terminalreporter.write_line(f"SECOND RUN {report.nodeid}")

"""What fails once is run once more on CI, if real processes are in it, and the summary is loud (decision record 20)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

SETTINGS = """
[pytest]
addopts = -ra --import-mode=importlib -p no:cacheprovider
asyncio_default_fixture_loop_scope = function
filterwarnings = error
timeout = 60
"""

CONFTEST = f"""
import importlib.util
import pathlib

import pytest

_SPEC = importlib.util.spec_from_file_location("second_run", {str(ROOT / "tests/support/second_run.py")!r})
_second_run = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_second_run)
globals().update((name, hook) for name, hook in vars(_second_run).items() if name.startswith("pytest_"))

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="session")
def session_server(worker_id):
    made = ROOT / f"made-{{worker_id}}"
    assert not made.exists(), "made twice"
    made.touch()
    yield made
    made.rename(ROOT / f"ended-{{worker_id}}")


@pytest.fixture
def run(request, session_server):
    runs = ROOT / f"runs-{{request.node.name}}"
    before = runs.read_text() if runs.exists() else ""
    runs.write_text(before + "x")
    print("said in a fixture of", request.node.name)
    return len(before)
"""

OF_PROCESSES = '''
import gc
import hashlib
import socket
import sys
import time

import pytest


def test_that_leaves_a_socket(run):
    left = [socket.socket()]
    left.append(left)
    assert run == 1, "the first trouble, with something open"
    left.pop(0).close()


@pytest.mark.parametrize("number", range(2))
def test_the_collector_comes_by(run, number):
    sys.last_value = sys.last_traceback = None
    gc.collect()


def test_unlucky(run):
    assert run == 1, "the first trouble"


@pytest.fixture
def broken_first(run):
    assert run == 1, "trouble in a fixture"


def test_unlucky_fixture(broken_first):
    pass


def test_broken(run):
    raise AssertionError("always")


def test_lost_offset(run):
    assert run == 1, "offset fell from 5 to 3"


def test_lost_bytes(run):
    sent, came = hashlib.sha256(b"sent").hexdigest(), hashlib.sha256(b"came").hexdigest()
    assert (sent if run else came) == sent


@pytest.mark.timeout(1)
def test_stuck(run):
    """Each run has a timeout of its own: without one, the second would pass."""
    time.sleep(30)


@pytest.mark.parametrize("number", range(20))
def test_well(run, number):
    assert run == 0
'''

IN_ONE_PROCESS = """
def test_pure(run):
    assert run == 1, "never again"
"""


def run_tests(folder: Path, *arguments: str, ci: str) -> str:
    for name, text in {
        "pytest.ini": SETTINGS,
        "tests/conftest.py": CONFTEST,
        "tests/crash/test_processes.py": OF_PROCESSES,
        "tests/protocol/test_pure.py": IN_ONE_PROCESS,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    settings = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=folder,
        env={**settings, "CI": ci},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return ended.stdout


def test_ci_runs_a_failed_test_of_processes_once_more_and_says_so(tmp_path: Path) -> None:
    told = run_tests(tmp_path, "-n", "2", "--dist", "worksteal", ci="true")
    assert "5 failed, 25 passed, 5 rerun" in told
    summary = told.partition("NEEDED A SECOND RUN")[2]
    for traceback in ("AssertionError: the first trouble", "AssertionError: trouble in a fixture"):
        assert traceback in summary
    assert "said in a fixture of test_unlucky\n" in summary
    assert "SECOND RUN tests/crash/test_processes.py::test_unlucky_fixture\n" in summary
    for failed in (
        "crash/test_processes.py::test_broken",
        "crash/test_processes.py::test_stuck",
        "crash/test_processes.py::test_lost_offset",
        "crash/test_processes.py::test_lost_bytes",
        "protocol/test_pure.py",
    ):
        assert f"FAILED tests/{failed}" in told, failed
    assert (tmp_path / "runs-test_pure").read_text() == "x", "in one process a failure is no chance"
    assert (tmp_path / "runs-test_lost_bytes").read_text() == "x", "nor are lost bytes anywhere"
    assert not list(tmp_path.glob("made-*")), "each worker has ended what it made for the session"
    assert list(tmp_path.glob("ended-*"))


def test_elsewhere_nothing_is_run_twice(tmp_path: Path) -> None:
    told = run_tests(tmp_path, "-k", "unlucky", ci="")
    assert "1 failed, 28 deselected, 1 error" in told
    assert "NEEDED A SECOND RUN" not in told

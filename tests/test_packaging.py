"""What is shipped, and what a machine with nothing prepared makes of it: locks, wheel, image, Makefile."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.cli import environment
from tests.support.fixtures import need
from tests.support.process import REPOSITORY, wait_for
from trial.processes import free_port
from tuspy_server.cli.health import ask
from tuspy_server.version import VERSION

LOCKS: Final = ("server", "s3", "trial", "test", "lint", "build")
SET_UP_SECONDS: Final = 600.0


def project() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def pins(lock: str) -> dict[str, str]:
    text = (REPOSITORY / "requirements" / f"{lock}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9.-]+)==([^ ]+)", text, re.MULTILINE))


def wanted(lock: str) -> list[str]:
    """What a lock has to answer: dependencies of the server, of its extra, or of a group and those that it includes."""
    if lock == "server":
        return list(project()["project"]["dependencies"])
    if lock == "s3":
        return wanted("server") + list(project()["project"]["optional-dependencies"]["s3"])
    found: list[str] = []
    for item in project()["dependency-groups"][lock]:
        found += [item] if isinstance(item, str) else wanted(item["include-group"])
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_pins_everything_by_hash_and_names_no_registry(lock: str) -> None:
    """Which mirror is used is the machine's business; what comes from it is ours."""
    text = (REPOSITORY / "requirements" / f"{lock}.txt").read_text()
    entries = re.split(r"\n(?=\S)", text.replace("\\\n", " ").strip())
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"index-url|find-links|://|\.org|\.com", text)


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_answers_the_project(lock: str) -> None:
    """After a change of pyproject.toml, `make lock` has been run."""
    locked = pins(lock)
    for requirement in map(Requirement, wanted(lock)):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), requirement


def test_locks_agree() -> None:
    """One version of each package in all of them: tests run what the server runs."""
    seen: dict[str, str] = {}
    for lock in LOCKS:
        for name, version in pins(lock).items():
            assert seen.setdefault(name, version) == version, name


def test_node_locks_name_no_registry() -> None:
    """As for Python."""
    for path in REPOSITORY.glob("tests/**/package-lock.json"):
        if "node_modules" not in path.parts[len(REPOSITORY.parts) :]:
            packages = json.loads(path.read_text())["packages"]
            assert not [name for name, entry in packages.items() if "resolved" in entry], path


def test_wheel_has_all_that_is_not_code(tmp_path: Path) -> None:
    """The statements, the migrations and the marker for type checkers are in it; tests and tools are not."""
    command = ["-m", "pip", "wheel", "--quiet", "--no-index", "--no-build-isolation", "--no-deps"]
    subprocess.run(
        [sys.executable, *command, "--wheel-dir", str(tmp_path), str(REPOSITORY)],
        check=True,
        timeout=100,
        env=environment(PIP_DISABLE_PIP_VERSION_CHECK="1"),
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"tuspy_server-{VERSION}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    package = REPOSITORY / "tuspy_server"
    tracked = subprocess.run(
        ["git", "ls-files", "tuspy_server"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    )
    missing = {name for name in tracked.stdout.split() if (REPOSITORY / name).exists()} - names
    assert (package / "py.typed").exists()
    assert missing == set()
    assert {name.split("/")[0] for name in names} == {"tuspy_server", f"tuspy_server-{VERSION}.dist-info"}


def dockerfile() -> list[tuple[str, str]]:
    text = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def test_image_copies_what_exists_and_what_its_ignore_file_lets_through() -> None:
    """No Docker engine runs here, so the steps are read instead."""
    let_through = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for word, rest in dockerfile()
        if word == "COPY" and "--from=" not in rest
        for source in shlex.split(rest)[:-1]
    }
    assert copied == let_through
    assert all((REPOSITORY / source).exists() for source in copied)


def test_image_runs_as_nobody_special_and_is_asked_for_its_health() -> None:
    """Not root, one volume, our own health command, SIGTERM, and hashes for every package that it fetches."""
    steps = dockerfile()
    last = dict(steps)
    assert last["USER"].split(":")[0].isdecimal()
    assert last["USER"].split(":")[0] != "0"
    assert (last["VOLUME"], last["STOPSIGNAL"]) == ("/data", "SIGTERM")
    assert last["HEALTHCHECK"].endswith('CMD ["tuspy-server", "health"]')
    assert "TUSPY_HOST=0.0.0.0" in last["ENV"]
    assert "TUSPY_DATA=/data" in last["ENV"]
    installs = [part for word, rest in steps if word == "RUN" for part in rest.split("&&") if "pip install" in part]
    assert installs
    assert all("--require-hashes" in part or "--no-index" in part for part in installs)


def make(*arguments: str, folder: Path = REPOSITORY, **variables: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        need("make")
    outer = {name: value for name, value in environment(**variables).items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=outer, capture_output=True, text=True, timeout=SET_UP_SECONDS, check=False
    )


def test_make_alone_is_help() -> None:
    """Without a target nothing is done but said what can be."""
    result = make()
    assert result.returncode == 0
    for target in ("serve", "test", "test-all", "lint", "soak", "lock", "format"):
        assert re.search(rf"^make {target} ", result.stdout, re.MULTILINE), target


def test_make_serve_hands_on_port_and_folder() -> None:
    """`PORT=` and `DATA=` become flags; without them settings and their defaults hold."""
    given = make("-n", "serve", "PORT=9000", "DATA=/tmp/with space").stdout.splitlines()[-1]
    assert given == "exec .venv/bin/tuspy-server --port '9000' --data '/tmp/with space'"
    plain = [name for name in ("PORT", "DATA") if name in os.environ]
    if not plain:
        assert make("-n", "serve").stdout.splitlines()[-1].split() == ["exec", ".venv/bin/tuspy-server"]


def test_old_python_is_refused_in_one_line(tmp_path: Path) -> None:
    """The line says what is needed and how to name another one."""
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    for name in ("python-that-fails", "python-that-is-not-there"):
        if name == "python-that-fails":
            (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
            (tmp_path / name).chmod(0o755)
        result = make(".venv/bin/python", f"PYTHON=./{name}", folder=tmp_path)
        assert result.returncode == 2
        complaint = [line for line in result.stderr.splitlines() if not line.startswith("make: ***")]
        assert complaint == [
            f"tuspy-server needs Python 3.11 or newer, and ./{name} is not; name one: make PYTHON=python3.11"
        ]
        assert not (tmp_path / ".venv").exists()


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    """The last commit, in a folder with nothing prepared."""
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(folder)], check=True, timeout=100)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.long
@pytest.mark.timeout(SET_UP_SECONDS)
def test_make_serve_on_a_fresh_machine(clone: Path) -> None:
    """One command sets up and serves; SIGTERM to the server makes `make` end with 0; the second set-up does nothing."""
    port = free_port()
    with (clone / "out").open("wb") as output:
        process = subprocess.Popen(
            ["make", "serve", f"PORT={port}", "DATA=elsewhere"],
            cwd=clone,
            env={name: value for name, value in environment().items() if not name.startswith("MAKE")},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for(
            lambda: process.poll() is not None or ask(f"http://127.0.0.1:{port}").ready, "it serves", SET_UP_SECONDS / 2
        )
        text = (clone / "out").read_text()
        assert f"http://127.0.0.1:{port}/files/" in text
        assert (clone / "elsewhere" / "tuspy.sqlite3").exists()
        # As Ctrl-C does: to the whole group that the terminal runs.
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)
        assert "server.stopped" in (clone / "out").read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    again = make("-n", "serve", folder=clone)
    assert again.stdout.splitlines()[-1].startswith("exec ")
    assert "pip" not in again.stdout

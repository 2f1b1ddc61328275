"""A fork of the warm interpreter is to a test what a program with an interpreter of its own is (`support/warm.py`)."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.support import warm
from tests.support.cli import environment
from tests.support.process import CLI, ServerProcess, wait_for


def ran(launch: object, folder: Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        given = environment(**variables)
        process = launch([*CLI, *arguments], cwd=folder, env=given, stdout=out, stderr=err)  # type: ignore[operator]
        assert process.pid != os.getpid()
        status = process.wait(60)
        assert process.poll() == status
    return status, (folder / "out").read_text(), (folder / "err").read_text()


@pytest.mark.parametrize(
    "arguments", [("config", "show"), ("--max-size", "-1"), ("check", "--port", "0")], ids=" ".join
)
def test_it_says_the_same_and_ends_the_same(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    variables = {"TUSPY_PATH": "/other/"}
    forked = ran(warm.launch, tmp_path, *arguments, **variables)
    assert forked == ran(warm.launch_cold, tmp_path, *arguments, **variables)


def test_it_ends_by_its_signal_and_with_its_interpreter(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path).start()
    process = server._process
    assert isinstance(process, warm.Forked)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    assert {file.fd for file in psutil.Process(server.pid).open_files()} >= {1, 2}
    server.kill()
    server.start()
    assert server.terminate() == 0

    other = warm.Warm()
    with (tmp_path / "log").open("wb") as log:
        sleeping = other.start("timeit", ["import time; time.sleep(60)"], tmp_path, os.environ, [log.fileno()] * 2)
    other.close()
    wait_for(lambda: sleeping.poll() == -signal.SIGKILL, "it is ended")

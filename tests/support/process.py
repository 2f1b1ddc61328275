"""A server in a process of its own, which a test may kill; ended by its pid alone, whatever becomes of the test."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import psutil

from tests.support import warm
from trial.processes import free_port

REPOSITORY: Final = Path(__file__).parents[2]
CLI: Final = (sys.executable, "-m", "tuspy_server")
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.02
UPLOAD_ID: Final = re.compile(r"[0-9a-f]{32}")
MEBIBYTE: Final = 1 << 20


class NotInTime(AssertionError):
    """A condition was not met before its deadline."""


def wait_for(condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Poll until `condition` holds.

    Raises:
        NotInTime: it did not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NotInTime(f"{what}: not within {seconds:g} s")
        time.sleep(POLL_SECONDS)


class ServerProcess:
    """One server on one folder and one port, which both outlive its restarts."""

    def __init__(
        self, folder: Path, *, program: Sequence[str] = CLI, settings: Mapping[str, object] | None = None
    ) -> None:
        """`program` is configured by `TUSPY_…` variables alone, so that any main can stand in for the command line."""
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.log_path = folder / "server.log"
        self.program = tuple(program)
        self.settings = dict(settings or {})
        self._process: warm.Started | None = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The creation URL."""
        return f"{self.origin}/files/"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise AssertionError("the server is not running")
        return self._process.pid

    @property
    def files(self) -> set[str]:
        """Ids of all uploads that have a file, wherever the server puts it."""
        return {path.name for path in (self.data / "files").rglob("*") if UPLOAD_ID.fullmatch(path.name)}

    def file_of(self, upload_id: str) -> Path:
        (path,) = (self.data / "files").rglob(upload_id)
        return path

    def start(self, **variables: str) -> Self:
        """Start, and wait until it is ready. `variables` are for this life alone."""
        self.launch(**variables)
        self.wait_ready()
        return self

    def launch(self, **variables: str) -> None:
        if self._process is not None:
            raise AssertionError("the server runs already")
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            # Workers are spawned, which is to begin with the program that there is.
            start = warm.launch_cold if "workers" in self.settings else warm.launch
            environment = {**self._environment(), **variables}
            self._process = start(self.program, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)

    def wait_ready(self) -> None:
        wait_for(self._is_ready, f"{self.program[-1]} answers /readyz")

    def kill(self) -> None:
        """SIGKILL."""
        self._signal(signal.SIGKILL)
        code = self.wait_exit()
        if code != -signal.SIGKILL:
            raise AssertionError(f"the server had ended by itself with {code}\n{self.log_tail()}")

    def terminate(self, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM; returns the exit code."""
        self.begin_to_terminate()
        return self.wait_exit(seconds)

    def begin_to_terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def wait_exit(self, seconds: float = STOP_SECONDS) -> int:
        """The exit code; negative for a signal.

        Raises:
            NotInTime: it runs on.
        """
        if self._process is None:
            raise AssertionError("the server is not running")
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise NotInTime(f"the server runs on after {seconds:g} s\n{self.log_tail()}") from error
        self._process = None
        return code

    def close(self) -> None:
        """End what was started, if it still runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def rss_bytes(self) -> int:
        rss: int = psutil.Process(self.pid).memory_info().rss
        return rss

    def peak_rss_bytes(self) -> int:
        """The most that it ever had, where the kernel keeps it; else what it has now."""
        status = Path(f"/proc/{self.pid}/status")
        if status.exists():
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) << 10
        return self.rss_bytes()

    def log_events(self) -> list[dict[str, Any]]:
        """The JSON lines of all its lives; what is no JSON (a traceback of the interpreter) is left out."""
        if not self.log_path.exists():
            return []
        lines = self.log_path.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def log_tail(self, lines: int = 60) -> str:
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def _environment(self) -> dict[str, str]:
        given = {
            "host": "127.0.0.1",
            "port": self.port,
            "data": self.data,
            "log_format": "json",
            "sweep_interval_seconds": 0.5,
            **self.settings,
        }
        outer = {name: value for name, value in os.environ.items() if not name.startswith("TUSPY_")}
        return {**outer, **{f"TUSPY_{name.upper()}": str(value) for name, value in given.items()}}

    def _is_ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError(f"the server ended while it started\n{self.log_tail()}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise AssertionError("the server is not running")
        self._process.send_signal(number)

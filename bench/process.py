"""One server in a process of its own: started, waited for, measured over its whole tree, ended by its pid."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Final, NamedTuple, Self

import psutil

from bench.site import Server, Site
from bench.wire import Broken
from trial.processes import free_port

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 20.0
REPOSITORY: Final = Path(__file__).parents[1]


class Usage(NamedTuple):
    """What a tree of processes has taken."""

    cpu_seconds: float
    """User and system, of those that run and those that they have waited for."""
    peak_rss_bytes: int
    """The most that each has had, summed; those that have ended are not in it."""


class Running:
    """A server that listens on a port of the loopback, with an empty data folder, until the end of the `with`."""

    def __init__(self, server: Server, folder: Path, *, s3_url: str = "", database_url: str = "") -> None:
        """`folder`: taken for its data and its log; the URLs: of the services that it stands on."""
        self.server = server
        self._services = (s3_url, database_url)
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.port = free_port()
        self._folder = folder

    def __enter__(self) -> Self:
        self.data.mkdir(parents=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TUSPY_")}
        with self.log.open("ab") as log:
            self._process = psutil.Popen(
                self.server.command(Site(self.port, self.data, *self._services)),
                # Not the repository: what a server makes beside itself is its data too.
                cwd=self.data,
                env={**environment, "PYTHONPATH": str(REPOSITORY), **self.server.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        tree = self._tree()
        with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(STOP_SECONDS)
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        pid: int = self._process.pid
        return pid

    def usage(self) -> Usage:
        """Of the tree, up to now."""
        return usage_of(self._tree())

    def log_tail(self) -> str:
        """Its last words."""
        return "\n".join(self.log.read_text("utf-8", errors="replace").splitlines()[-5:])

    def _tree(self) -> list[psutil.Process]:
        return tree_of(self._process)

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise Broken(f"ended while it started: {self.log_tail()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise Broken(f"does not listen after {START_SECONDS:g} s")


def tree_of(process: psutil.Process) -> list[psutil.Process]:
    """It and all below it; nothing once it has ended."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def usage_of(processes: list[psutil.Process]) -> Usage:
    """Of these, up to now; one that ends meanwhile is in its parent's."""
    cpu_seconds, peak_rss_bytes = 0.0, 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
            times = process.cpu_times()
            cpu_seconds += times.user + times.system + times.children_user + times.children_system
            peak_rss_bytes += _peak_rss_bytes(process)
    return Usage(cpu_seconds, peak_rss_bytes)


def machine_cpu_seconds() -> float:
    """What all cores together have worked since the machine started."""
    times = psutil.cpu_times()
    busy: float = times.user + times.nice + times.system + times.irq + times.softirq + times.steal
    return busy


def _peak_rss_bytes(process: psutil.Process) -> int:
    for line in Path(f"/proc/{process.pid}/status").read_text("utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    rss: int = process.memory_info().rss
    return rss

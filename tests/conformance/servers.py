"""Starts the servers that the suite is tried on, each on a free loopback port, and ends them by their process."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import tusd
from bench.site import Missing
from tests.support import warm
from trial.processes import free_port
from tuspy_server.version import VERSION

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NODE = HERE / "node"

START_SECONDS = 20.0


class Absent(Exception):
    """A tool that a server needs is not here."""


@dataclass(frozen=True)
class Server:
    """A server to judge; `start` takes more arguments of its own and yields the creation URL."""

    name: str
    start: Callable[..., AbstractContextManager[str]]
    version: Callable[[], str]


@contextmanager
def _process(command: Sequence[str | Path], port: int, folder: Path) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        process = warm.launch([str(word) for word in command], cwd=ROOT, env=os.environ, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    text = (folder / "log").read_text(errors="replace")
                    raise RuntimeError(f"{command[0]} did not start:\n{text}") from None
                time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait(10)


@contextmanager
def tus_node_server(*arguments: str) -> Iterator[str]:
    """Start @tus/server with its file store; the argument is the life of an unfinished upload in milliseconds."""
    node = shutil.which("node")
    if node is None:
        raise Absent("node is not installed")
    if not (NODE / "node_modules").is_dir():
        raise Absent("@tus/server is not installed: run `npm ci` in tests/conformance/node")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "files")
        files.mkdir()
        with _process([node, NODE / "server.mjs", files, str(port), *arguments], port, Path(folder)):
            yield f"http://127.0.0.1:{port}/files/"


@contextmanager
def tuspyserver() -> Iterator[str]:
    """Start tuspyserver as its documentation mounts it."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(HERE / "tuspyserver_app.py"), str(Path(folder, "files")), str(port)]
        with _process(command, port, Path(folder)):
            yield f"http://127.0.0.1:{port}/files/"


@contextmanager
def tuspy_server(*arguments: str) -> Iterator[str]:
    """Start our own server by its command line, with these flags."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--port", str(port), "--data", str(Path(folder, "data")), *arguments]
        with _process([sys.executable, "-m", "tuspy_server", "serve", *flags], port, Path(folder)):
            yield f"http://127.0.0.1:{port}/files/"


@contextmanager
def tusd_server() -> Iterator[str]:
    """Start tusd with its file store: the program of the PATH, or one that go makes (minutes, the first time)."""
    try:
        program = tusd.program("auto", "tusd")
    except Missing as missing:
        raise Absent(str(missing)) from missing
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        flags = ("-host", "127.0.0.1", "-port", str(port), "-upload-dir", str(Path(folder, "files")), "-verbose=false")
        with _process([program, *flags], port, Path(folder)):
            yield f"http://127.0.0.1:{port}/files/"


def _node_version() -> str:
    package = (NODE / "node_modules/@tus/server/package.json").read_text(encoding="utf-8")
    return str(json.loads(package)["version"])


TUS_NODE_SERVER = Server("@tus/server", tus_node_server, _node_version)
TUSPYSERVER = Server("tuspyserver", tuspyserver, lambda: version("tuspyserver"))
TUSD = Server("tusd", tusd_server, lambda: tusd.MODULE_VERSION.removeprefix("v"))
TUSPY_SERVER = Server("tuspy-server", tuspy_server, lambda: VERSION)


def in_ci() -> bool:
    """Whether a missing tool is a failure rather than a reason to skip."""
    return os.environ.get("CI") == "true"


def judge(url: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the suite's command line against a URL; return its exit status and what it wrote as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "found.json")
        command = [sys.executable, "-m", "conformance", url, "--seed", "1", "--json", str(found), *arguments]
        status = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode
        return status, json.loads(found.read_text(encoding="utf-8"))


# It waits for its lock in the event loop, up to 30 s, so that nothing else is served meanwhile; a request that comes
# before a lost connection was noticed, or beside another one, sets that off.
TUSPYSERVER_SLOW = (
    "CORE-PATCH-23",
    "CORE-PATCH-24",
    "USER-LAST-01",
    "USER-RESUME-01",
    "USER-RESUME-02",
    "USER-WRITERS-01",
    "USER-WRITERS-02",
)


def judge_tuspyserver() -> dict[str, Any]:
    """Judge tuspyserver by what it answers quickly."""
    with tuspyserver() as url:
        skips = [word for case in TUSPYSERVER_SLOW for word in ("--skip", case)]
        return judge(url, "--parallel", "1", *skips)[1]


def judge_tuspyserver_slowly() -> list[dict[str, Any]]:
    """Judge tuspyserver by the cases that cost half a minute each, side by side, each on a server of its own."""

    def one(case: str) -> dict[str, Any]:
        with tuspyserver() as url:
            return dict(judge(url, "--only", case)[1]["results"][0])

    with ThreadPoolExecutor(len(TUSPYSERVER_SLOW)) as pool:
        return list(pool.map(one, TUSPYSERVER_SLOW))

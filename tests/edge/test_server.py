"""The process under `tuspy-server serve`: how it begins to listen, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.support.cli import environment
from tests.support.fixtures import MakeServer, make_server
from tests.support.process import CLI, ServerProcess, wait_for

__all__ = ["make_server"]

EXIT_SECONDS: Final = 20.0
MEBIBYTE: Final = 1 << 20


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A server on a free port, of which stdout and stderr can be read."""
    process = subprocess.Popen(
        [*CLI, "--port", "0", "--data", str(folder / "data"), *arguments],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_banner(process: subprocess.Popen[str]) -> str:
    """The banner's lines, up to the one that comes last."""
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or "/readyz" not in lines[-1]:
        line = process.stdout.readline()
        assert line, f"the server ended: {process.communicate()}"
        lines.append(line)
    return "".join(lines)


def connect(server: ServerProcess) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=EXIT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def head(method: str, target: str, **fields: object) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", "Tus-Resumable: 1.0.0", *lines, "", ""]).encode()


def read_head(connection: socket.socket) -> str:
    text = b""
    while b"\r\n\r\n" not in text:
        block = connection.recv(4096)
        assert block, f"closed after {text!r}"
        text += block
    return text.decode()


def create(server: ServerProcess, length: int, body: bytes = b"") -> str:
    """The path of a new upload."""
    with connect(server) as connection:
        kind = {"Content_Type": "application/offset+octet-stream"} if body else {}
        request = head("POST", "/files/", Upload_Length=length, Content_Length=len(body), Connection="close", **kind)
        connection.sendall(request + body)
        answer = read_head(connection)
    found = re.search(r"(?i)^location: (\S+)", answer, re.MULTILINE)
    assert found, answer
    return found[1]


def offset_of(server: ServerProcess, path: str) -> int:
    with connect(server) as connection:
        connection.sendall(head("HEAD", path, Connection="close"))
        answer = read_head(connection)
    found = re.search(r"(?i)^upload-offset: (\d+)", answer, re.MULTILINE)
    assert found, answer
    return int(found[1])


@contextmanager
def unread_download(server: ServerProcess) -> Iterator[None]:
    """A client that asks for a large file and never reads it: what no drain can bring to an end."""
    length = 32 * MEBIBYTE
    path = create(server, length, bytes(length))
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(head("GET", path))
        assert connection.recv(1)
        yield


def test_banner_has_the_real_port(tmp_path: Path) -> None:
    """With port 0 the URLs carry the port that the kernel gave, and they work as soon as they are printed."""
    with served(tmp_path) as process:
        banner = read_banner(process)
        found = re.search(r"http://127\.0\.0\.1:(\d+)/files/\n", banner)
        assert found, banner
        assert str(tmp_path / "data") in banner
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=EXIT_SECONDS) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert read_head(connection).startswith("HTTP/1.1 200 ")


def test_banner_names_an_address_that_works(tmp_path: Path) -> None:
    """0.0.0.0 is no address to open; the banner gives the loopback one and says what is listened on."""
    with served(tmp_path, "--host", "0.0.0.0") as process:
        banner = read_banner(process)
        assert re.search(r"http://127\.0\.0\.1:\d+/files/ \(listening on 0\.0\.0\.0\)\n", banner)
        assert "  takes      files of any size (--max-size) and pages of every origin (--cors-origins)\n" in banner


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_with_0(number: signal.Signals, tmp_path: Path) -> None:
    """SIGTERM and Ctrl-C are what the server is for in the end: status 0, no traceback, logs that say so."""
    with served(tmp_path) as process:
        read_banner(process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=EXIT_SECONDS)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "server.draining" in errors
    assert "server.stopped" in errors


def test_idle_connection_delays_nothing(make_server: MakeServer) -> None:
    """Connections kept alive, fresh or used, are closed at once; the drain's deadline is not waited for."""
    server = make_server(drain_seconds=60).start()
    with connect(server), connect(server) as used:
        used.sendall(head("OPTIONS", "/files/"))
        assert read_head(used).startswith("HTTP/1.1 20")
        started = time.monotonic()
        assert server.terminate() == 0
    assert time.monotonic() - started < 30


def test_body_under_way_is_kept_and_answered(make_server: MakeServer) -> None:
    """SIGTERM amid a PATCH: 503 with all that arrived committed, exit 0; the next life goes on from there."""
    server = make_server(drain_seconds=30).start()
    path = create(server, 10 * MEBIBYTE)
    with connect(server) as connection:
        fields = {"Content_Type": "application/offset+octet-stream", "Content_Length": 10 * MEBIBYTE}
        connection.sendall(head("PATCH", path, Upload_Offset=0, **fields) + bytes(3 * MEBIBYTE))
        # All has arrived once HEAD, which commits what the writer holds, shows it.
        wait_for(lambda: offset_of(server, path) == 3 * MEBIBYTE, "3 MiB are committed")
        connection.sendall(bytes(12345))
        wait_for(lambda: offset_of(server, path) == 3 * MEBIBYTE + 12345, "the rest is committed")
        server.begin_to_terminate()
        answer = read_head(connection)
    assert answer.startswith("HTTP/1.1 503 "), answer
    assert server.wait_exit() == 0
    server.start()
    assert offset_of(server, path) == 3 * MEBIBYTE + 12345


def test_reader_that_never_reads_is_cut_off(make_server: MakeServer) -> None:
    """What does not end by itself is ended at the drain's deadline, still with status 0."""
    server = make_server(drain_seconds=1).start()
    with unread_download(server):
        assert server.terminate() == 0


def test_second_ctrl_c_ends_at_once(make_server: MakeServer) -> None:
    """Who presses Ctrl-C twice does not want to wait for the drain."""
    server = make_server(drain_seconds=100).start()
    with unread_download(server):
        server.begin_to_terminate()
        wait_for(lambda: any(event["event"] == "server.draining" for event in server.log_events()), "it drains")
        started = time.monotonic()
        os.kill(server.pid, signal.SIGINT)
        assert server.wait_exit() == 128 + signal.SIGINT
    assert time.monotonic() - started < 30


HANGING: Final = """
    import asyncio, threading
    from tuspy_server.edge.server import run
    from tuspy_server.logs import configure
    from tuspy_server.settings import Settings

    class Hanging:
        app = None
        async def start(self): pass
        def drain(self): print("drains", flush=True)
        async def stop(self): threading.Event().wait()

    settings = Settings(port=0, drain_seconds=0.1)
    configure(settings)
    run(Hanging(), settings, lambda host, port: print("listens", flush=True))
"""


def test_hanging_stop_is_ended_and_seen(tmp_path: Path) -> None:
    """A storage that never comes back cannot keep the process: it ends with 1, and its traceback says where it hung."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HANGING)],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "listens\n"
        process.terminate()
        output, errors = process.communicate(timeout=EXIT_SECONDS)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, output) == (1, "drains\n")
    assert "in stop" in errors


def test_closed_streams_do_no_harm(tmp_path: Path) -> None:
    """With stdin, stdout and stderr closed no file gets a log's line, and SIGTERM is heeded all the same."""
    data = tmp_path / "data"
    command = [*CLI, "--port", "0", "--data", str(data), "--log-format", "json"]
    process = subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command], cwd=tmp_path, env=environment())
    try:
        wait_for(lambda: data.exists() and _listens(process.pid), "the server listens")
        process.terminate()
        assert process.wait(EXIT_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
    for path in data.rglob("*"):
        assert path.is_dir() or b"server.l" not in path.read_bytes()


def _listens(pid: int) -> bool:
    return any(item.status == psutil.CONN_LISTEN for item in psutil.Process(pid).net_connections("tcp"))

"""Our programs, in forks of an interpreter that has imported them already: imports take most of a second of CPU time,
and `make test` starts some hundreds of programs. Each is a process of its own, with its own pid, environment and end.

`python -m tests.support.warm <descriptor>` is that interpreter; it ends, with all that it has started, when its socket
does.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

REPOSITORY: Final = Path(__file__).parents[2]
COLD_VARIABLE: Final = "TESTS_COLD"
"""Set, each program is started by an interpreter of its own: where it is the start itself that is looked into."""

IMPORTED: Final = (
    "tuspy_server.cli.commands",
    "tuspy_server.stores.s3.opening",
    "tuspy_server.stores.s3.store",
    "tests.support.events",
)
"""Nothing that is run by its own name: Python warns of that."""

MOST_REQUEST_BYTES: Final = 128 << 10
END_SECONDS: Final = 10.0
_STATUS: Final = struct.Struct("i")


class Forked:
    """What `subprocess.Popen` is for a process that has another parent."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status
        self._is_known = False
        self._lock = threading.Lock()

    def __del__(self) -> None:
        if not self._is_known:
            os.close(self._status)

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"pid {self.pid}", timeout or 0.0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, seconds: float | None) -> int | None:
        if self.returncode is None:
            looking = select.poll()
            looking.register(self._status, select.POLLIN)
            looking.poll(None if seconds is None else seconds * 1000)
            with self._lock:
                if not self._is_known and looking.poll(0):
                    told = os.read(self._status, _STATUS.size)
                    os.close(self._status)
                    self._is_known = True
                    # Nothing is told by an interpreter that has been killed, and whose programs went on.
                    self.returncode = _STATUS.unpack(told)[0] if told else -signal.SIGKILL
        return self.returncode


class Warm:
    """The interpreter, as its user sees it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.warm", str(other.fileno())],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
            )

    def start(
        self, module: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], files: Sequence[int]
    ) -> Forked:
        """`python -m module arguments…` in a folder; `files` are for its stdout and its stderr."""
        status, its_status = os.pipe()
        request = {
            "module": module,
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
            "most_files": resource.getrlimit(resource.RLIMIT_NOFILE),
        }
        try:
            with self._lock:
                socket.send_fds(self._socket, [json.dumps(request).encode()], [*files, its_status])
                pid = int(self._socket.recv(100))
        except BaseException:
            os.close(status)
            raise
        finally:
            os.close(its_status)
        return Forked(pid, status)

    def close(self) -> None:
        self._socket.close()
        self._process.wait(END_SECONDS)


Started: TypeAlias = Forked | subprocess.Popen[bytes]

_warm: Warm | None = None
_first = threading.Lock()


def launch_cold(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes]
) -> Started:
    """With an interpreter of its own."""
    return subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)


def launch(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes]
) -> Started:
    """In a fork, where the command is one of our modules, and is to be nothing special."""
    global _warm  # noqa: PLW0603  # one a process
    special = any(name.startswith("PYTHON") and value != os.environ.get(name) for name, value in env.items())
    if tuple(command[:2]) != (sys.executable, "-m") or special or os.environ.get(COLD_VARIABLE):
        return launch_cold(command, cwd=cwd, env=env, stdout=stdout, stderr=stderr)
    with _first:
        if _warm is None:
            _warm = Warm()
            atexit.register(_warm.close)
    return _warm.start(command[2], command[3:], cwd, env, [stdout.fileno(), stderr.fileno()])


# --- the interpreter itself ---------------------------------------------------------------------------------------


def _serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork for each request. A fork returns with its request; the interpreter with None, when nobody asks any more."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    waiting = select.poll()
    for descriptor in (control.fileno(), woken):
        waiting.register(descriptor, select.POLLIN)
    running: dict[int, int] = {}
    while True:
        ready = [descriptor for descriptor, _ in waiting.poll()]
        if woken in ready:
            os.read(woken, 1000)
            _reap(running)
        if control.fileno() not in ready:
            continue
        data, files, _, _ = socket.recv_fds(control, MOST_REQUEST_BYTES, 3)
        if not data:
            for pid in running:
                os.kill(pid, signal.SIGKILL)
            return None
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(files[0], 1)
            os.dup2(files[1], 2)
            control.detach()
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            request: dict[str, Any] = json.loads(data)
            return request
        running[pid] = files.pop()
        for file in files:
            os.close(file)
        control.send(str(pid).encode())


def _reap(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        descriptor = running.pop(pid)
        with suppress(BrokenPipeError):  # whoever started it does not want to know
            os.write(descriptor, _STATUS.pack(os.waitstatus_to_exitcode(status)))
        os.close(descriptor)


def _become(request: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(request["environment"])
    resource.setrlimit(resource.RLIMIT_NOFILE, tuple(request["most_files"]))
    os.chdir(request["folder"])
    sys.argv[1:] = request["arguments"]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for _name in IMPORTED:
        importlib.import_module(_name)
    _request = _serve(socket.socket(fileno=int(sys.argv[1])))
    if _request is not None:
        _become(_request)

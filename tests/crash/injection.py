"""Faults of the kernel in a running server, by strace: system calls that fail."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.fixtures import need
from tests.support.process import ServerProcess, wait_for


class Injection:
    """While it is entered, one system call of the server fails; `when=N` counts for each thread."""

    def __init__(self, server: ServerProcess, fault: str, *, path: Path | None = None) -> None:
        """`fault` as strace takes it: `fdatasync:error=EIO`. `path`: only calls on this file, which must exist."""
        self._server = server
        self._fault = fault
        self._path = path
        self._log = server.folder / "strace.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        strace = shutil.which("strace")
        if strace is None:
            need("strace")
        call = self._fault.partition(":")[0]
        only = [] if self._path is None else ["-P", str(self._path)]
        self._log.unlink(missing_ok=True)
        command = [strace, "-f", "-o", str(self._log), "-e", f"trace={call}", "-e", f"inject={self._fault}", *only]
        self._process = subprocess.Popen([*command, "-p", str(self._server.pid)], stderr=subprocess.DEVNULL)
        wait_for(self._is_attached, "strace is attached")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            # Its death sets the server free; asked to end, it would wait for calls under way.
            self._process.kill()
            self._process.wait()

    @property
    def count(self) -> int:
        """How many calls have met the fault."""
        return self._log.read_text().count("(INJECTED)") if self._log.exists() else 0

    def _is_attached(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            need("a kernel that lets strace attach")
        tasks = Path(f"/proc/{self._server.pid}/task").glob("*/status")
        return all("TracerPid:\t0\n" not in task.read_text() for task in tasks)

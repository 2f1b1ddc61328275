"""Ends servers whose starter is gone, however it went: a keeper process waits for the end of a pipe from us.

The kernel's own way (`PR_SET_PDEATHSIG`) ends a child with the *thread* that made it, and is there on Linux alone.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

GRACE_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.05

_keepers: dict[int, subprocess.Popen[str]] = {}
"""By the process that started it: a fork must not speak for its parent."""

_children: dict[int, subprocess.Popen[bytes]] = {}


def watch(child: subprocess.Popen[bytes], end: signal.Signals = signal.SIGTERM) -> None:
    """After our own end, the child is sent `end`, and killed where that does not help within seconds."""
    _tell(f"watch {child.pid} {end.value}")
    _children[child.pid] = child


def forget(pid: int) -> None:
    """The child has ended, and its pid may soon be another's."""
    _tell(f"forget {pid}")
    _children.pop(pid, None)


def remove_at_end(folder: Path) -> None:
    """After our own end, and the end of what is watched, `folder` is removed with all that is in it."""
    _tell(f"remove {folder}")


def _tell(line: str) -> None:
    keeper = _keepers.get(os.getpid())
    if keeper is None or keeper.poll() is not None:
        keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, text=True, start_new_session=True
        )
        _keepers[os.getpid()] = keeper
        atexit.register(_close, os.getpid())
    if keeper.stdin is None:
        raise RuntimeError("the keeper has no pipe")
    keeper.stdin.write(f"{line}\n")
    keeper.stdin.flush()


def _close(pid: int) -> None:
    """An orderly end waits for the keeper, so that nothing runs on when we are gone."""
    if pid != os.getpid() or (keeper := _keepers.pop(pid, None)) is None or keeper.stdin is None:
        return
    keeper.stdin.close()
    while keeper.poll() is None:
        # While we do not ask for its exit code, a child that has ended still has its pid.
        for child in _children.values():
            child.poll()
        time.sleep(POLL_SECONDS)


def keep(lines: IO[str]) -> None:
    """The keeper itself: take notes until the pipe ends, then act on them."""
    watched: dict[int, int] = {}
    folders: list[Path] = []
    for line in lines:
        verb, _, rest = line.rstrip("\n").partition(" ")
        if verb == "watch":
            child, end = rest.split()
            watched[int(child)] = int(end)
        elif verb == "forget":
            watched.pop(int(rest), None)
        else:
            folders.append(Path(rest))
    for pid, number in watched.items():
        _signal(pid, number)
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := [pid for pid in watched if _signal(pid, 0)]) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    for pid in left:
        _signal(pid, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _signal(pid: int, number: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


if __name__ == "__main__":
    keep(sys.stdin)

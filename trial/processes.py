"""One server process of ours: started with a log, awaited until it answers, ended by its own pid alone."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from trial import lifeline

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.02
LOG_LINES: Final = 40

END_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
"""Of a person or a service manager who wants all to end."""

PORTS_VARIABLE: Final = "TRIAL_PORTS"
"""`first-last`, for processes that run at once: two of them must not find the same port free before either listens."""

# Below the range that the kernel takes for outgoing connections: a client's port must not be ours after a restart.
FIRST_PORT: Final = 12_000
LAST_PORT: Final = 32_000

_given: Final[set[int]] = set()


class ServerTrouble(Exception):
    """A server of the trial did not start, or did not end, in time; the message has the tail of its log."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now, and that this process has not been given before.

    Raises:
        ServerTrouble: a thousand tries found none.
    """
    first, _, last = os.environ.get(PORTS_VARIABLE, f"{FIRST_PORT}-{LAST_PORT}").partition("-")
    chance = random.SystemRandom()  # a test's seed is the same in all processes
    for _ in range(1000):
        port = chance.randrange(int(first), int(last))
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise ServerTrouble("no free port on the loopback")


@contextmanager
def signals_held() -> Iterator[None]:
    """Ctrl-C and SIGTERM come after the block: within it, an exception would leave a process that nobody ends."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled in the main thread alone
        return
    held: list[signal.Signals] = []
    before = {number: signal.signal(number, lambda got, _: held.append(signal.Signals(got))) for number in END_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in held:
            signal.raise_signal(number)


class Child:
    """One life of a server process. It has a session of its own, so that Ctrl-C is ours to pass on, in our order."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log_path: Path,
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        user: int | None = None,
        orphaned: signal.Signals = signal.SIGTERM,
    ) -> None:
        """`environment` is added to ours; `user` (numeric) needs root; `orphaned` ends it when we are gone."""
        self.command = tuple(str(word) for word in command)
        self.log_path = log_path
        with log_path.open("ab") as log, signals_held():
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
            lifeline.watch(self._process, orphaned)

    @property
    def pid(self) -> int:
        """Its pid, also after its end."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._process.poll()

    def wait_until(self, ready: Callable[[], bool], seconds: float = START_SECONDS) -> Self:
        """Poll until `ready`.

        Raises:
            ServerTrouble: it ended, or was not ready in time; it is ended then.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if self.exit_code is not None:
                lifeline.forget(self.pid)
                raise ServerTrouble(f"{self.command[0]} ended with {self.exit_code}\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.end(signal.SIGKILL)
                raise ServerTrouble(f"{self.command[0]}: not ready within {seconds:g} s\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)
        return self

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = STOP_SECONDS) -> int:
        """Send the signal and wait for the exit code; at the deadline, kill.

        Raises:
            ServerTrouble: it had to be killed.
        """
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            self._process.wait()
            raise ServerTrouble(
                f"{self.command[0]} ran on for {seconds:g} s after {number.name}\n{self.log_tail()}"
            ) from error
        finally:
            lifeline.forget(self.pid)
        return code

    def send(self, number: signal.Signals) -> None:
        """A signal that does not end it."""
        self._process.send_signal(number)

    def log_tail(self, lines: int = LOG_LINES) -> str:
        """The last lines of its log."""
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])


def listens(port: int) -> bool:
    """Whether somebody accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0

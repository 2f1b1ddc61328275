"""Several processes on one address: the parent binds and watches, the workers serve."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Final

import structlog

from tuspy_server.edge.server import CLOSE_SECONDS, bind
from tuspy_server.settings import Settings

log = structlog.get_logger("tuspy_server.edge")

Work = Callable[[Settings, list[socket.socket], Callable[[], None]], None]
"""What a worker does until SIGTERM: serves on the sockets, and calls the last argument once it does. A function of a
module, for it is named to another process."""

LOOK_SECONDS: Final = 0.5
RESTART_SECONDS: Final = 1.0
"""Between the death of a worker and its successor: a defect that kills at once must not become a busy loop."""

READY: Final = ""


class WorkerFailed(Exception):
    """A worker could not begin to serve; the text says why, for the operator."""


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    messages: Connection
    ready: bool = False
    trouble: str = ""


def run_workers(settings: Settings, work: Work, on_listening: Callable[[str, int], None]) -> None:
    """Serve with `settings.workers` processes until SIGTERM or SIGINT. A worker that dies is replaced.

    Raises:
        OSError: the address cannot be bound.
        WorkerFailed: a worker of the first ones could not start.
    """
    listeners = bind(settings.host, settings.port)
    try:
        _Supervisor(settings, work, listeners, on_listening).run()
    finally:
        for listener in listeners:
            listener.close()


class _Supervisor:
    def __init__(
        self,
        settings: Settings,
        work: Work,
        listeners: list[socket.socket],
        on_listening: Callable[[str, int], None],
    ) -> None:
        self._settings = settings
        self._work = work
        self._listeners = listeners
        self._on_listening = on_listening
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._stopping = False
        self._listening = False

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._workers = [self._start() for _ in range(self._settings.workers)]
        try:
            while not self._stopping:
                sentinels: list[int | Connection] = [worker.process.sentinel for worker in self._workers]
                wait([*sentinels, *(worker.messages for worker in self._workers if not worker.ready)], LOOK_SECONDS)
                self._workers = [self._look(worker) for worker in self._workers]
                if not self._listening and all(worker.ready for worker in self._workers):
                    self._listening = True
                    host, port, *_ = self._listeners[0].getsockname()
                    self._on_listening(host, port)
        finally:
            self._end_all()
        log.info("server.workers.stopped")

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_run_worker, args=(self._work, self._settings, self._listeners, theirs))
        process.start()
        theirs.close()
        log.info("server.worker.started", pid=process.pid)
        return _Worker(process, ours)

    def _look(self, worker: _Worker) -> _Worker:
        """The worker, or its successor."""
        ended = not worker.process.is_alive()
        # In this order: what it has said before its end is read, too.
        if not worker.ready and worker.messages.poll():
            try:
                worker.trouble = worker.messages.recv()
                worker.ready = worker.trouble == READY
            except (EOFError, OSError):
                pass
        if not ended or self._stopping:
            return worker
        worker.process.join()
        worker.messages.close()
        if not worker.ready and not self._listening:
            self._stopping = True
            ended_by = f"a worker ended with status {worker.process.exitcode} before it served"
            raise WorkerFailed(worker.trouble or ended_by)
        log.error("server.worker.died", pid=worker.process.pid, status=worker.process.exitcode, reason=worker.trouble)
        time.sleep(RESTART_SECONDS)
        return self._start()

    def _end_all(self) -> None:
        """Drain all at once; one that outlives its deadline ends as kill -9 would end it, which loses nothing."""
        for worker in self._workers:
            if worker.process.is_alive():
                worker.process.terminate()
        deadline = time.monotonic() + self._settings.drain_seconds + 2 * CLOSE_SECONDS
        for worker in self._workers:
            worker.process.join(max(deadline - time.monotonic(), 0.0))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.messages.close()


def _run_worker(work: Work, settings: Settings, listeners: Sequence[socket.socket], parent: Connection) -> None:
    # Ctrl-C goes to the whole group: the parent alone decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), name="tuspy-parent", daemon=True).start()
    try:
        work(settings, list(listeners), lambda: parent.send(READY))
    except Exception as error:  # the parent tells the operator
        parent.send(" ".join(str(error).split()) or type(error).__name__)
        raise SystemExit(1) from None


def _end_with(parent: Connection) -> None:
    """A parent that is killed takes its workers with it: nobody else would end them."""
    try:
        while True:
            parent.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)

"""The load generator: scripts in processes of their own, started together, timed from the start to the last answer."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Final

from bench.driver import Driver, Script
from bench.scripts import Uploaded, Work
from bench.source import Source
from bench.wire import Broken

CONNECT_SECONDS: Final = 60.0

_FORK: Final = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Part:
    """What one process does."""

    work: Work
    scripts: Callable[[Work], Sequence[Script]]


@dataclass(frozen=True, slots=True)
class Report:
    """What was done, and what it took."""

    ended: float
    """Monotonic instant of the last answer."""
    cpu_seconds: float
    """Of the client."""
    requests: int
    body_bytes: int
    reconnects: int
    uploaded: list[Uploaded]
    latencies: list[float]


@dataclass(frozen=True, slots=True)
class Load:
    """All parts together."""

    seconds: float
    cpu_seconds: float
    requests: int
    body_bytes: int
    reconnects: int
    uploaded: list[Uploaded]
    latencies: list[float]


def run(port: int, source: Source, parts: Sequence[Part], limit_seconds: float) -> Load:
    """Connect all parts, let them go at one instant, wait for the last.

    Raises:
        Broken: by any of them.
    """
    children: list[tuple[ForkProcess, Connection]] = []
    try:
        for part in parts:
            ours, theirs = _FORK.Pipe()
            process = _FORK.Process(target=_work, args=(theirs, port, source, part, limit_seconds), daemon=True)
            process.start()
            theirs.close()
            children.append((process, ours))
        for _, pipe in children:
            _receive(pipe, CONNECT_SECONDS)
        started = time.monotonic()
        for _, pipe in children:
            pipe.send("go")
        reports = [_receive(pipe, limit_seconds + CONNECT_SECONDS) for _, pipe in children]
    finally:
        for process, pipe in children:
            pipe.close()
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()
    done = [report for report in reports if isinstance(report, Report)]
    return Load(
        seconds=max(report.ended for report in done) - started,
        cpu_seconds=sum(report.cpu_seconds for report in done),
        requests=sum(report.requests for report in done),
        body_bytes=sum(report.body_bytes for report in done),
        reconnects=sum(report.reconnects for report in done),
        uploaded=[upload for report in done for upload in report.uploaded],
        latencies=[latency for report in done for latency in report.latencies],
    )


def run_here(port: int, source: Source, scripts: Sequence[Script], limit_seconds: float) -> None:
    """A few requests that are not measured, in this process."""
    Driver(port, source, scripts).run(limit_seconds)


def _receive(pipe: Connection, seconds: float) -> object:
    if not pipe.poll(seconds):
        raise Broken(f"the load generator said nothing for {seconds:g} s")
    try:
        message: object = pipe.recv()
    except EOFError as error:
        raise Broken("the load generator died") from error
    if isinstance(message, Broken):
        raise message
    return message


def _work(pipe: Connection, port: int, source: Source, part: Part, limit_seconds: float) -> None:
    gc.disable()
    with contextlib.suppress(BrokenPipeError, EOFError):
        try:
            driver = Driver(port, source, part.scripts(part.work))
            pipe.send("ready")
            pipe.recv()
            before = resource.getrusage(resource.RUSAGE_SELF)
            driver.run(limit_seconds)
        except Broken as error:
            pipe.send(error)
            return
        except OSError as error:
            pipe.send(Broken(f"cannot connect: {error}"))
            return
        ended = time.monotonic()
        after = resource.getrusage(resource.RUSAGE_SELF)
        pipe.send(
            Report(
                ended=ended,
                cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
                requests=driver.requests,
                body_bytes=driver.body_bytes,
                reconnects=driver.reconnects,
                uploaded=part.work.done,
                latencies=part.work.latencies,
            )
        )

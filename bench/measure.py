"""One measurement: a fresh server on empty stores, warmed up, loaded, checked, ended, its data removed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from bench import load, scripts, wire
from bench.check import check_uploads
from bench.driver import Script
from bench.fill import fill
from bench.load import Load, Part
from bench.own_metrics import OwnCounts, read_own_counts
from bench.place import Place
from bench.process import Running, machine_cpu_seconds
from bench.results import Sample
from bench.scripts import Uploaded, Work
from bench.services import Services, services
from bench.shapes import GIBIBYTE, KIBIBYTE, MEBIBYTE, Shape, Unit
from bench.site import Server
from bench.source import Source
from bench.wire import Answer, Broken

CREATION_PATH: Final = "/files/"
CLIENT_PROCESSES: Final = 2
WARM_UP_UPLOADS: Final = 32
HEAD_TARGETS: Final = 64
FEW_SECONDS: Final = 60.0


class NotOffered(Exception):
    """The server says that it has no such extension: no figure, and no fault."""


def measure(server: Server, shape: Shape, repeat: int, place: Place) -> Sample:
    """One figure.

    Raises:
        Broken: the server did not start, answered wrongly, lost a byte or took too long.
        NotOffered: it lacks the extension that the shape uses.
    """
    place.check_space(server, shape)
    try:
        with (
            place.run_folder() as folder,
            services(server, folder, place.postgres) as below,
            Running(
                server, folder, s3_url=below.s3.url if below.s3 else "", database_url=below.database_url
            ) as running,
        ):
            return _measure(running, below, shape, repeat, place.source)
    finally:
        if shape.body_bytes > MEBIBYTE:
            # What is still on its way to the disk would be paid for by the next server.
            os.sync()


def _measure(running: Running, below: Services, shape: Shape, repeat: int, source: Source) -> Sample:
    _check_offered(running, shape, source)
    targets = warm_up(running, source)
    if shape.rows:
        fill(running, below, shape.rows)
    if below.s3 is not None:
        below.s3.begin(shape.latency_ms)
    counts_before, usage_before = _own_counts(running), running.usage()
    below_before, machine_before = below.cpu_seconds, machine_cpu_seconds()
    done = load.run(running.port, source, parts(running, shape, targets), shape.limit_seconds)
    if below.s3 is not None:
        below.s3.settle()
    machine_cpu, usage, counts = machine_cpu_seconds() - machine_before, running.usage(), _own_counts(running)
    s3_cpu, postgres_cpu = (now - before for now, before in zip(below.cpu_seconds, below_before, strict=True))
    s3_counts = below.s3.counts() if below.s3 else None
    server_cpu = usage.cpu_seconds - usage_before.cpu_seconds
    check_uploads(running, below, shape, done, source)
    own = counts - counts_before if counts and counts_before else None
    if own is not None and (own.received_bytes, own.requests) != (done.body_bytes, done.requests):
        raise Broken(f"the client counts {done.requests} requests and {done.body_bytes} bytes; the server {own}")
    return Sample(
        server=running.server.name,
        shape=shape.name,
        repeat=repeat,
        figure=_figure(shape, done),
        seconds=done.seconds,
        cpu_seconds=server_cpu,
        client_cpu_seconds=done.cpu_seconds,
        other_cpu_seconds=max(0.0, machine_cpu - server_cpu - done.cpu_seconds - s3_cpu - postgres_cpu),
        peak_rss_bytes=usage.peak_rss_bytes,
        requests=done.requests,
        body_bytes=done.body_bytes,
        reconnects=done.reconnects,
        commits=None if own is None else own.commits,
        postgres_cpu_seconds=postgres_cpu if below.postgres else None,
        s3_cpu_seconds=s3_cpu if below.s3 else None,
        s3=s3_counts,
    )


def parts(running: Running, shape: Shape, targets: list[Uploaded]) -> list[Part]:
    """The shape, dealt out to the client's processes."""
    count = min(CLIENT_PROCESSES, shape.connections)
    made = []
    for index in range(count):
        connections = _share(shape.connections, index, count)
        work = work_on(running, shape)
        work.left.extend(range(_share(shape.heads or shape.uploads, index, count)))
        made.append(Part(work, _script_maker(shape, connections, targets)))
    if shape.seconds:
        made.append(Part(work_on(running, shape), lambda work: [scripts.probe(work, shape.seconds)]))
    return made


def _script_maker(shape: Shape, connections: int, targets: list[Uploaded]) -> Callable[[Work], Sequence[Script]]:
    if shape.seconds:
        return lambda work: [scripts.slow_upload(work, shape.seconds, n / connections) for n in range(connections)]
    if shape.heads:
        return lambda work: [scripts.heads(work, targets) for _ in range(connections)]
    return lambda work: [scripts.uploads(work) for _ in range(connections)]


def _share(count: int, index: int, shares: int) -> int:
    return count // shares + (index < count % shares)


def work_on(running: Running, shape: Shape | None) -> Work:
    """What the scripts need to know of a server; None: uploads of 1 KiB."""
    return Work(
        host=f"127.0.0.1:{running.port}",
        creation_path=CREATION_PATH,
        upload_bytes=shape.upload_bytes if shape else KIBIBYTE,
        chunk_bytes=shape.chunk_bytes if shape else 0,
        in_creation=shape.in_creation if shape else False,
        left=deque(),
    )


def _figure(shape: Shape, done: Load) -> float:
    match shape.unit:
        case Unit.STREAM:
            return done.body_bytes / GIBIBYTE / done.seconds
        case Unit.UPLOADS:
            return len(done.uploaded) / done.seconds
        case Unit.REQUESTS:
            return done.requests / done.seconds
        case Unit.LATENCY:
            return 1000 * sorted(done.latencies)[int(len(done.latencies) * 0.99)]
        case Unit.TIME:
            return 1000 * done.seconds * shape.connections / len(done.uploaded)
        case Unit.LATE | Unit.DELIVERIES:
            raise ValueError("the part “events” is measured elsewhere")


# --- around the load ---------------------------------------------------------------------------------------------


def _check_offered(running: Running, shape: Shape, source: Source) -> None:
    if not shape.in_creation:
        return
    answers: list[Answer] = []
    request = wire.options(CREATION_PATH, f"127.0.0.1:{running.port}")
    load.run_here(running.port, source, [scripts.fetch(request, answers)], FEW_SECONDS)
    offered = (answers[0].header("Tus-Extension") or "").replace(" ", "").split(",")
    if "creation-with-upload" not in offered:
        raise NotOffered("does not offer creation-with-upload")


def warm_up(running: Running, source: Source, connections: int = 4) -> list[Uploaded]:
    """A few small uploads; returns them."""
    work = work_on(running, None)
    work.left.extend(range(max(WARM_UP_UPLOADS, HEAD_TARGETS, 4 * connections)))
    load.run_here(running.port, source, [scripts.uploads(work) for _ in range(connections)], FEW_SECONDS)
    return work.done


def _own_counts(running: Running) -> OwnCounts | None:
    return read_own_counts(running.port) if running.server.ours else None

"""Figures of events: how late a subscriber hears of a finish, and how many webhook calls a second a node makes."""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import load, scripts, wire
from bench.driver import Script
from bench.measure import CREATION_PATH, parts, warm_up
from bench.place import Place
from bench.process import REPOSITORY, Running, machine_cpu_seconds
from bench.results import Sample
from bench.services import Services, services
from bench.shapes import Shape, Unit
from bench.site import Server, Site
from bench.subscribers import Subscriber, subscribe_all, wait_all
from bench.wire import Answer, Broken

NODES: Final = 2
LIMIT_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 0.05
EVENTS_AN_UPLOAD: Final = 2
"""Created and finished."""

RECEIVER: Final = Server(
    name="receiver",
    version="",
    note="",
    command=lambda site: (sys.executable, "-m", "bench.receiver", str(site.port)),
)


def measure(server: Server, shape: Shape, repeat: int, place: Place) -> Sample:
    """One figure of the part “events”.

    Raises:
        Broken: something did not start, was answered wrongly, was lost or took too long.
    """
    place.check_space(server, shape)
    with place.run_folder() as folder, services(server, folder, place.postgres) as below, ExitStack() as stack:
        run = _late if shape.unit is Unit.LATE else _deliver
        return run(stack, below, server, shape, repeat, dataclasses.replace(place, folder=folder))


def _late(stack: ExitStack, below: Services, server: Server, shape: Shape, repeat: int, place: Place) -> Sample:
    """Uploads that wait for their bytes, followed on two nodes; then all of them finish at once."""
    nodes = [_start(stack, below, server, place.folder / f"node-{number}") for number in range(NODES)]
    for node in nodes:
        # As many at once as in the measurement: each connection of a pool plans its statements once.
        warm_up(node, place.source, shape.uploads // len(nodes))
    answers: list[Answer] = []
    host = f"127.0.0.1:{nodes[0].port}"
    created: list[Script] = [
        scripts.fetch(wire.post(CREATION_PATH, host, shape.upload_bytes, with_body=False), answers)
        for _ in range(shape.uploads)
    ]
    load.run_here(nodes[0].port, place.source, created, LIMIT_SECONDS)
    locations = [(answer.header("Location") or "").rpartition("/")[2] for answer in answers]
    if len(set(locations)) != shape.uploads:
        raise Broken(f"{shape.uploads} uploads were wanted, and {len(set(locations))} were made")
    before = [node.usage() for node in nodes]
    machine, started = machine_cpu_seconds(), time.monotonic()
    arrivals = asyncio.run(_follow_and_finish(nodes, locations, shape))
    seconds = time.monotonic() - started
    usage = [node.usage() for node in nodes]
    cpu = sum(now.cpu_seconds - then.cpu_seconds for now, then in zip(usage, before, strict=True))
    if below.postgres is None:
        raise Broken("events are measured on PostgreSQL, which notes when it commits")
    committed_at = below.postgres.committed_at(locations)
    late_ms = sorted(1000 * (arrived_at - committed_at[upload_id]) for upload_id, arrived_at in arrivals)
    return Sample(
        server=server.name,
        shape=shape.name,
        repeat=repeat,
        figure=late_ms[int(len(late_ms) * 0.95)],
        seconds=seconds,
        cpu_seconds=cpu,
        client_cpu_seconds=0.0,
        other_cpu_seconds=max(0.0, machine_cpu_seconds() - machine - cpu),
        peak_rss_bytes=max(row.peak_rss_bytes for row in usage),
        requests=shape.uploads + shape.connections,
        body_bytes=shape.body_bytes,
        reconnects=0,
        commits=None,
    )


async def _follow_and_finish(
    nodes: Sequence[Running], upload_ids: Sequence[str], shape: Shape
) -> list[tuple[str, float]]:
    """Which upload's event came when, for each subscriber."""
    subscribers = [
        Subscriber(nodes[number % NODES].port, upload_ids[number // NODES % len(upload_ids)])
        for number in range(shape.connections)
    ]
    async with asyncio.timeout(LIMIT_SECONDS):
        try:
            await subscribe_all(subscribers)
            waiting = asyncio.ensure_future(wait_all(subscribers))
            patches = [
                _patch(nodes[number % NODES].port, upload_id, shape.upload_bytes)
                for number, upload_id in enumerate(upload_ids)
            ]
            await asyncio.gather(*patches)
            await waiting
        finally:
            for subscriber in subscribers:
                subscriber.close()
    return [(subscriber.upload_id, subscriber.arrived_at) for subscriber in subscribers]


async def _patch(port: int, upload_id: str, upload_bytes: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"PATCH {CREATION_PATH}{upload_id} HTTP/1.1\r\nHost: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        f"Content-Type: application/offset+octet-stream\r\nContent-Length: {upload_bytes}\r\n\r\n"
    )
    writer.write(head.encode() + bytes(upload_bytes))
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    if b" 204 " not in answer.split(b"\r\n", 1)[0]:
        raise Broken(f"a PATCH was answered {answer[:100]!r}")


def _deliver(stack: ExitStack, below: Services, server: Server, shape: Shape, repeat: int, place: Place) -> Sample:
    """A table of events, delivered once as they came; then all of them are asked for again at one instant."""
    receiver = stack.enter_context(Running(RECEIVER, place.folder / "receiver"))
    flags = ("--webhook-url", f"http://127.0.0.1:{receiver.port}/", "--webhook-allow-private")
    hooked = dataclasses.replace(server, command=lambda site: (*server.command(site), *flags))
    node = _start(stack, below, hooked, place.folder / "node")
    load.run(node.port, place.source, parts(node, shape, []), LIMIT_SECONDS)
    events = EVENTS_AN_UPLOAD * shape.uploads
    _wait_for(receiver, events)
    usage, machine, started = node.usage(), machine_cpu_seconds(), time.monotonic()
    _replay(hooked, below, node)
    # The command's own start is not the relay's: the clock starts at its first delivery.
    while _count(receiver) == events:
        started = time.monotonic()
    _wait_for(receiver, 2 * events)
    seconds, now = time.monotonic() - started, node.usage()
    cpu = now.cpu_seconds - usage.cpu_seconds
    return Sample(
        server=server.name,
        shape=shape.name,
        repeat=repeat,
        figure=events / seconds,
        seconds=seconds,
        cpu_seconds=cpu,
        client_cpu_seconds=0.0,
        other_cpu_seconds=max(0.0, machine_cpu_seconds() - machine - cpu),
        peak_rss_bytes=now.peak_rss_bytes,
        requests=events,
        body_bytes=0,
        reconnects=0,
        commits=None,
    )


def _start(stack: ExitStack, below: Services, server: Server, folder: Path) -> Running:
    s3_url = below.s3.url if below.s3 else ""
    return stack.enter_context(Running(server, folder, s3_url=s3_url, database_url=below.database_url))


def _replay(server: Server, below: Services, node: Running) -> None:
    site = Site(node.port, node.data, below.s3.url if below.s3 else "", below.database_url)
    words = list(server.command(site))
    # The same program and settings, another command.
    at = words.index("tuspy_server") + 1
    done = subprocess.run(
        [*words[:at], "events", "replay", "webhook:default", "--after", "0", *words[at:]],
        cwd=node.data,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "", **server.environment},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    if done.returncode:
        raise Broken(f"events replay: {done.stderr[-300:]}")


def _wait_for(receiver: Running, count: int) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while (received := _count(receiver)) < count:
        if time.monotonic() > deadline:
            raise Broken(f"{received} of {count} deliveries came")
        time.sleep(LOOK_SECONDS)


def _count(receiver: Running) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=LIMIT_SECONDS)
    try:
        connection.request("GET", "/")
        return int(connection.getresponse().read())
    finally:
        connection.close()

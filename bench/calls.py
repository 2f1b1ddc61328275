"""System calls of one upload, counted by strace: counts say who makes bytes durable, and what an upload costs."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench import load
from bench.measure import FEW_SECONDS, parts
from bench.place import Place
from bench.process import Running
from bench.results import Calls
from bench.shapes import MEBIBYTE, Shape, Unit
from bench.site import Server
from bench.wire import Broken

ATTACH_SECONDS: Final = 1.0
END_SECONDS: Final = 20.0
SYNCS: Final = ("fsync", "fdatasync", "sync_file_range", "msync")

COUNTED: Final = (
    Shape(
        name="calls-small",
        title="1 KiB, POST + PATCH, 16 at once",
        group="shapes",
        unit=Unit.UPLOADS,
        connections=16,
        uploads=200,
    ),
    Shape(
        name="calls-one",
        title="64 MiB in one PATCH",
        group="shapes",
        unit=Unit.STREAM,
        connections=1,
        uploads=1,
        upload_bytes=64 * MEBIBYTE,
    ),
)


def count(servers: Sequence[Server], place: Place) -> list[Calls]:
    """Of each server and each of the two shapes; nothing where strace cannot be had. Not timed: strace slows."""
    strace = shutil.which("strace")
    if strace is None:
        return []
    counted = []
    for shape in COUNTED:
        for server in servers:
            if server.stored is not None:
                calls = _count(strace, server, shape, place)
                if calls is not None:
                    counted.append(calls)
    return counted


def _count(strace: str, server: Server, shape: Shape, place: Place) -> Calls | None:
    try:
        with place.run_folder() as folder, Running(server, folder) as running:
            output = folder / "calls"
            tracer = subprocess.Popen(
                (strace, "-f", "-c", "-U", "calls,name", "-p", str(running.pid), "-o", str(output)),
                stderr=subprocess.DEVNULL,
            )
            try:
                time.sleep(ATTACH_SECONDS)
                if tracer.poll() is not None:
                    return None
                load.run(running.port, place.source, parts(running, shape, []), FEW_SECONDS)
            finally:
                tracer.send_signal(signal.SIGINT)
                tracer.wait(END_SECONDS)
            totals = parse(output)
    except Broken:
        return None
    return Calls(server=server.name, shape=shape.name, calls={k: n / shape.uploads for k, n in totals.items()})


def parse(output: Path) -> dict[str, int]:
    """Calls by name, of the table that `strace -c -U calls,name` writes; `total` is their sum."""
    totals: dict[str, int] = {}
    for line in output.read_text("utf-8").splitlines():
        words = line.split()
        if len(words) == 2 and words[0].isdigit():
            totals[words[1]] = int(words[0])
    return totals


def syncs(calls: Calls) -> float:
    """Calls that make bytes durable."""
    return sum(calls.calls.get(name, 0.0) for name in SYNCS[:2])

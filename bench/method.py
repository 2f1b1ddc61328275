"""The method: in each repeat every shape goes to every server in turn, and the turn moves on by one each time."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

from bench import realtime
from bench.measure import NotOffered, measure
from bench.place import Place, new_file_microseconds
from bench.results import Refusal, Results
from bench.s3_servers import OURS_S3
from bench.servers import CEILINGS, FLOOR, OURS
from bench.shapes import GIBIBYTE, MEBIBYTE, Part, Shape
from bench.site import Server
from bench.wire import Broken

DISK_BYTES: Final = GIBIBYTE

Say = Callable[[str], None]


def run(
    book: Mapping[Part, Results],
    servers: Sequence[Server],
    shapes: Sequence[Shape],
    place: Place,
    *,
    repeats: int,
    minutes: float,
    say: Say,
) -> None:
    """Measure everything into the results of its part; what the time does not allow for is left out, and said.

    All shapes come once before any comes again, so that what is cut off is repeats.

    Args:
        book: rows are added as they are made, so that an end by Ctrl-C leaves those that are there.
        minutes: no measurement is begun after so many.
    """
    deadline = time.monotonic() + 60 * minutes
    left_out = dict.fromkeys(book, 0)
    for repeat in range(repeats):
        for shape in shapes:
            for server in turn(servers, repeat):
                if not wanted(server, shape) or repeat >= min(shape.most_repeats, server.most_repeats):
                    continue
                if time.monotonic() > deadline:
                    left_out[shape.part] += 1
                    continue
                _one(book[shape.part], server, shape, repeat, place, say)
    for part, count in left_out.items():
        if count:
            book[part].cut = f"{minutes:g} minutes had passed: {count} measurements were left out"
            say(f"{part}: {book[part].cut}")


def turn(servers: Sequence[Server], repeat: int) -> list[Server]:
    """Their order in one repeat: nobody always comes after the same one."""
    first = repeat % len(servers)
    return [*servers[first:], *servers[:first]]


def wanted(server: Server, shape: Shape) -> bool:
    """Variants of ours, and the ceilings, are measured for the shapes alone; curves are ours and the peers'. But what
    growth is the disk's own is shown by one who does nothing but write."""
    if shape.part == "rows":
        return server.name in (OURS, OURS_S3)
    if shape.part == "events":
        return server.name == OURS_S3
    if server.store != ("s3" if shape.part in ("s3", "latency") else "files"):
        return False
    if shape.ours_only and not server.ours:
        return False
    if shape.part == "growth" and server.name == FLOOR:
        return True
    return shape.group == "shapes" or not (server.variant or server.name in CEILINGS)


def _one(results: Results, server: Server, shape: Shape, repeat: int, place: Place, say: Say) -> None:
    try:
        sample = (realtime.measure if shape.part == "events" else measure)(server, shape, repeat, place)
    except (Broken, NotOffered) as error:
        results.refusals.append(Refusal(server=server.name, shape=shape.name, repeat=repeat, reason=str(error)))
        say(f"{repeat + 1}  {shape.title:<52} {server.name:<15} -: {error}")
        return
    results.samples.append(sample)
    say(
        f"{repeat + 1}  {shape.title:<52} {server.name:<15} {sample.figure:>10,.2f} {shape.unit:<13} "
        f"{sample.cpu_seconds:6.2f} CPU s  {sample.peak_rss_bytes / MEBIBYTE:5.0f} MiB"
    )


def disk_gib_a_second(folder: Path) -> float:
    """What the disk takes: one GiB written in MiB blocks, one fdatasync at the end. Nobody who syncs can be faster."""
    path, block = folder / "disk", os.urandom(MEBIBYTE)
    try:
        started = time.monotonic()
        with path.open("wb", buffering=0) as file:
            for _ in range(DISK_BYTES // MEBIBYTE):
                file.write(block)
            os.fdatasync(file.fileno())
        return DISK_BYTES / GIBIBYTE / (time.monotonic() - started)
    finally:
        path.unlink(missing_ok=True)


def describe_machine(folder: Path) -> dict[str, str]:
    """What the figures were made on."""
    mount = max(
        (part for part in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(part.mountpoint)),
        key=lambda part: len(part.mountpoint),
    )
    return {
        "cores": str(os.cpu_count()),
        "processor": _processor(),
        "memory": f"{psutil.virtual_memory().total / GIBIBYTE:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "file system": f"{mount.fstype}, {shutil.disk_usage(folder).free / GIBIBYTE:.0f} GiB free",
        "making a file": f"{new_file_microseconds(folder):.0f} µs of CPU",
        "load at the start": f"{os.getloadavg()[0]:.1f}",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def peers(results: Results) -> list[str]:
    """Names of the servers that are not ours, nor the ceiling."""
    return [name for name in results.servers if not name.startswith(OURS) and name not in CEILINGS]


def ours(results: Results) -> list[str]:
    """Names of our variants."""
    return [name for name in results.servers if name.startswith(OURS)]


def commit(folder: Path) -> str:
    """The short name of the commit that is checked out, with a + where files differ from it."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    words = ((git, "rev-parse", "--short", "HEAD"), (git, "status", "--porcelain", "--", "tuspy_server", "bench"))
    name, changed = (
        subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False).stdout.strip() for line in words
    )
    return f"{name}{'+' if changed else ''}" or "unknown"

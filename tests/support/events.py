"""What hooks in a server's process have seen: lines of a file, `<event id> <type> <upload id>`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Final

from tuspy_server import Event, TusServer

EVENTS_VARIABLE: Final = "TEST_EVENTS"
STALL_VARIABLE: Final = "TEST_STALL"
"""`task` or `thread`: the hook, of that kind, never returns once it has recorded its event."""

HOOKED_APP: Final = (sys.executable, "-m", "tests.support.hooked_app")


def add_hook(tus: TusServer) -> None:
    """Hook finished events under one name, whatever the hook does: deliveries are remembered by it."""
    hooks = {"task": stall_in_task, "thread": stall_in_thread, None: record}
    tus.on("upload.finished", name="recorder")(hooks[os.environ.get(STALL_VARIABLE)])


async def stall_in_task(event: Event) -> None:
    record(event)
    await asyncio.Event().wait()


def stall_in_thread(event: Event) -> None:
    record(event)
    time.sleep(3600)


def record(event: Event) -> None:
    """The hook: one `write` a line, so that a kill leaves a whole line or none."""
    descriptor = os.open(os.environ[EVENTS_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{event.id} {event.type} {event.upload_id}\n".encode())
    finally:
        os.close(descriptor)


def seen_events(path: Path) -> list[tuple[str, str, str]]:
    """Event id, type and upload id of every call, in order."""
    if not path.exists():
        return []
    rows = (line.split() for line in path.read_text().splitlines())
    return [(event_id, kind, upload_id) for event_id, kind, upload_id in rows]


def finished_event_ids(path: Path) -> dict[str, set[str]]:
    """Ids of the finished events of each upload."""
    ids: dict[str, set[str]] = defaultdict(set)
    for event_id, kind, upload_id in seen_events(path):
        if kind == "upload.finished":
            ids[upload_id].add(event_id)
    return dict(ids)

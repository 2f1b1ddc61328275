"""Runs tus-js-client in Node, and reads what it says of itself."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.fixtures import need

FOLDER: Final = Path(__file__).parent / "node"
RUN_SECONDS: Final = 90.0


@dataclass(slots=True)
class Run:
    """One process of the client; `events` are what it has said so far."""

    process: subprocess.Popen[str]
    events: list[dict[str, Any]] = field(default_factory=list)

    def follow(self) -> Iterator[dict[str, Any]]:
        """Each event when it comes, until the client ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: dict[str, Any] = json.loads(line)
            self.events.append(event)
            yield event

    def finish(self) -> None:
        """Wait for its end, which must be a good one."""
        for _ in self.follow():
            pass
        code = self.process.wait(RUN_SECONDS)
        assert code == 0, self.events[-3:]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]

    @property
    def url(self) -> str:
        """Where the one upload is that came to its end."""
        (event,) = (event for event in self.events if event["event"] in ("success", "aborted", "terminated"))
        return str(event["url"])


@contextmanager
def start(options: dict[str, Any]) -> Iterator[Run]:
    """Start the client: options of `tus.Upload`, and those of `upload.mjs`."""
    node = shutil.which("node")
    if node is None:
        need("node")
    if not (FOLDER / "node_modules").exists():
        need(f"`npm ci` in {FOLDER}, which `make test` does")
    with subprocess.Popen(
        [node, "upload.mjs", json.dumps(options)], cwd=FOLDER, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Run(process)
        finally:
            process.kill()


def run(options: dict[str, Any]) -> Run:
    """Run the client to its good end."""
    with start(options) as started:
        started.finish()
        return started

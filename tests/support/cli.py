"""The command line in processes of its own, away from the environment of whoever runs the tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support import warm
from tests.support.process import CLI

RUN_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def complaint(self) -> str:
        """The one line on stderr; fails if there is more or less."""
        assert self.stderr.endswith("\n")
        assert self.stderr.count("\n") == 1, self.stderr
        return self.stderr.removesuffix("\n")


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without settings, with plain output of a known width, and with `variables`."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("TUSPY_")}
    return {**outer, "COLUMNS": "120", "NO_COLOR": "1", **variables}


def run(folder: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> Result:
    """Run `tuspy-server` in `folder` to its end."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        given = environment(**(variables or {}))
        start = warm.launch_cold if "--workers" in arguments else warm.launch
        process = start([*CLI, *arguments], cwd=folder, env=given, stdout=stdout, stderr=stderr)
        try:
            status = process.wait(RUN_SECONDS)
        finally:
            process.kill()
            process.wait(RUN_SECONDS)
        texts = []
        for file in (stdout, stderr):
            file.seek(0)
            texts.append(file.read().decode())
    return Result(status, *texts)

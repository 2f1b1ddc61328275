"""The command line in processes of its own, away from the environment of whoever runs the tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
    done = subprocess.run(
        [*CLI, *arguments],
        cwd=folder,
        env=environment(**(variables or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)

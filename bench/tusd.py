"""The program tusd: one that is named, or one that go makes of the module that its registry hands out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from bench.site import Missing

TUSD: Final = "tusd"
MODULE: Final = "github.com/tus/tusd/v2"
MODULE_VERSION: Final = "v2.10.0"
MADE: Final = Path(__file__).parent / "results" / "go" / f"{TUSD}-{MODULE_VERSION}"
BUILD_SECONDS: Final = 900


def program(asked: str | None, name: str) -> str:
    """The program that was named, or one that go makes (some 400 MiB of modules, minutes the first time).

    Args:
        asked: path of the program; `auto`: that of the PATH, else one made here; None: to be left out.
        name: of the server whose row it is.

    Raises:
        Missing: for the server of that name.
    """
    if asked is None:
        raise Missing(f"{name}: not asked for; --tusd PATH, or --tusd auto where there is go")
    found = shutil.which(asked) if asked != "auto" else shutil.which(TUSD) or _made()
    if found is None:
        raise Missing(f"{name}: there is no program {asked}")
    return found


def version(path: str) -> str:
    """As it tells it; one that go has made of a module knows none."""
    if path == str(MADE):
        return f"{MODULE_VERSION}, {_run(('go', 'env', 'GOVERSION')).strip()}"
    lines = _run((path, "-version")).strip().splitlines()
    return lines[0].removeprefix("Version: ") if lines else "unknown"


def _made() -> str:
    if MADE.exists():
        return str(MADE)
    if shutil.which("go") is None:
        raise Missing(f"{TUSD}: there is no go on the PATH")
    MADE.parent.mkdir(parents=True, exist_ok=True)
    # By its exact version, in its own folder: `go install` asks for the list of versions, which some proxies refuse.
    source = json.loads(_run(("go", "mod", "download", "-json", f"{MODULE}@{MODULE_VERSION}")))["Dir"]
    _run(("go", "build", "-C", source, "-mod=readonly", "-o", str(MADE), "./cmd/tusd"))
    return str(MADE)


def _run(command: tuple[str, ...]) -> str:
    done = subprocess.run(
        command, env={**os.environ, "GOFLAGS": ""}, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    if done.returncode:
        told = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise Missing(f"{TUSD}: {' '.join(command[:2])} failed: {told[-1].strip()}")
    return done.stdout

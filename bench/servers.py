"""The servers that are measured: ours, in the variants that a setting makes, and its peers. One row each.

Peers come from registries: @tus/server by npm into `bench/node`, tuspyserver by pip with the tests' requirements, tusd
where a program is named (`--tusd`). A row that cannot run here says why, and is left out.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tuspy_server import Settings
from tuspy_server.version import VERSION

HERE: Final = Path(__file__).parent
NODE: Final = HERE / "node"
TUSD_MODULE: Final = "github.com/tus/tusd/v2/cmd/tusd@latest"
BUILD_SECONDS: Final = 600

OURS: Final = "ours"
TUS_NODE: Final = "@tus/server"
TUSPYSERVER: Final = "tuspyserver"
TUSD: Final = "tusd"
SINK: Final = "sink"


class Missing(Exception):
    """This server cannot run here; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How one server is started, and where it keeps what it took."""

    name: str
    version: str
    note: str
    """What it does before it acknowledges, and how it is set up."""
    command: Callable[[int, Path], Sequence[str]]
    """Of a port and the empty data folder."""
    stored: Callable[[Path, str], Path] | None
    """The file of an upload, of the data folder and the last segment of its URL; None: nothing is stored."""
    ours: bool = False
    variant: bool = False
    """A setting of ours that is no default: measured for the shapes, not for growth."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Variant:
    """Ours with some settings that are not the defaults."""

    name: str
    note: str
    settings: Mapping[str, str]


VARIANTS: Final = (
    Variant(OURS, "default settings: fdatasync and a SQLite commit before an offset is told; request log on", {}),
    Variant(
        "ours-process", "no fdatasync: survives kill -9, not a power cut, as the peers do", {"durability": "process"}
    ),
    Variant("ours-stock", "uvicorn's own HTTP class in place of ours", {"http": "stock"}),
    Variant("ours-quiet", "logs warnings only", {"log_level": "warning"}),
)


def find(tusd: str | None) -> tuple[list[Server], list[str]]:
    """All servers of the *files* store that run here, ours first, and why the others do not.

    Args:
        tusd: path of the program, `auto` to have `go install` make it in a scratch folder, None to leave it out.
    """
    makers: list[Callable[[], Server]] = [
        *(lambda variant=variant: _ours(variant) for variant in VARIANTS),
        lambda: _tusd(tusd),
        _tus_node,
        _tuspyserver,
        _sink,
    ]
    found, missing = [], []
    for make in makers:
        try:
            found.append(make())
        except Missing as error:
            missing.append(str(error))
    return found, missing


STORES: Final = {"files": find}
"""What bytes are stored in → how its servers are found. The S3 sink gets its row with the S3 store (issue 6)."""


def _ours(variant: Variant) -> Server:
    unknown = [name for name in variant.settings if name not in Settings.model_fields]
    if unknown:
        raise Missing(f"{variant.name}: there is no setting {unknown[0]} yet")
    flags = [part for name, value in variant.settings.items() for part in (f"--{name.replace('_', '-')}", value)]
    return Server(
        name=variant.name,
        version=VERSION,
        note=variant.note,
        command=lambda port, data: (
            *(sys.executable, "-m", "tuspy_server", "--port", str(port), "--data", str(data)),
            *flags,
        ),
        stored=lambda data, upload_id: data / "files" / upload_id,
        ours=True,
        variant=variant.name != OURS,
    )


def _tus_node() -> Server:
    node = shutil.which("node")
    if node is None:
        raise Missing(f"{TUS_NODE}: there is no node on the PATH")
    package = NODE / "node_modules" / "@tus" / "server" / "package.json"
    if not package.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise Missing(f"{TUS_NODE}: there is no npm on the PATH to install it")
        made = subprocess.run(
            (npm, "ci", "--prefix", str(NODE), "--loglevel=error"),
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
        if made.returncode:
            raise Missing(f"{TUS_NODE}: npm ci failed: {made.stderr.strip()[-200:]}")
    return Server(
        name=TUS_NODE,
        version=f"{json.loads(package.read_text('utf-8'))['version']}, node {_first_line(node, '--version')}",
        note="@tus/file-store as documented: no fsync",
        command=lambda port, data: (node, str(NODE / "server.mjs"), str(port), str(data)),
        stored=_flat,
    )


def _tuspyserver() -> Server:
    try:
        version = importlib.metadata.version(TUSPYSERVER)
        importlib.metadata.version("fastapi")
    except importlib.metadata.PackageNotFoundError as error:
        raise Missing(f"{TUSPYSERVER}: {error} is not installed (requirements/test.txt has it)") from error
    return Server(
        name=TUSPYSERVER,
        version=f"{version}, uvicorn {importlib.metadata.version('uvicorn')}",
        note="FastAPI on uvicorn with uvloop, as documented, logs off",
        command=lambda port, data: (sys.executable, "-m", "bench.tuspyserver_app", str(port), str(data)),
        stored=_flat,
    )


def _tusd(asked: str | None) -> Server:
    if asked is None:
        raise Missing(f"{TUSD}: not asked for; --tusd PATH, or --tusd auto where go can install it")
    program = shutil.which(asked) if asked != "auto" else shutil.which(TUSD) or _go_install()
    if program is None:
        raise Missing(f"{TUSD}: there is no program {asked}")
    return Server(
        name=TUSD,
        version=_first_line(program, "-version"),
        note="file store, no fsync, logs off",
        command=lambda port, data: (
            *(program, "-host", "127.0.0.1", "-port", str(port), "-upload-dir", str(data)),
            *("-verbose=false", "-show-startup-logs=false"),
        ),
        stored=_flat,
    )


def _go_install() -> str:
    go = shutil.which("go")
    if go is None:
        raise Missing(f"{TUSD}: there is no go on the PATH")
    folder = HERE / "results" / "go"
    folder.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        (go, "install", TUSD_MODULE),
        env={**os.environ, "GOBIN": str(folder)},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if made.returncode:
        raise Missing(f"{TUSD}: go install failed: {made.stderr.strip().splitlines()[-1].strip()}")
    return str(folder / TUSD)


def _sink() -> Server:
    return Server(
        name=SINK,
        version=f"python {sys.version.split()[0]}",
        note="reads and discards: the client's ceiling, no server",
        command=lambda port, _: (sys.executable, "-m", "bench.sink", str(port)),
        stored=None,
    )


def _flat(data: Path, upload_id: str) -> Path:
    return data / upload_id


def _first_line(program: str, flag: str) -> str:
    done = subprocess.run((program, flag), capture_output=True, text=True, timeout=30, check=False)
    lines = done.stdout.strip().splitlines()
    return lines[0].removeprefix("Version: ") if lines else "unknown"

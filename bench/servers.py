"""The servers that keep files: ours, in the variants that a setting makes, and its peers. One row each.

Peers come from registries: @tus/server by npm into `bench/node`, tuspyserver by pip with the tests' requirements, tusd
where a program is named, or go can make it (`--tusd`). A row that cannot run here says why, and is left out.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import tusd
from bench.site import Missing, Server
from bench.tusd import TUSD
from tuspy_server import Settings
from tuspy_server.version import VERSION

HERE: Final = Path(__file__).parent
NODE: Final = HERE / "node"
INSTALL_SECONDS: Final = 600

OURS: Final = "ours"
TUS_NODE: Final = "@tus/server"
TUSPYSERVER: Final = "tuspyserver"
SINK: Final = "sink"
FLOOR: Final = "sink+write"
CEILINGS: Final = (SINK, FLOOR)
"""No servers: what the client can do, and what the kernel's work costs."""

PACKAGES: Final = ("@tus/server", "@tus/file-store", "@tus/s3-store")


@dataclass(frozen=True, slots=True)
class Variant:
    """Ours with some settings that are not the defaults."""

    name: str
    note: str
    settings: Mapping[str, str]
    most_repeats: int = 100


VARIANTS: Final = (
    Variant(OURS, "default settings: fdatasync and a SQLite commit before an offset is told; request log on", {}),
    Variant(
        "ours-process", "no fdatasync: survives kill -9, not a power cut, as the peers do", {"durability": "process"}
    ),
    Variant("ours-stock", "uvicorn's own HTTP class in place of ours", {"http": "stock"}, 1),
    Variant("ours-quiet", "logs warnings only", {"log_level": "warning"}, 1),
)


def makers(tusd_asked: str | None) -> list[Callable[[], Server]]:
    """Of all servers that keep files, ours first; each raises `Missing` where it cannot run."""
    return [
        *(lambda variant=variant: _ours(variant) for variant in VARIANTS),
        lambda: _tusd(tusd_asked),
        _tus_node,
        _tuspyserver,
        _sink,
        _floor,
    ]


def _ours(variant: Variant) -> Server:
    check_settings(variant.name, variant.settings)
    flags = [part for name, value in variant.settings.items() for part in (f"--{name.replace('_', '-')}", value)]
    return Server(
        name=variant.name,
        version=VERSION,
        note=variant.note,
        command=lambda site: (
            *(sys.executable, "-m", "tuspy_server", "--port", str(site.port), "--data", str(site.data)),
            *flags,
        ),
        stored=lambda data, upload_id: data / "files" / upload_id,
        ours=True,
        variant=variant.name != OURS,
        most_repeats=variant.most_repeats,
    )


def check_settings(name: str, settings: Iterable[str]) -> None:
    """Raise `Missing` if ours has no such setting."""
    unknown = [setting for setting in settings if setting not in Settings.model_fields]
    if unknown:
        raise Missing(f"{name}: there is no setting {unknown[0]} yet")


def _tus_node() -> Server:
    node = node_program(TUS_NODE)
    return Server(
        name=TUS_NODE,
        version=f"{package_version(TUS_NODE)}, node {_first_line(node, '--version')}",
        note="@tus/file-store as documented: no fsync",
        command=lambda site: (node, str(NODE / "server.mjs"), str(site.port), str(site.data)),
        stored=_flat,
    )


def package_version(name: str) -> str:
    """Of an npm package of the bench's."""
    version: str = json.loads((NODE / "node_modules" / name / "package.json").read_text("utf-8"))["version"]
    return version


def node_program(name: str) -> str:
    """Node, with the bench's packages installed.

    Raises:
        Missing: for the server of that name.
    """
    node = shutil.which("node")
    if node is None:
        raise Missing(f"{name}: there is no node on the PATH")
    if not all((NODE / "node_modules" / package / "package.json").exists() for package in PACKAGES):
        npm = shutil.which("npm")
        if npm is None:
            raise Missing(f"{name}: there is no npm on the PATH to install it")
        made = subprocess.run(
            (npm, "ci", "--prefix", str(NODE), "--loglevel=error"),
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        if made.returncode:
            raise Missing(f"{name}: npm ci failed: {made.stderr.strip()[-200:]}")
    return node


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
        command=lambda site: (sys.executable, "-m", "bench.tuspyserver_app", str(site.port), str(site.data)),
        stored=_flat,
    )


def _tusd(asked: str | None) -> Server:
    program = tusd.program(asked, TUSD)
    return Server(
        name=TUSD,
        version=tusd.version(program),
        note="file store, no fsync, logs off",
        command=lambda site: (
            *(program, "-host", "127.0.0.1", "-port", str(site.port), "-upload-dir", str(site.data)),
            *("-verbose=false", "-show-startup-logs=false"),
        ),
        stored=_flat,
    )


def _sink() -> Server:
    return Server(
        name=SINK,
        version=f"python {sys.version.split()[0]}",
        note="reads and discards: the client's ceiling, no server",
        command=lambda site: (sys.executable, "-m", "bench.sink", str(site.port)),
        most_repeats=1,
    )


def _floor() -> Server:
    return Server(
        name=FLOOR,
        version=f"python {sys.version.split()[0]}",
        note="reads and writes to a file: no protocol, no database, no sync, no second thread; the kernel's part alone",
        command=lambda site: (sys.executable, "-m", "bench.sink", str(site.port), str(site.data)),
        most_repeats=1,
    )


def _flat(data: Path, upload_id: str) -> Path:
    return data / upload_id


def _first_line(program: str, flag: str) -> str:
    done = subprocess.run((program, flag), capture_output=True, text=True, timeout=30, check=False)
    lines = done.stdout.strip().splitlines()
    return lines[0].removeprefix("Version: ") if lines else "unknown"

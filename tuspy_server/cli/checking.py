"""`tuspy-server check`: tries out what a server needs, and says what works and what does not."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path

from tuspy_server.app import TusServer
from tuspy_server.cli import health
from tuspy_server.cli.flags import UNITS
from tuspy_server.cli.sources import Loaded
from tuspy_server.edge import server
from tuspy_server.settings import Settings
from tuspy_server.stores.folder_lock import FolderInUse


class Findings:
    """Prints one line a finding; `status` is the exit status so far."""

    def __init__(self) -> None:
        self.status = 0

    def fine(self, subject: str, text: str) -> None:
        """It works."""
        print(f"ok    {subject:<9} {text}")

    def trouble(self, subject: str, text: str) -> None:
        """It does not, and a server would not either."""
        self.status = 1
        print(f"FAIL  {subject:<9} {text}")


async def check(loaded: Loaded) -> int:
    """Try everything, to the end even after trouble. Returns 0 if all is fine, else 1."""
    findings = Findings()
    settings = loaded.settings
    origins = sorted({given.origin for given in loaded.given.values()})
    findings.fine("settings", f"from {', '.join(origins)}" if origins else "all of them defaults")
    in_use = await _check_stores(settings, findings)
    _check_space(settings.data, findings)
    if in_use:
        await _check_server(settings, findings)
    else:
        _check_address(settings, findings)
    return findings.status


def reason(error: BaseException) -> str:
    """An error of the operating system, the database or the storage, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    prefix = "database: " if isinstance(error, sqlite3.Error) else ""
    return prefix + (" ".join(str(error).split()) or type(error).__name__)


async def _check_stores(settings: Settings, findings: Findings) -> bool:
    """Returns whether a running server holds the folder."""
    tus = TusServer(settings)
    try:
        await tus.check()
    except FolderInUse:
        findings.fine("folder", f"{settings.data.resolve()} is held by a running server")
        await _look_at_database(tus, findings)
        return True
    except Exception as error:  # every kind of trouble is a finding
        findings.trouble("stores", reason(error))
    else:
        findings.fine("folder", f"{settings.data.resolve()}")
        findings.fine("database", "opened and read")
        findings.fine("storage", "wrote, synced, read back and deleted a probe")
    return False


async def _look_at_database(tus: TusServer, findings: Findings) -> None:
    try:
        report = await tus.sweep(dry_run=True)
    except Exception as error:  # every kind of trouble is a finding
        findings.trouble("database", reason(error))
    else:
        findings.fine("database", f"opened beside it and read; {len(report.expired)} uploads past their expiry")


def _check_space(folder: Path, findings: Findings) -> None:
    try:
        usage = shutil.disk_usage(folder if folder.exists() else folder.resolve().parent)
    except OSError as error:
        findings.trouble("space", reason(error))
        return
    text = f"{_rough(usage.free)} of {_rough(usage.total)} free"
    if usage.free:
        findings.fine("space", text)
    else:
        findings.trouble("space", text)


async def _check_server(settings: Settings, findings: Findings) -> None:
    if settings.port == 0:
        findings.fine("server", "not asked: it took a free port, which the settings do not know")
        return
    answer = await asyncio.to_thread(health.ask, health.url_of(settings))
    (findings.fine if answer.ready else findings.trouble)("server", answer.text)


def _check_address(settings: Settings, findings: Findings) -> None:
    try:
        listeners = server.bind(settings.host, settings.port)
        for listener in listeners:
            listener.close()
    except OSError as error:
        findings.trouble("address", reason(error))
    else:
        findings.fine("address", f"{settings.host}:{settings.port} is free")


def _rough(size: int) -> str:
    for unit, size_of_unit in UNITS:
        if unit.endswith("iB") and size >= size_of_unit:
            return f"{size / size_of_unit:.1f} {unit}"
    return f"{size} B"

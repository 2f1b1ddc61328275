"""`tuspy-server check`: tries out what a server needs, and says what works and what does not."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tuspy_server import operations
from tuspy_server.app import TusServer
from tuspy_server.cli import health, showing
from tuspy_server.cli.flags import UNITS
from tuspy_server.cli.sources import Loaded
from tuspy_server.cli.trouble import reason
from tuspy_server.edge import server
from tuspy_server.settings import Settings
from tuspy_server.stores.folder_lock import FolderInUse

MOST_IDS: Final = 3


class Findings:
    """Prints one line a finding; `status` is the exit status so far."""

    def __init__(self) -> None:
        self.status = 0

    def fine(self, subject: str, text: str) -> None:
        """It works."""
        print(f"ok    {subject:<9} {text}")

    def doubt(self, subject: str, text: str) -> None:
        """It works, but an operator should know."""
        print(f"warn  {subject:<9} {text}")

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
    if settings.database_url is None:
        in_use = await _check_stores(settings, findings)
    else:
        await _check_database(settings, findings)
        await (_check_files if settings.s3_bucket is None else _check_bucket)(settings, findings)
        in_use = await _is_served(settings)
    if settings.s3_bucket is None:
        _check_space(settings.data, findings)
    if in_use:
        await _check_server(settings, findings)
    else:
        _check_address(settings, findings)
    return findings.status


async def _check_database(settings: Settings, findings: Findings) -> None:
    place = showing.database_place(settings)
    try:
        schema = await operations.look_at_schema(settings)
    except Exception as error:  # every kind of trouble is a finding
        findings.trouble("database", reason(error))
        return
    if schema.version >= schema.newest:
        findings.fine("database", f"{place}, schema version {schema.version}")
    else:
        todo = (
            f"{place}, schema version {schema.version} of {schema.newest}: a start migrates it, or tuspy-server migrate"
        )
        findings.doubt("database", todo)
    if settings.database_pooling == "transaction" and settings.database_listen_url is None:
        findings.doubt("listen", "not tried: past a pooler it needs database_listen_url; without it processes poll")
        return
    try:
        hears = await operations.hears(settings)
    except Exception as error:  # as above
        findings.trouble("listen", reason(error))
        return
    if hears:
        findings.fine("listen", "what one connection tells, another hears")
    else:
        findings.doubt("listen", "nothing is heard: is there a pooler? set database_pooling and database_listen_url")


async def _check_bucket(settings: Settings, findings: Findings) -> None:
    try:
        found = await operations.probe_bucket(settings)
    except Exception as error:  # as above
        findings.trouble("bucket", reason(error))
        return
    if not any(finding.severity == "error" for finding in found):
        done = "wrote, read back, listed and deleted a probe, whole and in parts"
        findings.fine("bucket", f"{showing.bucket_place(settings).removeprefix('bucket ')}: {done}")
    tell = {"error": findings.trouble, "warning": findings.doubt, "note": findings.fine}
    for finding in found:
        tell[finding.severity]("bucket", finding.sentence)


async def _check_files(settings: Settings, findings: Findings) -> None:
    """Of a server whose rows are in PostgreSQL and whose files are in the data folder."""
    try:
        await TusServer(settings).check()
    except FolderInUse:
        findings.fine("folder", f"{settings.data.resolve()} is held by a running server")
    except Exception as error:  # as above
        findings.trouble("folder", reason(error))
    else:
        findings.fine("folder", f"{settings.data.resolve()}: wrote, synced, read back and deleted a probe")


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
        await _audit(settings, findings, served=False)
    return False


async def _look_at_database(tus: TusServer, findings: Findings) -> None:
    try:
        report = await tus.sweep(dry_run=True)
    except Exception as error:  # every kind of trouble is a finding
        findings.trouble("database", reason(error))
    else:
        findings.fine("database", f"opened beside it and read; {len(report.expired)} uploads past their expiry")
        await _audit(tus.settings, findings, served=True)


async def _audit(settings: Settings, findings: Findings, *, served: bool) -> None:
    """Of the rows, and of the files where no server changes them meanwhile."""
    try:
        found = await operations.audit(settings, served=served)
    except Exception as error:  # every kind of trouble is a finding
        findings.trouble("rows", reason(error))
        return
    for damage in found.damage:
        findings.trouble("rows", f"the database is damaged: {' '.join(damage.split())}")
    if found.damage or served:
        return
    if found.short:
        text = f"{_ids(found.short)} count bytes that are not there: these uploads fail when they are used"
        findings.doubt("rows", text)
    if found.unknown:
        text = f"{_ids(found.unknown)} have a file and no row: was the database restored? Nothing removes these files"
        findings.doubt("rows", text)
    if found.ahead:
        text = f"{_ids(found.ahead)} have more bytes than their row counts ({len(found.whole)} of them all)"
        findings.doubt("rows", f"{text}, as after a crash or a restore: going on cuts them off, expiry removes them")
    if not (found.short or found.unknown or found.ahead):
        findings.fine("rows", f"{found.uploads} uploads, and every byte that they count is in its file")


def _ids(upload_ids: Sequence[str]) -> str:
    shown = ", ".join(upload_ids[:MOST_IDS])
    return f"{len(upload_ids)} uploads ({shown}{', …' if len(upload_ids) > MOST_IDS else ''})"


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


async def _is_served(settings: Settings) -> bool:
    """Whether a server answers at the address already; whether it is ready is another question."""
    if settings.port == 0:
        return False
    answer = await asyncio.to_thread(health.ask, health.url_of(settings))
    return answer.answered


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

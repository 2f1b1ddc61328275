"""What commands print: the banner, settings as TOML, reports of sweeps."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ByteSize, SecretStr

from tuspy_server.cli.flags import size_text
from tuspy_server.cli.health import reachable
from tuspy_server.cli.sources import Loaded, printable, without_credentials
from tuspy_server.compose import postgres_options
from tuspy_server.settings import Settings
from tuspy_server.uploads.sweeper import SweepReport
from tuspy_server.version import VERSION

COLUMN: Final = 40
HIDDEN: Final = "***"


def banner(settings: Settings, host: str, port: int) -> str:
    """What a person needs to know of a server that has just begun to listen on `host` and `port`."""
    origin = f"http://{reachable(host)}:{port}"
    everywhere = f" (listening on {host})" if reachable(host) not in (host, f"[{host}]") else ""
    return "\n".join(
        (
            f"tuspy-server {VERSION}",
            f"  upload to  {settings.public_url or origin}{settings.path}{everywhere}",
            f"  data in    {data_place(settings)}",
            *_unlimited(settings, host),
            f"  health     {origin}/readyz",
        )
    )


def _unlimited(settings: Settings, host: str) -> tuple[str, ...]:
    """What strangers may do who reach this address, as long as nobody has said otherwise."""
    found = [
        *(() if settings.max_size else ("files of any size (--max-size)",)),
        *(("pages of every origin (--cors-origins)",) if "*" in settings.cors_origins else ()),
    ]
    return (f"  takes      {' and '.join(found)}",) if found and not _is_loopback(host) else ()


def _is_loopback(host: str) -> bool:
    return ip_address(host).is_loopback


def data_place(settings: Settings) -> str:
    """Where rows and bytes are, without credentials."""
    files = str(settings.data.resolve()) if settings.s3_bucket is None else bucket_place(settings)
    return files if settings.database_url is None else f"{database_place(settings)}, {files}"


def database_place(settings: Settings) -> str:
    """Server and name of the PostgreSQL database."""
    if settings.database_url is None:
        raise ValueError("the settings name no database_url")
    name = unquote(urlsplit(settings.database_url.get_secret_value()).path.strip("/"))
    return printable(f"PostgreSQL {postgres_options(settings).where}{f'/{name}' if name else ''}")


def bucket_place(settings: Settings) -> str:
    """Name and service of the bucket, and what all keys begin with."""
    service = f" at {settings.s3_endpoint_url}" if settings.s3_endpoint_url else ""
    below = f", below {settings.s3_prefix}" if settings.s3_prefix else ""
    return f"bucket {settings.s3_bucket}{service}{below}"


def migration(settings: Settings, before: int, after: int) -> str:
    """What a migration has done."""
    done = f"{database_place(settings)}: schema version {before} before, {after} now"
    return f"{done} (nothing to do)" if before == after else done


def settings_as_toml(loaded: Loaded) -> str:
    """All settings, in the file's own syntax, each with its origin as a comment."""
    lines = [f"# tuspy-server {VERSION}, {f'with {loaded.file}' if loaded.file else 'without a file'}"]
    for field in Settings.model_fields:
        origin = loaded.given[field].origin if field in loaded.given else "default"
        value = getattr(loaded.settings, field)
        line = f"# {field} is not set" if value is None else f"{field} = {toml_value(value)}"
        lines.append(f"{line:<{COLUMN}} # {origin}")
    return "\n".join(lines)


def toml_value(value: object) -> str:
    """A value of a setting as TOML that reads back as the same value, but for secrets, which are not shown."""
    if isinstance(value, ByteSize):
        text = size_text(value)
        return text if text.isdecimal() else f'"{text}"'
    if isinstance(value, SecretStr):
        value = shown_secret(value.get_secret_value())
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in sorted(value.model_fields_set)}
    if isinstance(value, Mapping):
        items = (f"{json.dumps(name)} = {toml_value(item)}" for name, item in value.items())
        return f"{{ {', '.join(items)} }}"
    if isinstance(value, (int, float)):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    # A JSON string is a TOML string, but for escapes of surrogate pairs: so nothing but controls is escaped.
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False).replace("\x7f", "\\u007F")


def shown_secret(secret: str) -> str:
    """A URL without name and password; of what hides behind the host of others, and of any other secret, nothing."""
    scheme, _, rest = secret.partition("://")
    if not rest:
        return HIDDEN
    if scheme.lower() in ("http", "https"):
        host = re.split(r"[/?#]", rest, maxsplit=1)[0]
        further = rest[len(host) :]
        return f"{scheme}://{host.rpartition('@')[2]}{further if further in ('', '/') else f'/{HIDDEN}'}"
    return without_credentials(secret) if scheme.lower() in ("postgres", "postgresql") else HIDDEN


def sweep_report(report: SweepReport, *, dry_run: bool) -> str:
    """One line an upload, then how many."""
    lines = [f"{'id':<32}  {'offset':>16}  {'length':>16}  expires"] if report.expired else []
    for upload in report.expired:
        length = "-" if upload.upload_length is None else upload.upload_length
        lines.append(f"{upload.id:<32}  {upload.upload_offset:>16}  {length:>16}  {_instant(upload.expires_at)}")
    uploads = f"{len(report.expired)} unfinished upload{'' if len(report.expired) == 1 else 's'}"
    if dry_run:
        return "\n".join((*lines, f"{uploads} past their expiry, nothing changed"))
    return "\n".join((*lines, f"{uploads} expired, {report.cleaned} cleaned up, {report.purged} old rows deleted"))


def _instant(time: datetime | None) -> str:
    return "-" if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

"""Flags: one for each setting, made from the fields of `Settings`.

Cyclopts hands their texts on as they are; `sources` alone decides what is valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypedDict, get_origin

from cyclopts import Group, Parameter
from pydantic import ByteSize
from pydantic.fields import FieldInfo

from tuspy_server.settings import JSON_FIELDS, Settings

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Where": ("host", "port", "path", "data", "public_url", "trusted_proxies", "http"),
    "Database": (
        "database_url",
        "database_listen_url",
        "database_pooling",
        "database_connections",
        "database_seconds",
        "node_seconds",
        "workers",
    ),
    "Object store": (
        "s3_bucket",
        "s3_endpoint_url",
        "s3_region",
        "s3_prefix",
        "s3_key",
        "s3_addressing",
        "s3_part_bytes",
        "s3_connections",
        "s3_checksums",
        "finish_wait_seconds",
    ),
    "Limits": ("max_size", "max_metadata_bytes", "max_header_bytes", "checksum_max_bytes", "pool_bytes"),
    "Lifetimes": ("expires_seconds", "expires_cap_seconds", "gone_seconds", "event_seconds", "sweep_interval_seconds"),
    "Durability": ("durability", "commit_interval_seconds", "head_wait_seconds"),
    "Deadlines": (
        "head_seconds",
        "body_idle_seconds",
        "body_least_bytes_per_second",
        "storage_seconds",
        "drain_seconds",
    ),
    "Browsers": ("download", "link_seconds", "cors_origins", "cors_credentials"),
    "Hooks": (
        "hook_seconds",
        "hook_attempts",
        "hook_url",
        "hook_kinds",
        "hook_secret",
        "hook_url_seconds",
    ),
    "Webhooks": (
        "webhook_url",
        "webhook_secret",
        "webhooks",
        "webhook_seconds",
        "webhook_at_once",
        "webhook_days",
        "webhook_allow_private",
        "event_source",
    ),
    "API": (
        "api_token",
        "api_open",
        "api_hosts",
        "stream_heartbeat_seconds",
        "stream_most",
        "job_most_files",
        "job_seconds",
        "job_by_metadata",
    ),
    "Logs": ("log_format", "log_level"),
}
"""Headings of `--help` with their settings, each setting under one."""

METAVARS: Final[Mapping[str, str]] = {
    "host": "ADDRESS",
    "port": "PORT",
    "path": "PATH",
    "data": "FOLDER",
    "public_url": "ORIGIN",
    "trusted_proxies": "NETWORK",
    "cors_origins": "ORIGIN",
    "database_url": "URL",
    "database_listen_url": "URL",
    "database_connections": "COUNT",
    "workers": "COUNT",
    "s3_bucket": "BUCKET",
    "s3_endpoint_url": "URL",
    "s3_region": "REGION",
    "s3_prefix": "PREFIX",
    "s3_key": "TEMPLATE",
    "s3_connections": "COUNT",
    "hook_attempts": "COUNT",
    "hook_url": "URL",
    "hook_kinds": "KIND",
    "hook_secret": "SECRET",
    "webhook_url": "URL",
    "webhook_secret": "SECRET",
    "webhooks": "JSON",
    "webhook_at_once": "COUNT",
    "webhook_days": "DAYS",
    "event_source": "URI",
    "api_token": "TOKEN",
    "api_hosts": "NAME",
    "job_most_files": "COUNT",
    "stream_most": "COUNT",
    "body_least_bytes_per_second": "COUNT",
}

UNITS: Final = (("GiB", 1 << 30), ("GB", 10**9), ("MiB", 1 << 20), ("MB", 10**6), ("KiB", 1 << 10), ("KB", 10**3))
DAY_SECONDS: Final = 86_400


def size_text(size: int) -> str:
    """A size that reads back as exactly itself, in the largest unit that divides it."""
    for unit, size_of_unit in UNITS:
        if size and size % size_of_unit == 0:
            return f"{size // size_of_unit}{unit}"
    return str(size)


def default_text(field: FieldInfo) -> str:
    """A default as `--help` shows it."""
    default = field.default
    if default is None or default == ():
        return "none"
    if isinstance(default, ByteSize):
        return size_text(default)
    if isinstance(default, float):
        days, rest = divmod(default, DAY_SECONDS)
        return f"{default:g}" if rest or not days else f"{default:.0f}, {days:.0f} {'day' if days == 1 else 'days'}"
    return ", ".join(default) if isinstance(default, tuple) else str(default)


def _annotation(name: str, field: FieldInfo, group: Group, *, show: bool) -> Any:
    kind: Any = str
    if field.annotation is bool or get_origin(field.annotation) is Literal:
        kind = field.annotation
    elif isinstance(field.default, tuple):
        kind = list[str]
    metavar = METAVARS.get(name) or ("SECONDS" if name.endswith("_seconds") else None)
    if metavar is None and kind is str:
        metavar = "SIZE"
    by_commas = "" if name in JSON_FIELDS else "Separated by commas, or given"
    repeated = f" {by_commas or 'May be given'} more than once." if kind == list[str] else ""
    return Annotated[
        kind,
        Parameter(
            group=group,
            help=f"{field.description}{repeated}",
            metavar=metavar,
            negative=None if kind is bool else (),
            show=show,
            show_default=default_text(field) if kind is not bool else str(field.default).lower(),
        ),
    ]


_GROUPS: Final = {title: Group.create_ordered(title) for title in GROUPS}


def _make_flags(name: str, shown: frozenset[str]) -> Any:
    annotations = {
        field: _annotation(field, Settings.model_fields[field], _GROUPS[title], show=title in shown)
        for title, fields in GROUPS.items()
        for field in fields
    }
    return TypedDict(name, annotations, total=False)  # type: ignore[operator]  # its fields are known at run time


if TYPE_CHECKING:
    AllFlags = dict[str, object]
    PlaceFlags = dict[str, object]
else:
    AllFlags = _make_flags("AllFlags", frozenset(GROUPS))
    PlaceFlags = _make_flags("PlaceFlags", frozenset({"Where", "Database", "Object store"}))

ServeFlags = Annotated[AllFlags | None, Parameter(name="*")]
"""Every setting, shown in the help."""

OtherFlags = Annotated[PlaceFlags | None, Parameter(name="*")]
"""Every setting too, so that one set of flags serves all commands; only where things are is shown."""

ConfigFlag = Annotated[
    Path | None,
    Parameter(
        group=_GROUPS["Where"],
        help='TOML file with settings, such as `max_size = "5GB"`; else TUSPY_CONFIG, else ./tuspy-server.toml.',
        metavar="FILE",
        show_default=False,
    ),
]

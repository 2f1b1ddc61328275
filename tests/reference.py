"""Writes the reference pages that are made from the code: `python -m tests.reference`; a test holds them current."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ByteSize

from tuspy_server.compose import compose
from tuspy_server.events.hooks import Hooks
from tuspy_server.protocol import errors
from tuspy_server.settings import Settings
from tuspy_server.web.api.models import (
    Asked,
    FileAsked,
    JobSummary,
    Problem,
    ProgressAsked,
    StatsShown,
    UploadShown,
)

SHOWN: tuple[type[BaseModel], ...] = (FileAsked, ProgressAsked, UploadShown, JobSummary, StatsShown, Problem)
KINDS: dict[Any, str] = {str: "text", int: "whole number", float: "number", bool: "true or false", datetime: "instant"}
DOCS = Path(__file__).resolve().parent.parent / "docs" / "reference"


def settings_page() -> str:
    """Every setting with its flag, variable, default and meaning."""
    lines = [
        "# Settings",
        "",
        "Flags over environment over a TOML file (`--config FILE`, `TUSPY_CONFIG`, or `./tuspy-server.toml`). In an",
        'application: `Settings(max_size="5GB")`. Sizes take units (`5GB`, `64MiB`), times are in seconds.',
        "",
        "| flag | variable | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        flag, variable = "--" + name.replace("_", "-"), "TUSPY_" + name.upper()
        default = _default(field.default)
        lines.append(f"| `{flag}` | `{variable}` | {default} | {field.description or ''} |")
    return "\n".join(lines) + "\n"


def _default(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, ByteSize):
        return f"`{value.human_readable().replace('.0', '')}`"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`" if value else "none"
    if isinstance(value, float):
        return f"`{value:g}`" if value < 1e6 else f"`{value:.0f}`"
    return f"`{value}`"


def answers_page() -> str:
    """Every error with its status, code and meaning."""
    lines = [
        "# Answers",
        "",
        "Errors are `text/plain`: the code, a colon, a reason; those of the [API](api.md) are problem details with the",
        "same codes. The code is stable; the reason is for people, and never holds what the client sent. By default",
        "tus-js-client retries 5xx, 409 and 423, and gives up on other 4xx. What a hook of the application refuses has",
        "the code `refused`, and the status (a 4xx that clients do not retry) and the reason that the hook has chosen.",
        "",
        "| status | code | when |",
        "|---|---|---|",
    ]
    found = [item for item in _subclasses(errors.TusError) if "status" in vars(item) or "code" in vars(item)]
    for item in sorted(found, key=lambda item: (item.status, item.code)):
        meaning = " ".join((item.__doc__ or "").split())
        status, _, text = meaning.partition(": ")
        if status == str(item.status):
            lines.append(f"| {status} | `{item.code}` | {text} |")
    return "\n".join(lines) + "\n"


def api_page() -> str:
    """Every route of the API."""
    api = compose(Settings(data=Path("unused")), Hooks()).api
    if api is None:
        raise AssertionError("the embedded store has jobs")
    lines = [
        "# The API",
        "",
        "JSON over HTTP, below the same origin as the uploads; described for programs in `/api/openapi.json` (OpenAPI",
        "3.1). Names are camelCase, times RFC 3339 in UTC. Bodies are read strictly: an unknown member is an error.",
        "Errors are [problem details](https://www.rfc-editor.org/rfc/rfc9457) with the `code` of the",
        "[reference of answers](answers.md); what is wrong in a body is named by `errors[0].pointer`. GETs carry an",
        "`ETag`. `/commands` and `/queries` are other names of the same.",
        "",
    ]
    for route in api.routes:
        lines += [f"## {route.method} {route.path}", "", f"{route.summary}. {route.description}".strip(), ""]
        if route.tables:
            lines += ["JSON, or CSV by `Accept: text/csv` or `format=csv`.", ""]
        if route.query or route.headers:
            lines += ["| parameter | values | meaning |", "|---|---|---|"]
            for parameter in (*route.query, *route.headers):
                lines.append(f"| `{parameter.name}` | {_values(parameter.schema)} | {parameter.description} |")
            lines.append("")
        problems = sorted({(error.status, error.code) for error in route.problems})
        told = [f"{status}" for status in route.answers] + [f"{status} `{code}`" for status, code in problems]
        lines += [f"Answers: {', '.join(told)}.", ""]
    lines += ["## What goes in and comes out", ""]
    for model in SHOWN:
        lines += [f"**{(model.__doc__ or '').splitlines()[0]}**", "", "| member | meaning |", "|---|---|"]
        for name, field in model.model_fields.items():
            required = "; required" if issubclass(model, Asked) and field.is_required() else ""
            lines.append(
                f"| `{field.alias or name}` | {_kind(field.annotation)}{required}. {field.description or ''} |"
            )
        lines.append("")
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def _kind(annotation: Any) -> str:
    members = [item for item in get_args(annotation) if item is not type(None)]
    nullable = " or null" if type(None) in get_args(annotation) else ""
    origin = get_origin(annotation)
    if origin is list:
        return f"list: {_kind(members[0])}"
    if origin is dict:
        return "object"
    if members:
        return _kind(members[0]) + nullable
    if annotation in KINDS:
        return KINDS[annotation]
    if issubclass(annotation, StrEnum):
        return ", ".join(f"`{item}`" for item in annotation)
    what: str = annotation.__doc__.splitlines()[0].rstrip(".")
    return what[:1].lower() + what[1:]


def _values(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "integer":
        default = f", `{schema['default']}` if absent" if "default" in schema else ""
        return f"{schema['minimum']} to {schema['maximum']}{default}"
    return "RFC 3339, with an offset" if schema.get("format") == "date-time" else "text"


def _subclasses(base: type[errors.TusError]) -> list[type[errors.TusError]]:
    return [item for child in base.__subclasses__() for item in (child, *_subclasses(child))]


PAGES = {"settings.md": settings_page, "answers.md": answers_page, "api.md": api_page}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), "utf-8")

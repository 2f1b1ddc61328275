"""Writes the reference pages that are made from the code: `python -m tests.reference`; a test holds them current."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ByteSize

from tuspy_server.protocol import errors
from tuspy_server.settings import Settings

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
        "Errors are `text/plain`: the code, a colon, a reason. The code is stable; the reason is for people, and never",
        "holds what the client sent. By default tus-js-client retries 5xx, 409 and 423, and gives up on other 4xx.",
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


def _subclasses(base: type[errors.TusError]) -> list[type[errors.TusError]]:
    return [item for child in base.__subclasses__() for item in (child, *_subclasses(child))]


PAGES = {"settings.md": settings_page, "answers.md": answers_page}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), "utf-8")

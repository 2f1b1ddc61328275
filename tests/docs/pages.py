"""The examples of the documentation, by page, language and place."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from starlette.types import ASGIApp

from tests.web.served import Served, listen
from tuspy_server import TusServer

DOCS: Final = Path(__file__).resolve().parent.parent.parent / "docs"


def blocks(page: str, language: str) -> list[str]:
    """All examples of one language, in their order."""
    text = (DOCS / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def executed(page: str, holding: str) -> dict[str, Any]:
    """The names that an example in Python has made: the one that holds this text."""
    (example,) = [block for block in blocks(page, "python") if holding in block]
    namespace: dict[str, Any] = {"__name__": "example"}
    exec(compile(example, page, "exec"), namespace)
    return namespace


@asynccontextmanager
async def served(tus: TusServer, app: ASGIApp | None = None) -> AsyncIterator[Served]:
    """The server of an example, or the application that it is mounted in."""
    async with listen(app or tus.app) as port:
        yield Served(port, tus)

"""How a route of the API is written down: once, for serving it and for describing it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from pydantic import BaseModel
from starlette.types import Scope

from tuspy_server.ports import BodySource
from tuspy_server.protocol.errors import TusError
from tuspy_server.protocol.fields import RequestHead
from tuspy_server.web.answers import Answer
from tuspy_server.web.api.models import Asked

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_ID: Final = "[A-Za-z0-9_-]{1,64}"


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a route.

    Attributes:
        root: path of the whole site below its host; without a last slash.
        ids: what the path names.
        query: known parameters alone.
    """

    scope: Scope
    head: RequestHead
    source: BodySource
    root: str
    ids: Mapping[str, str]
    query: Mapping[str, str]


Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of the query. `schema`: of JSON Schema."""

    name: str
    schema: Mapping[str, Any]
    description: str


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method of one path.

    Attributes:
        name: unique; `operationId` of the description.
        answers: statuses of success with the model of the body; None for one without.
        problems: errors that it may answer beside those of every route.
        tables: whether it speaks CSV too.
        tagged: whether it knows If-None-Match.
    """

    method: str
    path: str
    name: str
    summary: str
    handler: Handler
    answers: Mapping[int, type[BaseModel] | None]
    description: str = ""
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    body: type[Asked] | None = None
    problems: tuple[type[TusError], ...] = ()
    tables: bool = False
    tagged: bool = False
    by_hooks: bool = field(default=False)
    """Whether a hook may refuse with a status of its own."""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Of its path, with groups for the ids."""
        return re.compile(_PARAMETER.sub(lambda match: f"(?P<{match[1]}>{_ID})", self.path))

    @cached_property
    def known_query(self) -> frozenset[str]:
        """Names of the query."""
        return frozenset(parameter.name for parameter in self.query)

    @property
    def methods(self) -> tuple[str, ...]:
        """GET brings HEAD with it."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)

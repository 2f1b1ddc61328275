"""The whole API, put together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel, RootModel

from tuspy_server.jobs.service import Jobs
from tuspy_server.ports import Batches, UploadStore
from tuspy_server.web.answers import Answer
from tuspy_server.web.api.addresses import Addresses
from tuspy_server.web.api.answering import JSON, tagged
from tuspy_server.web.api.endpoint import ApiEndpoint
from tuspy_server.web.api.jobs import JobRoutes
from tuspy_server.web.api.openapi import describe
from tuspy_server.web.api.reading import BodyReader
from tuspy_server.web.api.routes import Call, Route
from tuspy_server.web.api.uploads import Heard, UploadRoutes
from tuspy_server.web.authority import Authority
from tuspy_server.web.cors import Cors
from tuspy_server.web.location import Locations
from tuspy_server.web.metrics import Metrics


class Description(RootModel[dict[str, object]]):
    """The API in OpenAPI 3.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """What of the settings the API needs.

    Attributes:
        path: of the creation URL.
        max_header_bytes, body_idle_seconds: see the settings.
    """

    path: str
    max_header_bytes: int
    body_idle_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts:
    """What the API is put together from. `heard`: told what clients say of their progress."""

    jobs: Jobs
    store: Batches
    uploads: UploadStore
    authority: Authority
    locations: Locations
    cors: Cors
    metrics: Metrics
    heard: Heard | None = None


def make_api(parts: ApiParts, options: ApiOptions) -> ApiEndpoint:
    """ASGI app of `/api`, `/commands` and `/queries`."""
    addresses = Addresses(parts.locations, options.path)
    reader = BodyReader(most_files=parts.jobs.most_files, idle_seconds=options.body_idle_seconds)
    jobs = JobRoutes(parts.jobs, parts.store, parts.authority, addresses, reader)
    uploads = UploadRoutes(parts.uploads, parts.store, parts.authority, addresses, reader, parts.heard)
    routes = (*jobs.routes(), *uploads.routes())
    description = _DescriptionRoute(routes)
    return ApiEndpoint(
        (*routes, description.route),
        cors=parts.cors,
        metrics=parts.metrics,
        max_header_bytes=options.max_header_bytes,
    )


class _DescriptionRoute:
    """Describes all others, and itself."""

    def __init__(self, others: tuple[Route, ...]) -> None:
        self._others = others
        answers: dict[int, type[BaseModel] | None] = {200: Description}
        self.route = Route(
            method="GET",
            path="/api/openapi.json",
            name="getDescription",
            summary="This description",
            handler=self._show,
            answers=answers,
            tagged=True,
        )

    @cached_property
    def _text(self) -> bytes:
        return json.dumps(describe((*self._others, self.route)), ensure_ascii=False).encode()

    async def _show(self, call: Call) -> Answer:
        return tagged(self._text, JSON, call.head)

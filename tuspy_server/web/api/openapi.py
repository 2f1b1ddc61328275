"""The API described in OpenAPI 3.1, from the routes and models that serve it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from tuspy_server.protocol.errors import (
    Forbidden,
    HeadersTooLarge,
    HookFailed,
    InvalidParameter,
    StoreUnavailable,
    TusError,
    Unauthorized,
)
from tuspy_server.version import VERSION
from tuspy_server.web.api.models import Asked, Problem
from tuspy_server.web.api.problems import MEDIA_TYPE
from tuspy_server.web.api.routes import Parameter, Route

ALWAYS: Final[tuple[type[TusError], ...]] = (
    InvalidParameter,
    Unauthorized,
    Forbidden,
    HeadersTooLarge,
    HookFailed,
    StoreUnavailable,
)
"""What every route may answer."""

_REF: Final = "#/components/schemas/{model}"
_IDS: Final = re.compile(r"\{(\w+)\}")


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole description."""
    models = _models(routes)
    refs, definitions = models_json_schema(models, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for route in routes:
        paths[route.path][route.method.lower()] = _operation(route, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tuspy-server",
            "version": VERSION,
            "description": "Jobs of uploads, lists and sums of uploads. Bytes are sent by tus 1.0.0.",
        },
        "paths": dict(paths),
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`api_token` of the settings, or what the application's `authorize` takes.",
                }
            },
        },
        "security": [{}, {"token": []}],
    }


def _models(routes: Iterable[Route]) -> list[tuple[type[BaseModel], JsonSchemaMode]]:
    found: dict[type[BaseModel], JsonSchemaMode] = {Problem: "serialization"}
    for route in routes:
        if route.body is not None:
            found[route.body] = "validation"
        found.update({model: "serialization" for model in route.answers.values() if model is not None})
    return list(found.items())


Refs = Mapping[Any, dict[str, Any]]
"""By model and mode."""


def _operation(route: Route, refs: Refs) -> dict[str, Any]:
    ids = [Parameter(name=name, schema={"type": "string"}, description="") for name in _IDS.findall(route.path)]
    conditional = Parameter(
        name="If-None-Match",
        schema={"type": "string"},
        description="`ETag` of an earlier answer: 304 if it still holds.",
    )
    headers = (*route.headers, conditional) if route.tagged else route.headers
    parameters = [
        *(_parameter(parameter, "path") for parameter in ids),
        *(_parameter(parameter, "query") for parameter in route.query),
        *(_parameter(parameter, "header") for parameter in headers),
    ]
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": parameters,
        "responses": _responses(route, refs),
    }
    if route.description:
        operation["description"] = route.description
    if route.body is not None:
        operation["requestBody"] = _body(route.body, refs)
    return operation


def _parameter(parameter: Parameter, place: str) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": place,
        "required": place == "path",
        "schema": dict(parameter.schema),
        **({"description": parameter.description} if parameter.description else {}),
    }


def _body(model: type[Asked], refs: Refs) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": refs[model, "validation"]}}}


def _responses(route: Route, refs: Refs) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, model in route.answers.items():
        response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if model is not None:
            response["content"] = {"application/json": {"schema": refs[model, "serialization"]}}
            if route.tables:
                response["content"]["text/csv"] = {"schema": {"type": "string"}}
        responses[str(status)] = response
    if route.tagged:
        responses["304"] = {"description": "The client has it already"}
    problems: dict[int, set[str]] = defaultdict(set)
    for error in (*ALWAYS, *route.problems):
        problems[error.status].add(error.code)
    schema = {"content": {MEDIA_TYPE: {"schema": refs[Problem, "serialization"]}}}
    for status, codes in sorted(problems.items()):
        responses[str(status)] = {"description": ", ".join(f"`{code}`" for code in sorted(codes)), **schema}
    responses["4XX"] = {"description": "Refused by a hook, with a status of its own", **schema}
    return responses

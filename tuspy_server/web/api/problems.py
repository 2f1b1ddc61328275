"""Problem details: what every error of the API looks like (RFC 9457)."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from pydantic import ValidationError

from tuspy_server.jobs.wishes import FileRefused
from tuspy_server.protocol.errors import InvalidJson, InvalidRequest, TusError
from tuspy_server.web.answers import Answer
from tuspy_server.web.api.models import ErrorShown, Problem

MEDIA_TYPE: Final = "application/problem+json"
_UNKNOWN_MEMBER: Final = "extra_forbidden"
_JSON: Final = "json_invalid"
_TEXTS: Final = {
    "missing": "is required",
    _UNKNOWN_MEMBER: "has a member that is not known",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
}


class InvalidBody(Exception):
    """A body that is JSON, but not what it should be."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.error = InvalidRequest("the body does not say what it should")
        self.pointer = pointer


def invalid_body(error: ValidationError) -> InvalidJson | InvalidBody:
    """What the models of the API say of a body, without what the client has sent."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == _JSON:
        return InvalidJson()
    location = first["loc"]
    # The member's name is the client's own, and may be long.
    if first["type"] == _UNKNOWN_MEMBER:
        location = location[:-1]
    if "metadata" in location:
        location = location[: location.index("metadata") + 1]
    text = _TEXTS.get(first["type"], first["msg"].removeprefix("Value error, "))
    return InvalidBody(_pointer(location), text)


def problem(error: TusError | InvalidBody | FileRefused, method: str) -> Answer:
    """The answer that an error becomes."""
    errors: list[ErrorShown] | None = None
    cause = error if isinstance(error, TusError) else error.error
    if isinstance(error, InvalidBody):
        errors = [ErrorShown(pointer=error.pointer, detail=str(error))]
    elif isinstance(error, FileRefused):
        member = () if error.member is None else (error.member,)
        errors = [ErrorShown(pointer=_pointer(("files", error.index, *member)), detail=str(cause))]
    shown = Problem(title=_title(cause.status), status=cause.status, detail=str(cause), code=cause.code, errors=errors)
    headers = [*cause.headers(), ("Cache-Control", "no-store"), ("Content-Type", MEDIA_TYPE)]
    if cause.closes:
        headers.append(("Connection", "close"))
    body = shown.model_dump_json(exclude_none=True).encode()
    if method == "HEAD":
        headers.append(("Content-Length", str(len(body))))
        body = b""
    return Answer(status=cause.status, headers=tuple(headers), body=body)


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # a hook chooses its status itself
        return "Refused"


def _pointer(location: Sequence[str | int]) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)

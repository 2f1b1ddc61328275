"""Answers of the API: JSON or CSV, with a tag that changes whenever they do."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, Literal

from pydantic import BaseModel

from tuspy_server.protocol.errors import Headers, InvalidParameter
from tuspy_server.protocol.fields import RequestHead
from tuspy_server.web.answers import Answer

JSON: Final = "application/json"
Format = Literal["json", "csv"]
FORMATS: Final[Mapping[str, Format]] = {"json": "json", "csv": "csv"}


def shown(model: BaseModel, *, status: int = 200, headers: Headers = (), head: RequestHead | None = None) -> Answer:
    """A model as JSON. `head`: of a request that reads, and may know the answer already."""
    body = model.model_dump_json(by_alias=True).encode()
    if head is None:
        no_store = (("Cache-Control", "no-store"), ("Content-Type", JSON))
        return Answer(status=status, headers=(*headers, *no_store), body=body)
    return tagged(body, JSON, head, headers)


def tagged(body: bytes, content_type: str, head: RequestHead, headers: Headers = ()) -> Answer:
    """What was asked for, or 304 where the client has it (RFC 9110 13.1.2)."""
    tag = f'"{hashlib.sha256(content_type.encode() + body).hexdigest()[:32]}"'
    # Another user's answer is another one: no shared cache may keep it.
    common = (*headers, ("ETag", tag), ("Cache-Control", "private, no-cache"), ("Vary", "Accept, Authorization"))
    if _knows(head, tag):
        return Answer(status=304, headers=common)
    common = (*common, ("Content-Type", content_type), ("Content-Length", str(len(body))))
    return Answer(status=200, headers=common, body=b"" if head.method == "HEAD" else body)


def wanted_format(head: RequestHead, query: Mapping[str, str]) -> Format:
    """By `format=`, else by `Accept`; JSON where the client does not care.

    Raises:
        InvalidParameter: 400.
    """
    named = query.get("format")
    if named is not None:
        if named not in FORMATS:
            raise InvalidParameter("format", "must be json or csv")
        return FORMATS[named]
    weights = _accepted(",".join(head.fields.get("accept", ())))
    csv_weight, json_weight = weights.get("text/csv", 0.0), weights.get(JSON, weights.get("*/*", 0.0))
    is_named_alone = JSON not in weights and csv_weight == json_weight > 0
    return "csv" if csv_weight > json_weight or is_named_alone else "json"


def _accepted(accept: str) -> dict[str, float]:
    weights = {}
    for member in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in member.split(";"))
        weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            weights[media_type] = float(weight)
        except ValueError:
            weights[media_type] = 0.0
    return weights


def _knows(head: RequestHead, tag: str) -> bool:
    asked = ",".join(head.fields.get("if-none-match", ()))
    return asked.strip() == "*" or tag in (known.strip().removeprefix("W/") for known in asked.split(","))

"""An answer on its way out, before a fault has touched it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from html import escape
from typing import Final, TypeAlias

from tests.support.strict_s3.errors import S3Error

XML: Final = "application/xml"
NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"

Fields: TypeAlias = Iterable[tuple[str, object]]
"""Names and values of elements; a value that is a list of such is an element with elements."""


@dataclass(kw_only=True)
class Answer:
    """Either a body, or chunks of a known length."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks: AsyncIterator[bytes] | None = None
    length: int | None = None
    """Of what the head says; None means the body's."""

    bytes_out: int = 0
    close: Callable[[], None] = lambda: None
    """Lets go of where the chunks come from."""


def of_error(error: S3Error) -> Answer:
    return Answer(status=error.status, headers={"content-type": XML}, body=error.xml().encode())


def of_xml(root: str, fields: Fields, **headers: str) -> Answer:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE}">{_elements(fields)}</{root}>'
    return Answer(headers={"content-type": XML, **headers}, body=text.encode())


def _elements(fields: Fields) -> str:
    return "".join(f"<{name}>{_element(value)}</{name}>" for name, value in fields if value is not None)


def _element(value: object) -> str:
    if isinstance(value, list):
        return _elements(value)
    if isinstance(value, bool):
        return str(value).lower()
    return escape(str(value), quote=False)

"""What a request to the API says: its body as JSON, its query."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from pydantic import ValidationError
from starlette.types import Scope

from tuspy_server.ports import BodySource
from tuspy_server.protocol.errors import (
    BodyStalled,
    BodyTooLarge,
    InvalidParameter,
    InvalidRequest,
    NotJson,
    Overloaded,
)
from tuspy_server.protocol.fields import RequestHead
from tuspy_server.web.api.models import Asked
from tuspy_server.web.api.problems import invalid_body

Model = TypeVar("Model", bound=Asked)

BLOCK_BYTES: Final = 64 << 10
BASE_BYTES: Final = 64 << 10
FILE_BYTES: Final = 256
HELD_BYTES: Final = 32 << 20
"""Of all bodies that are being read at once, in this process (I10). One of no more than `BASE_BYTES` is not refused for
what others hold: of those there are as many as connections."""

LEAST_OBJECTS: Final = 40_000
OBJECTS_EACH_FILE: Final = 16
"""Braces and brackets that a body may have, those in its texts among them: a million of empty objects, which a body has
room for, would take a third of a second to be decoded, and nobody else is served meanwhile (fault R08)."""

LEAST_BYTES_PER_SECOND: Final = 16 << 10
"""Of a larger one: what is held must come to an end."""

_CURSOR: Final = re.compile(r"([0-9]{1,16})~([A-Za-z0-9_-]{1,64})")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER: Final = re.compile(r"[0-9]{1,9}")


class BodyReader:
    """Bodies of the API, read whole: a job is made as a whole."""

    def __init__(self, *, most_files: int, idle_seconds: float) -> None:
        """`most_files` of one job: what its body may take. `idle_seconds`: see the setting `body_idle_seconds`."""
        self.most_bytes = BASE_BYTES + FILE_BYTES * most_files
        self._most_objects = max(LEAST_OBJECTS, OBJECTS_EACH_FILE * most_files)
        self._idle_seconds = idle_seconds
        self._held_bytes = 0

    async def read(
        self, head: RequestHead, source: BodySource, model: type[Model], *, most_bytes: int | None = None
    ) -> tuple[Model, bytes]:
        """The body by this model, and its bytes.

        Raises:
            NotJson: 415. BodyTooLarge: 413. BodyStalled, Overloaded: 503. InvalidJson: 400. InvalidBody,
            InvalidRequest: 422.
        """
        if head.media_type() != "application/json":
            raise NotJson
        most_bytes = most_bytes or self.most_bytes
        if (head.body_bytes or 0) > most_bytes:
            raise BodyTooLarge(most_bytes)
        content = bytearray()
        try:
            block = memoryview(bytearray(BLOCK_BYTES))
            large_since = None
            while count := await self._next(source, block):
                self._held_bytes += count
                content += block[:count]
                if len(content) > most_bytes:
                    raise BodyTooLarge(most_bytes)
                if len(content) <= BASE_BYTES:
                    continue
                if self._held_bytes > HELD_BYTES:
                    raise Overloaded
                now = asyncio.get_running_loop().time()
                large_since = now if large_since is None else large_since
                if now > large_since + self._idle_seconds + len(content) / LEAST_BYTES_PER_SECOND:
                    raise BodyStalled
        finally:
            self._held_bytes -= len(content)
        if content.count(b"{") + content.count(b"[") > self._most_objects:
            raise InvalidRequest(f"the body has more than {self._most_objects} braces and brackets, texts included")
        try:
            return model.model_validate_json(content), bytes(content)
        except ValidationError as error:
            raise invalid_body(error) from error

    async def _next(self, source: BodySource, block: memoryview) -> int:
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await source.readinto(block)
        except TimeoutError as error:
            raise BodyStalled from error


def query_of(scope: Scope, known: frozenset[str]) -> Mapping[str, str]:
    """The parameters of a request.

    Raises:
        InvalidParameter: 400, one that is not known, or comes twice: what was meant would be a guess.
    """
    pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise InvalidParameter("query", "has a parameter that is not known here")
        if name in found:
            raise InvalidParameter(name, "must come once")
        found[name] = value
    return found


def whole(query: Mapping[str, str], name: str, default: int, most: int, *, least: int = 0) -> int:
    """A whole number.

    Raises:
        InvalidParameter: 400.
    """
    text = query.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise InvalidParameter(name, f"must be a whole number from {least} to {most}")
    return int(text)


def instant(query: Mapping[str, str], name: str) -> datetime | None:
    """An instant, as RFC 3339 writes it.

    Raises:
        InvalidParameter: 400.
    """
    text = query.get(name)
    if text is None:
        return None
    try:
        # A plus sign that was not encoded has become a space.
        found = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as error:
        raise InvalidParameter(name, "must be an instant such as 2026-01-31T12:00:00Z") from error
    if found.tzinfo is None:
        raise InvalidParameter(name, "must have an offset, such as Z")
    try:
        return found.astimezone(UTC)
    except OverflowError as error:
        raise InvalidParameter(name, "is out of range") from error


def cursor_of(created_at: datetime, of_id: str) -> str:
    """Where a page ends."""
    microseconds = (created_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(f"{microseconds}~{of_id}".encode()).decode().rstrip("=")


def before(query: Mapping[str, str]) -> tuple[datetime, str] | None:
    """What `cursor_of` has made.

    Raises:
        InvalidParameter: 400.
    """
    text = query.get("before")
    if text is None:
        return None
    try:
        plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
        match = _CURSOR.fullmatch(plain)
        if match is None:
            raise ValueError("no cursor")
        return _EPOCH + timedelta(microseconds=int(match[1])), match[2]
    except (binascii.Error, ValueError, OverflowError) as error:
        raise InvalidParameter("before", "must be what an earlier answer has given") from error

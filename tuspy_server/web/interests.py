"""What a reader asks to follow: words of a query, of a JSON message, of a STOMP destination."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qsl

from tuspy_server.access import Grant
from tuspy_server.events.cloudevents import MOST_POSITION, Cursor, parse_cursor
from tuspy_server.events.subscription import Interest
from tuspy_server.model import EventType
from tuspy_server.ports import EventFilter
from tuspy_server.protocol.errors import InvalidParameter
from tuspy_server.web.frames import PROGRESS_TYPE

UNKNOWN: Final = Cursor(MOST_POSITION, "f" * 8)
"""A cursor that no log has."""

NAMES: Final = frozenset({"upload", "job", "type", "after"})
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody asks to follow, before it is granted."""

    upload_id: str | None = None
    job_id: str | None = None
    types: frozenset[str] = frozenset()
    after: Cursor | None = None

    def within(self, grant: Grant) -> Interest:
        """What of it the grant reaches."""
        states = frozenset(EventType(name) for name in self.types if name != PROGRESS_TYPE)
        only = EventFilter(upload_id=self.upload_id, job_id=self.job_id, tenant=grant.tenant, types=states)
        if not self.types:
            return Interest(only=only)
        return Interest(only=only, states=bool(states), progress=PROGRESS_TYPE in self.types)

    def going_on(self, last_event_id: str | None) -> Wish:
        """A browser that comes back says how far it was. What it says cannot be mended by it: one that is no cursor is
        one that is unknown."""
        if not last_event_id:
            return self
        return replace(self, after=parse_cursor(last_event_id) or UNKNOWN)


def wish_of_query(query_string: bytes) -> Wish:
    """Of `upload=`, `job=`, `type=` (repeated, or with commas) and `after=`; other names are somebody else's.

    Raises:
        InvalidParameter: 400.
    """
    pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
    return _wish([(name, value) for name, value in pairs if name in NAMES])


def wish_of_message(message: Mapping[str, Any]) -> Wish:
    """Of the same names in JSON; `type` may be a list.

    Raises:
        InvalidParameter: 400.
    """
    pairs: list[tuple[str, str]] = []
    for name, given in message.items():
        values = given if name == "type" and isinstance(given, list) else [given]
        if name not in NAMES or not all(isinstance(value, str) for value in values):
            raise InvalidParameter("subscribe", "has upload, job, type and after, all of them texts")
        pairs += [(name, value) for value in values]
    return _wish(pairs)


def _wish(pairs: Iterable[tuple[str, str]]) -> Wish:
    given: dict[str, str] = {}
    types: set[str] = set()
    for name, value in pairs:
        if name == "type":
            types.update(part.strip() for part in value.split(",") if part.strip())
        elif given.setdefault(name, value) != value:
            raise InvalidParameter(name, "may come once")
    if unknown := types - set(EventType) - {PROGRESS_TYPE}:
        known = ", ".join([*EventType, PROGRESS_TYPE])
        raise InvalidParameter("type", f"knows {known}; {len(unknown)} others were given")
    after = given.get("after")
    cursor = parse_cursor(after) if after is not None else None
    if after is not None and cursor is None:
        raise InvalidParameter("after", "must be the id of an event of this stream, or 0")
    return Wish(
        upload_id=_identifier("upload", given), job_id=_identifier("job", given), types=frozenset(types), after=cursor
    )


def _identifier(name: str, given: Mapping[str, str]) -> str | None:
    value = given.get(name)
    if value is not None and not _ID.fullmatch(value):
        raise InvalidParameter(name, "must be an id")
    return value

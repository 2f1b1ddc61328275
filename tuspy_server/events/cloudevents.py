"""What readers and receivers see of an event: CloudEvents 1.0 as JSON, and the cursor that names a place in the log."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tuspy_server.model import Event, EventType

MEDIA_TYPE: Final = "application/cloudevents+json"
"""Of one event in the structured mode of CloudEvents' HTTP binding."""

CURSOR_DIGITS: Final = 8
_CURSOR: Final = re.compile(rf"([0-9]{{1,19}})-([0-9a-f]{{{CURSOR_DIGITS}}})", re.ASCII)
MOST_POSITION: Final = 2**63 - 1


def to_cloudevent(event: Event, source: str) -> dict[str, Any]:
    """One event as CloudEvents 1.0 has it.

    Args:
        event: numbered or not: its position is no part of it.
        source: URI reference that names this server; with `id` it identifies the event.
    """
    data = dict(event.data)
    if event.type is EventType.CREATED:  # the draft could not know the time that its transaction would give it
        data["created_at"] = rfc3339(event.time)
    else:
        data["duration_seconds"] = _seconds_between(data.get("created_at"), event.time)
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": source,
        "type": str(event.type),
        "subject": event.upload_id,
        "time": rfc3339(event.time),
        "datacontenttype": "application/json",
        "data": data,
    }


def rfc3339(time: datetime) -> str:
    """An instant in UTC, such as `2026-01-02T03:04:05.678901Z`."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _seconds_between(created_at: object, time: datetime) -> float | None:
    """From the creation, as the data tell it, to the event; None where they do not."""
    if not isinstance(created_at, str):
        return None
    try:
        seconds = (time - datetime.fromisoformat(created_at)).total_seconds()
    except (ValueError, TypeError):
        return None
    return round(max(seconds, 0.0), 6)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A reader's place: behind one event.

    Attributes:
        position: of that event; 0 is the beginning of the log.
        digits: the first hex digits of its id, by which a restored or a purged log is told from the one that was read;
            all 0 at the beginning.
    """

    position: int
    digits: str

    def names(self, event: Event | None) -> bool:
        """Whether `event`, read at this position, is the one that was read then. The beginning needs none."""
        if self.position == 0:
            return True
        return event is not None and event.position == self.position and _digits(event.id) == self.digits

    def __str__(self) -> str:
        """`position-<8 hex>`: the `id` of SSE, `after` of a query."""
        return f"{self.position}-{self.digits}"


BEGINNING: Final = Cursor(0, "0" * CURSOR_DIGITS)


def cursor_of(event: Event) -> Cursor:
    """The place behind this event, which is numbered.

    Raises:
        ValueError: it has no position yet.
    """
    if event.position is None:
        raise ValueError("the event has no position yet")
    return Cursor(event.position, _digits(event.id))


def parse_cursor(text: str) -> Cursor | None:
    """What `str(cursor)` has given; `0` alone is the beginning. None where it is neither."""
    if text == "0":
        return BEGINNING
    match = _CURSOR.fullmatch(text)
    if match is None or int(match[1]) > MOST_POSITION:
        return None
    return Cursor(int(match[1]), match[2])


def _digits(event_id: str) -> str:
    return event_id.replace("-", "")[:CURSOR_DIGITS].lower()

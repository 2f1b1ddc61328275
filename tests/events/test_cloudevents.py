"""What is seen of an event, and the cursor."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tuspy_server.events.cloudevents import BEGINNING, Cursor, cursor_of, parse_cursor, to_cloudevent
from tuspy_server.model import Event, EventType, event_id

UPLOAD = "0123456789abcdef0123456789abcdef"
EVENT = Event(
    id=event_id(UPLOAD, EventType.FINISHED),
    type=EventType.FINISHED,
    upload_id=UPLOAD,
    data={"upload_id": UPLOAD, "metadata": {"filename": "ä.txt"}, "created_at": "2026-01-01T00:00:00Z"},
    time=datetime(2026, 1, 1, 0, 0, 2, 500_000, tzinfo=UTC),
    position=42,
)


def test_it_has_the_attributes_of_cloudevents_1_0() -> None:
    cloudevent = to_cloudevent(EVENT, "/tuspy-server")
    assert cloudevent == {
        "specversion": "1.0",
        "id": EVENT.id,
        "source": "/tuspy-server",
        "type": "upload.finished",
        "subject": UPLOAD,
        "time": "2026-01-01T00:00:02.500000Z",
        "datacontenttype": "application/json",
        "data": {**EVENT.data, "duration_seconds": 2.5},
    }
    assert json.loads(json.dumps(cloudevent)) == cloudevent


def test_it_is_the_same_in_every_delivery_numbered_or_not() -> None:
    """I6: one id, one content."""
    assert to_cloudevent(EVENT, "s") == to_cloudevent(replace(EVENT, position=None), "s")


def test_times_are_told_in_utc() -> None:
    elsewhere = EVENT.time.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert to_cloudevent(replace(EVENT, time=elsewhere), "s")["time"] == "2026-01-01T00:00:02.500000Z"


@pytest.mark.parametrize("created_at", [None, 7, "yesterday", "2026-01-01T00:00:00"])
def test_a_duration_that_nobody_knows_is_null(created_at: object) -> None:
    data: dict[str, Any] = {**EVENT.data, "created_at": created_at}
    assert to_cloudevent(replace(EVENT, data=data), "s")["data"]["duration_seconds"] is None


def test_a_creation_has_its_own_time_and_no_duration() -> None:
    created = replace(EVENT, type=EventType.CREATED, data={**EVENT.data, "created_at": None})
    data = to_cloudevent(created, "s")["data"]
    assert data["created_at"] == "2026-01-01T00:00:02.500000Z"
    assert "duration_seconds" not in data


def test_a_cursor_is_position_and_the_first_digits_of_the_id() -> None:
    cursor = cursor_of(EVENT)
    assert str(cursor) == f"42-{EVENT.id[:8]}"
    assert parse_cursor(str(cursor)) == cursor


def test_an_event_without_a_position_has_no_cursor() -> None:
    with pytest.raises(ValueError, match="position"):
        cursor_of(replace(EVENT, position=None))


def test_a_cursor_knows_its_event() -> None:
    """N10: another event at the same place, or none, is a gap."""
    cursor = cursor_of(EVENT)
    assert cursor.names(EVENT)
    assert not cursor.names(replace(EVENT, id=event_id(UPLOAD, EventType.CREATED)))
    assert not cursor.names(replace(EVENT, position=41))
    assert not cursor.names(None)


def test_the_beginning_needs_no_event() -> None:
    assert BEGINNING.names(None)
    assert parse_cursor("0") == BEGINNING == parse_cursor(str(BEGINNING))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "1",
            "-1-00000000",
            "1-0000000",
            "1-000000000",
            "1-0000000G",
            "1-ABCDEF01",
            "1-00000000\n",
            " 1-00000000",
        ),
        *("٣-00000000", f"{2**63}-00000000", "9" * 5000 + "-00000000", "1_0-00000000"),
    ],
)
def test_what_is_no_cursor_is_none(text: str) -> None:
    """I11."""
    assert parse_cursor(text) is None


def test_the_highest_position_is_a_cursor() -> None:
    assert parse_cursor(f"{2**63 - 1}-ffffffff") == Cursor(2**63 - 1, "ffffffff")

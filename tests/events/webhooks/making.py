"""Endpoints, events and secrets for tests."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tuspy_server.events.webhooks.endpoint import Endpoint
from tuspy_server.model import Event, EventType, event_id

UPLOAD = "0123456789abcdef0123456789abcdef"
OLD, NEW = (f"whsec_{base64.b64encode(letter * 32).decode()}" for letter in (b"o", b"n"))
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)

EVENT = Event(
    id=event_id(UPLOAD, EventType.FINISHED),
    type=EventType.FINISHED,
    upload_id=UPLOAD,
    data={
        "upload_id": UPLOAD,
        "upload_offset": 5,
        "upload_length": 5,
        "metadata": {"filename": "ü\udcff.txt", "kind": "client's"},
        "trusted_metadata": {"kind": "ours", "number": 7},
        "created_at": "2026-01-01T11:59:58Z",
    },
    time=NOW,
    position=1,
)


def endpoint(url: str, **changes: Any) -> Endpoint:
    plain = Endpoint(
        name="app", url=url, types=frozenset(EventType), at_once=4, call_seconds=10, secrets=(NEW,), allow_private=True
    )
    return replace(plain, **changes)

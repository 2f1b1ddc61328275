"""Events and deliveries as lines: a table for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from tuspy_server.cli.sources import printable
from tuspy_server.events.cloudevents import cursor_of, rfc3339, to_cloudevent
from tuspy_server.model import Event
from tuspy_server.ports import DeliveryRecord, RegisteredConsumer

_EVENT_HEAD: Final = ("cursor", "time", "type", "upload", "job")
_DELIVERY_HEAD: Final = ("status", "tries", "next", "consumer", "event", "type", "upload", "error")
_CONSUMER_HEAD: Final = ("consumer", "seen", "processing", "disabled")
_WIDTHS: Final = {
    "cursor": 16,
    "time": 27,
    "type": 24,
    "upload": 32,
    "job": 32,
    "status": 9,
    "tries": 5,
    "next": 27,
    "consumer": 24,
    "event": 36,
    "error": 0,
    "seen": 27,
    "processing": 10,
    "disabled": 0,
}


def events(found: Sequence[Event], source: str, *, as_json: bool, head: bool = True) -> str:
    """One line an event. As JSON: the CloudEvent, with `cursor`."""
    if as_json:
        return _json({**to_cloudevent(event, source), "cursor": str(cursor_of(event))} for event in found)
    rows = [
        (str(cursor_of(event)), rfc3339(event.time), str(event.type), event.upload_id, event.job_id or "-")
        for event in found
    ]
    return _table(_EVENT_HEAD, rows, head=head)


def deliveries(found: Sequence[DeliveryRecord], *, as_json: bool) -> str:
    """One line a delivery."""
    if as_json:
        return _json(_as_json(record) for record in found)
    rows = [
        (
            record.status.value,
            str(record.attempts),
            rfc3339(record.due_at) if record.status.value == "waiting" else "-",
            printable(record.consumer),
            record.event.id,
            str(record.event.type),
            record.event.upload_id,
            printable(record.error or "-"),
        )
        for record in found
    ]
    return _table(_DELIVERY_HEAD, rows)


def consumers(found: Sequence[RegisteredConsumer], *, as_json: bool) -> str:
    """One line a hook or webhook."""
    if as_json:
        return _json(
            {
                "name": item.consumer.name,
                "types": sorted(item.consumer.types),
                "processing": item.consumer.processing,
                "registered_at": rfc3339(item.registered_at),
                "seen_at": rfc3339(item.seen_at),
                "disabled_reason": item.disabled_reason,
            }
            for item in found
        )
    rows = [
        (
            printable(item.consumer.name),
            rfc3339(item.seen_at),
            "yes" if item.consumer.processing else "no",
            printable(item.disabled_reason or "-"),
        )
        for item in found
    ]
    return _table(_CONSUMER_HEAD, rows)


def _as_json(record: DeliveryRecord) -> dict[str, Any]:
    return {
        "status": record.status.value,
        "attempts": record.attempts,
        "due_at": rfc3339(record.due_at),
        "consumer": record.consumer,
        "event_id": record.event.id,
        "type": str(record.event.type),
        "upload_id": record.event.upload_id,
        "job_id": record.event.job_id,
        "cursor": None if record.event.position is None else str(cursor_of(record.event)),
        "error": record.error,
    }


def _json(items: Iterable[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(item, ensure_ascii=True)}\n" for item in items)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], *, head: bool = True) -> str:
    lines = [names, *rows] if head else rows
    return "".join(
        "  ".join(text.ljust(_WIDTHS[name]) for name, text in zip(names, line, strict=True)).rstrip() + "\n"
        for line in lines
    )

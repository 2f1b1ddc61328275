"""What becomes of a finished upload when those who process it are done with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from tuspy_server.model import EventType, Processing, event_id
from tuspy_server.stores.sqlite.rows import SQL

_EVENTS: Final = {Processing.DONE: EventType.PROCESSED, Processing.FAILED: EventType.PROCESSING_FAILED}


def settle_processing(connection: sqlite3.Connection, settled: Iterable[sqlite3.Row], now: int) -> None:
    """Set `processing` of uploads that nobody processes any more, with its event.

    Args:
        connection: in the transaction that settled the deliveries.
        settled: position and upload of finished events of which a delivery was settled.
        now: microseconds.
    """
    finished = {row["position"]: row["upload_id"] for row in settled}
    for position, upload_id in finished.items():
        rows = connection.execute(SQL["settle_processing"], {"position": position, "upload_id": upload_id}).fetchall()
        if rows:
            event_type = _EVENTS[Processing(rows[0]["processing"])]
            values = {"id": event_id(upload_id, event_type), "type": event_type, "position": position, "now": now}
            connection.execute(SQL["add_processed"], values)

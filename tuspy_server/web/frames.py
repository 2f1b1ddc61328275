"""What readers of a stream are sent: CloudEvents as JSON, each made once for all who follow it."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

from tuspy_server.events.cloudevents import BEGINNING, cursor_of, rfc3339, to_cloudevent
from tuspy_server.events.progress import seconds_left
from tuspy_server.events.subscription import Gap, Item, Live
from tuspy_server.model import Event
from tuspy_server.ports import Progress
from tuspy_server.protocol.errors import TusError

PROGRESS_TYPE: Final = "upload.progress"
LIVE_TYPE: Final = "live"
GAP_TYPE: Final = "gap"
ERROR_TYPE: Final = "error"

HIDDEN: Final = "trusted_metadata"
"""What hooks have said of an upload: clients read streams, and may not see it."""

MOST_KEPT: Final = 512
"""Events whose text is kept for the next reader."""

_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True)
class Frame:
    """One message, whatever carries it.

    Attributes:
        type: of the CloudEvent.
        cursor: where a reader goes on that has got it; None where it moves nobody on.
        upload_id: whom it is about.
        text: the CloudEvent as JSON, on one line.
    """

    type: str
    cursor: str | None
    upload_id: str | None
    text: str

    @property
    def is_opening(self) -> bool:
        """Whether it says only that the reader is told everything from now on."""
        return self.type == LIVE_TYPE

    @cached_property
    def server_sent(self) -> bytes:
        """As a block of an event stream. JSON has no line breaks of its own outside of texts, where they are
        escaped."""
        identity = "" if self.cursor is None else f"id: {self.cursor}\n"
        return f"{identity}event: {self.type}\ndata: {self.text}\n\n".encode()


class Frames:
    """Makes them. What is not stored has no `id` that would come again; where a place in the log is told, the extension
    attribute `cursor` holds it."""

    def __init__(self, source: str) -> None:
        """`source`: of all CloudEvents of this server."""
        self._source = source
        self._kept: OrderedDict[tuple[int | None, str], Frame] = OrderedDict()
        self._count = 0

    def frame(self, item: Item) -> Frame:
        """What says this."""
        if isinstance(item, Event):
            return self._of_event(item)
        if isinstance(item, Progress):
            return self._of_progress(item)
        cursor = str(item.cursor) if isinstance(item, Live) else str(BEGINNING)
        kind = GAP_TYPE if isinstance(item, Gap) else LIVE_TYPE
        return Frame(kind, cursor, None, _encode(self._transient(kind, None, {}, cursor=cursor)))

    def error(self, error: TusError) -> str:
        """What says that a message of the client was refused."""
        data = {"status": error.status, "code": error.code, "detail": str(error)}
        return _encode(self._transient(ERROR_TYPE, None, data))

    def _of_event(self, event: Event) -> Frame:
        key = (event.position, event.id)
        frame = self._kept.get(key)
        if frame is None:
            cursor = str(cursor_of(event))
            told = {**to_cloudevent(event, self._source), "cursor": cursor}
            told["data"] = {name: value for name, value in told["data"].items() if name != HIDDEN}
            text = _encode(told)
            frame = self._kept[key] = Frame(str(event.type), cursor, event.upload_id, text)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return frame

    def _of_progress(self, progress: Progress) -> Frame:
        rate, left = progress.bytes_per_second, seconds_left(progress)
        data = {
            "upload_id": progress.upload_id,
            "upload_offset": progress.upload_offset,
            "upload_length": progress.upload_length,
            "job_id": progress.job_id,
            "bytes_per_second": None if rate is None else round(rate),
            "seconds_left": None if left is None else round(left, 1),
        }
        text = _encode(self._transient(PROGRESS_TYPE, progress.upload_id, data))
        return Frame(PROGRESS_TYPE, None, progress.upload_id, text)

    def _transient(self, kind: str, subject: str | None, data: dict[str, Any], **further: str) -> dict[str, Any]:
        self._count += 1
        now = datetime.now(UTC)
        return {
            "specversion": "1.0",
            "id": f"{now.timestamp():.6f}-{self._count}",
            "source": self._source,
            "type": kind,
            **({} if subject is None else {"subject": subject}),
            "time": rfc3339(now),
            "datacontenttype": "application/json",
            "data": data,
            **further,
        }

"""How fast uploads come on: measured where their bytes are committed, told to those who follow them."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tuspy_server.model import Upload, UploadStatus
from tuspy_server.ports import Progress
from tuspy_server.uploads.observer import NullObserver

LEAST_SECONDS: Final = 0.1
"""Between two of one upload."""

SMOOTH_SECONDS: Final = 3.0
"""What is older hardly counts in the rate."""

PAUSE_SECONDS: Final = 15.0
"""What came after so long a silence says nothing about how fast it goes."""

MOST_UPLOADS: Final = 10_000


@dataclass(slots=True)
class _Pace:
    offset: int
    at: float
    bytes_per_second: float | None = None
    told_at: float = 0.0
    waiting: Upload | None = None
    timer: asyncio.TimerHandle | None = None


class ProgressMeter(NullObserver):
    """Tells each of `listeners` at most ten times a second an upload. Offsets are committed ones alone (I1)."""

    def __init__(self, *listeners: Callable[[Progress], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Listeners are called synchronously, and must return at once."""
        self._listeners = listeners
        self._clock = clock
        self._paces: OrderedDict[str, _Pace] = OrderedDict()

    def progressed(self, upload: Upload) -> None:
        """A commit has made this row."""
        if upload.status is not UploadStatus.UPLOADING:
            self._forget(upload.id)  # its event says the rest
            return
        now = self._clock()
        pace = self._paces.get(upload.id)
        if pace is None:
            pace = self._paces[upload.id] = _Pace(upload.upload_offset, now)
            if len(self._paces) > MOST_UPLOADS:
                self._forget(next(iter(self._paces)))
        else:
            self._paces.move_to_end(upload.id)
            if upload.upload_offset <= pace.offset:
                return
            _measure(pace, upload.upload_offset, now)
        pace.waiting = upload
        wait_seconds = pace.told_at + LEAST_SECONDS - now
        if wait_seconds <= 0:
            self._tell(pace)
        elif pace.timer is None:
            pace.timer = asyncio.get_running_loop().call_later(wait_seconds, self._tell, pace)

    def close(self) -> None:
        """Tell nothing more."""
        for upload_id in list(self._paces):
            self._forget(upload_id)

    def _tell(self, pace: _Pace) -> None:
        upload, pace.waiting, pace.timer = pace.waiting, None, None
        if upload is None:
            return
        pace.told_at = self._clock()
        progress = Progress(
            upload_id=upload.id,
            upload_offset=upload.upload_offset,
            upload_length=upload.upload_length,
            tenant=upload.tenant,
            job_id=upload.job_id,
            bytes_per_second=pace.bytes_per_second,
        )
        for listener in self._listeners:
            listener(progress)

    def _forget(self, upload_id: str) -> None:
        pace = self._paces.pop(upload_id, None)
        if pace is not None and pace.timer is not None:
            pace.timer.cancel()


def _measure(pace: _Pace, offset: int, now: float) -> None:
    """A mean that forgets: what took longer to come counts for more."""
    seconds = max(now - pace.at, 1e-3)
    rate = (offset - pace.offset) / seconds
    if seconds > PAUSE_SECONDS:
        pace.bytes_per_second = None
    elif pace.bytes_per_second is None:
        pace.bytes_per_second = rate
    else:
        weight = min(seconds / SMOOTH_SECONDS, 1.0)
        pace.bytes_per_second += weight * (rate - pace.bytes_per_second)
    pace.offset, pace.at = offset, now


def seconds_left(progress: Progress) -> float | None:
    """Until the last byte, at this rate; None where the length or the rate is unknown."""
    if progress.upload_length is None or not progress.bytes_per_second:
        return None
    return (progress.upload_length - progress.upload_offset) / progress.bytes_per_second

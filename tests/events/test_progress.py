"""How fast uploads come on: at most ten times a second each, by committed offsets alone (I1)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.contracts.rows import a_row
from tests.uploads.rig import until
from tuspy_server.events.progress import LEAST_SECONDS, MOST_UPLOADS, ProgressMeter, seconds_left
from tuspy_server.model import UploadStatus
from tuspy_server.ports import Progress


class Watch:
    def __init__(self) -> None:
        self.now = 100.0
        self.heard: list[Progress] = []
        self.meter = ProgressMeter(self.heard.append, clock=lambda: self.now)

    def commit(self, offset: int, seconds: float = 1.0, upload_id: str = "a", length: int | None = 1000) -> None:
        self.now += seconds
        self.meter.progressed(a_row(upload_id, upload_offset=offset, upload_length=length))

    @property
    def offsets(self) -> list[int]:
        return [progress.upload_offset for progress in self.heard]


async def test_rate_and_time_left() -> None:
    watch = Watch()
    for offset in range(0, 500, 100):
        watch.commit(offset)
    last = watch.heard[-1]
    assert watch.heard[0].bytes_per_second is None
    assert last.bytes_per_second == pytest.approx(100)
    assert seconds_left(last) == pytest.approx(6)
    assert seconds_left(replace(last, upload_length=None)) is None
    assert seconds_left(watch.heard[0]) is None


async def test_at_most_ten_a_second_and_the_last_one_comes() -> None:
    watch = Watch()
    for offset in range(1, 50):
        watch.commit(offset, 0.001)
    assert watch.offsets == [1]
    await until(lambda: len(watch.heard) == 2)
    assert watch.offsets == [1, 49]
    for offset in range(50, 60):
        watch.commit(offset, LEAST_SECONDS)
    assert watch.offsets[2:] == list(range(50, 60))


async def test_nothing_behind_the_end() -> None:
    watch = Watch()
    watch.commit(1)
    watch.commit(2, 0.01)
    watch.meter.progressed(a_row("a", UploadStatus.FINISHED, upload_offset=3, upload_length=3))
    await asyncio.sleep(2 * LEAST_SECONDS)
    assert watch.offsets == [1]
    assert not watch.meter._paces


async def test_a_pause_says_nothing_about_the_rate() -> None:
    watch = Watch()
    for offset in (100, 200, 300):
        watch.commit(offset)
    watch.commit(400, 3600)
    assert watch.heard[-1].bytes_per_second is None
    watch.commit(500)
    assert watch.heard[-1].bytes_per_second == pytest.approx(100)


async def test_an_offset_that_has_not_grown_is_not_told() -> None:
    watch = Watch()
    watch.commit(5)
    watch.commit(5)
    assert watch.offsets == [5]


async def test_what_is_remembered_is_bounded() -> None:
    """I10."""
    watch = Watch()
    for number in range(MOST_UPLOADS + 5):
        watch.commit(1, 0.0, str(number))
    assert len(watch.meter._paces) == MOST_UPLOADS
    watch.commit(2, 0.0, str(MOST_UPLOADS))
    watch.meter.close()
    assert not watch.meter._paces

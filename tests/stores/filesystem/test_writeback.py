"""The disk begins with a long body while it still comes; what says that bytes are durable is the sync alone."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contracts.blob_store import read, some_bytes, store
from tests.contracts.rows import new_id
from tests.stores.filesystem.rigs import FilesystemRig
from tests.stores.filesystem.slow_calls import FailingCall, once
from tuspy_server.protocol.errors import StorageFault
from tuspy_server.stores.filesystem import calls, writer
from tuspy_server.stores.filesystem.writer import WRITEBACK_BYTES


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[FilesystemRig]:
    rig = FilesystemRig(tmp_path / "files")
    await rig.start()
    yield rig
    await rig.stop()


async def test_the_disk_begins_before_the_body_ends(rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte is told once, in its order, and none that has not been written."""
    begun = FailingCall(monkeypatch, "start_writeback", lambda *_: None)
    upload_id, content = new_id(), some_bytes(3 * WRITEBACK_BYTES + 12_345)
    assert await store(rig, upload_id, 0, content) == len(content)
    ranges = [(position, count) for _, position, count in begun.arguments]
    assert 2 <= len(ranges) <= 3
    reached = 0
    for position, count in ranges:
        assert position == reached
        assert count >= WRITEBACK_BYTES
        reached += count
    assert reached <= len(content)
    assert await read(rig, upload_id, 0, len(content)) == content


async def test_a_short_body_costs_no_call(rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = FailingCall(monkeypatch, "start_writeback", lambda *_: None)
    await store(rig, new_id(), 0, some_bytes(WRITEBACK_BYTES - 1))
    assert begun.count == 0


async def test_without_durability_the_kernel_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = FilesystemRig(tmp_path / "process", durable=False)
    await rig.start()
    begun = FailingCall(monkeypatch, "start_writeback", lambda *_: None)
    await store(rig, new_id(), 0, some_bytes(2 * WRITEBACK_BYTES))
    assert begun.count == 0
    await rig.stop()


async def test_what_the_disk_could_not_write_is_told_by_the_sync(
    rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D01: early writeback makes no sync superfluous, and a failed one counts nothing."""
    begun = FailingCall(monkeypatch, "start_writeback", lambda *_: None)
    FailingCall(monkeypatch, "make_durable", once(OSError(errno.EIO, "the disk")))
    with pytest.raises(StorageFault):
        await store(rig, new_id(), 0, some_bytes(2 * WRITEBACK_BYTES))
    assert begun.count >= 1


async def test_what_is_synced_is_given_up_by_the_cache(rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """I2: once, only behind a sync that succeeded (D01), not for short bodies, and the bytes are there all the same."""
    monkeypatch.setattr(writer, "DROP_BYTES", WRITEBACK_BYTES)
    upload_id, content = new_id(), some_bytes(WRITEBACK_BYTES + 12_345)
    dropped = FailingCall(monkeypatch, "drop_cached", lambda *_: None)
    await store(rig, upload_id, 0, content)
    assert [arguments[1:] for arguments in dropped.arguments] == [(0, len(content))]
    assert await read(rig, upload_id, 0, len(content)) == content
    await store(rig, new_id(), 0, content[: WRITEBACK_BYTES - 1])
    FailingCall(monkeypatch, "make_durable", once(OSError(errno.EIO, "the disk")))
    with pytest.raises(StorageFault):
        await store(rig, new_id(), 0, content)
    assert dropped.count == 1
    calls.drop_cached(-1, 0, 1)  # a hint: what refuses it is no failure


def test_no_flag_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """D01: where it waits for the bytes, the kernel tells a descriptor's error there, and the sync hears of none."""
    flags: list[int] = []
    monkeypatch.setattr(calls, "_sync_file_range", lambda *arguments: flags.append(arguments[-1]))
    calls.start_writeback(0, 0, 1)
    assert flags == [2]


def test_where_the_system_has_no_such_call_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_sync_file_range", None)
    calls.start_writeback(0, 0, 1)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert calls._find_sync_file_range() is None


def test_a_file_system_that_refuses_is_no_failure() -> None:
    """A pipe stands for it."""
    read_end, write_end = os.pipe()
    try:
        calls.start_writeback(write_end, 0, 1)
    finally:
        os.close(read_end)
        os.close(write_end)

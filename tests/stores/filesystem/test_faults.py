"""Failing disks: D01, D02, D08. What was synced stays, what was not is said not to be, and the next claim goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from tests.contracts.blob_store import put, read, some_bytes, store
from tests.contracts.rows import new_id
from tests.stores.filesystem.rigs import FilesystemRig
from tests.stores.filesystem.slow_calls import FailingCall, once
from tuspy_server.protocol.errors import BytesMissing, StorageFault, StorageFull
from tuspy_server.stores.filesystem import calls

EIO = OSError(errno.EIO, "I/O error")
ENOSPC = OSError(errno.ENOSPC, "no space")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[FilesystemRig]:
    rig = FilesystemRig(tmp_path / "files")
    await rig.start()
    yield rig
    await rig.stop()
    assert rig.pool.used_bytes == 0


class SmallDisk:
    """`os.pwrite` on a disk of so many bytes: it takes a part, then nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
        self.free_bytes = free_bytes
        self._real = os.pwrite
        monkeypatch.setattr(os, "pwrite", self._pwrite)

    def _pwrite(self, descriptor: int, view: memoryview, position: int) -> int:
        if self.free_bytes == 0:
            raise ENOSPC
        count = self._real(descriptor, view[: self.free_bytes], position)
        self.free_bytes -= count
        return count


@pytest.mark.parametrize("count", [1000, 3 << 20], ids=["small", "streamed"])
async def test_a_failed_sync_counts_nothing_and_is_not_tried_again(
    rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """D01, I1: the kernel drops the pages and a second fsync would report success (PostgreSQL's fsyncgate)."""
    upload_id, content = new_id(), some_bytes(count)
    await store(rig, upload_id, 0, content[:500])
    syncs = FailingCall(monkeypatch, "make_durable", once(EIO))
    writer = await rig.open_writer(upload_id, 500)
    await put(writer, content[500:])
    with pytest.raises(StorageFault):
        await rig.sync(writer)
    for call in (partial(writer.sync, flush=True), writer.buffer):
        with pytest.raises(StorageFault):
            await call()
    assert syncs.count == 1
    writer.close()
    assert await store(rig, upload_id, 500, content[500:]) == count
    assert syncs.arguments[0][0] != syncs.arguments[-1][0] or syncs.count > 1, "a descriptor of its own"
    assert await read(rig, upload_id, 0, count) == content


async def test_the_claim_after_a_failed_sync_cuts_off_what_was_not_synced(
    rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D01, D03."""
    upload_id = new_id()
    await store(rig, upload_id, 0, b"kept")
    FailingCall(monkeypatch, "make_durable", once(EIO))
    writer = await rig.open_writer(upload_id, 4)
    await put(writer, b"perhaps lost")
    with pytest.raises(StorageFault):
        await rig.sync(writer)
    writer.close()
    (await rig.open_writer(upload_id, 4)).close()
    with pytest.raises(BytesMissing):
        await read(rig, upload_id, 0, 5)


async def test_a_failed_sync_of_the_folder_counts_nothing(rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """D01, D04: a file whose name may be lost is not there."""
    upload_id = new_id()
    FailingCall(monkeypatch, "sync_folder", once(EIO))
    with pytest.raises(StorageFault):
        await store(rig, upload_id, 0, b"abc")
    folders = FailingCall(monkeypatch, "sync_folder", lambda *_: None)
    assert await store(rig, upload_id, 0, b"abc") == 3
    assert folders.count == 1, "the next claim syncs it anew"


async def test_a_failed_write_counts_nothing(rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """D01."""
    upload_id = new_id()
    FailingCall(monkeypatch, "write_at", once(calls.ShortWrite(EIO, 0)))
    with pytest.raises(StorageFault):
        await store(rig, upload_id, 0, b"abc")
    assert await store(rig, upload_id, 0, b"abc") == 3


@pytest.mark.parametrize("free_bytes", [0, 1, 999, 1000])
async def test_a_full_disk_keeps_what_it_took_and_goes_on_when_there_is_room(
    rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch, free_bytes: int
) -> None:
    """D02, I3: the offset is the bytes that are really synced."""
    upload_id, content = new_id(), some_bytes(1001)
    disk = SmallDisk(monkeypatch, free_bytes)
    writer = await rig.open_writer(upload_id, 0)
    await put(writer, content)
    assert await rig.sync(writer) == free_bytes
    with pytest.raises(StorageFull):
        await writer.buffer()
    assert await rig.sync(writer) == free_bytes
    writer.close()
    disk.free_bytes = 1 << 20
    assert await store(rig, upload_id, free_bytes, content[free_bytes:]) == 1001
    assert await read(rig, upload_id, 0, 1001) == content


async def test_a_disk_that_fills_up_in_the_middle_of_a_stream_says_so_to_the_next_buffer(
    rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D02, I10: nothing is buffered that cannot be written."""
    upload_id, content = new_id(), some_bytes(6 << 20)
    SmallDisk(monkeypatch, 3_000_000)
    writer = await rig.open_writer(upload_id, 0)
    with pytest.raises(StorageFull):
        await put(writer, content)
    reached = await rig.sync(writer)
    assert reached == 3_000_000
    writer.close()
    assert await read(rig, upload_id, 0, reached) == content[:reached]


async def test_a_sync_that_finds_the_disk_full_is_not_tried_again(
    rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D01, D02: with delayed allocation it is fdatasync that fails."""
    syncs = FailingCall(monkeypatch, "make_durable", once(ENOSPC))
    writer = await rig.open_writer(new_id(), 0)
    await put(writer, b"abc")
    with pytest.raises(StorageFull):
        await rig.sync(writer)
    with pytest.raises(StorageFault):
        await rig.sync(writer)
    writer.close()
    assert syncs.count == 1


async def test_a_missing_or_short_file_fails_its_own_upload_alone(rig: FilesystemRig) -> None:
    """D08."""
    lost, short, sound = new_id(), new_id(), new_id()
    for upload_id in (lost, short, sound):
        await store(rig, upload_id, 0, b"12345")
    rig.blobs.path(lost).unlink()
    os.truncate(rig.blobs.path(short), 4)
    for upload_id in (lost, short):
        with pytest.raises(BytesMissing):
            await rig.open_writer(upload_id, 5)
        with pytest.raises(BytesMissing):
            await read(rig, upload_id, 0, 5)
    assert await store(rig, sound, 5, b"6") == 6
    assert rig.blobs.path(short).stat().st_size == 4, "it is left as it was found"


@pytest.mark.parametrize(("error", "answer"), [(EIO, StorageFault), (ENOSPC, StorageFull)])
async def test_the_check_says_what_is_wrong(
    rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch, error: OSError, answer: type[Exception]
) -> None:
    FailingCall(monkeypatch, "probe", once(error))
    with pytest.raises(answer):
        await rig.blobs.check()
    await rig.blobs.check()


async def test_a_delete_that_fails_can_be_tried_again(rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """C12."""
    upload_id = new_id()
    await store(rig, upload_id, 0, b"abc")
    FailingCall(monkeypatch, "remove", once(EIO))
    with pytest.raises(StorageFault):
        await rig.delete(upload_id)
    await rig.delete(upload_id)
    assert not rig.blobs.path(upload_id).exists()


@pytest.mark.parametrize("count", [1000, 3 << 20], ids=["small", "streamed"])
async def test_no_space_for_a_new_file_is_507(rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """D02: the file cannot even be made; the next request makes it."""
    upload_id, content = new_id(), some_bytes(count)
    FailingCall(monkeypatch, "open_at", once(ENOSPC))
    with pytest.raises(StorageFull):
        await store(rig, upload_id, 0, content)
    assert await store(rig, upload_id, 0, content) == count

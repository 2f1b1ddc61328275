"""Calls that hang, callers that go: nothing is written where it does not belong, nothing is kept for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contracts.blob_store import put, read, some_bytes, store
from tests.contracts.rows import new_id
from tests.stores.filesystem.rigs import FilesystemRig
from tests.stores.filesystem.slow_calls import HeldCall
from tests.stores.filesystem.test_filesystem_contract import open_descriptors
from tests.uploads.rig import until
from tuspy_server.pages import LARGE_PAGE_BYTES, SMALL_PAGE_BYTES
from tuspy_server.protocol.errors import StorageFault, WriterFenced
from tuspy_server.stores.filesystem.writer import FileWriter


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[FilesystemRig]:
    """At the end everything has been given back, whatever the test did (I10, R09)."""
    before = open_descriptors()
    rig = FilesystemRig(tmp_path / "files")
    await rig.start()
    yield rig
    await rig.stop()
    assert rig.pool.used_bytes == 0
    assert open_descriptors() == before


async def begin_to_write(rig: FilesystemRig, upload_id: str, content: bytes) -> FileWriter:
    writer = await rig.open_writer(upload_id, 0)
    assert isinstance(writer, FileWriter)
    await put(writer, content)
    return writer


@pytest.mark.parametrize("call", ["write_at", "make_durable"])
async def test_a_fence_waits_for_the_running_call(
    rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """I5, K05: a write of the early writer that lands late would overwrite the later one's bytes."""
    upload_id = new_id()
    held = HeldCall(monkeypatch, call)
    early = await begin_to_write(rig, upload_id, b"EARLY")
    syncing = asyncio.create_task(rig.sync(early))
    await held.began()
    late = asyncio.create_task(store(rig, upload_id, 0, b"late!"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not late.done()
    held.go()
    assert await late == 5
    await asyncio.wait([syncing])  # it may say that its bytes were durable: the row's fence refuses to count them
    with pytest.raises(WriterFenced):
        await rig.sync(early)
    early.close()
    assert await read(rig, upload_id, 0, 5) == b"late!"


async def test_an_open_that_hangs_past_its_deadline_cuts_nothing_off_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I1: its thread ends after the next claim has written, and would truncate to its own offset."""
    rig = FilesystemRig(tmp_path / "slow")
    await rig.start()
    upload_id = new_id()
    await store(rig, upload_id, 0, b"123")
    held = HeldCall(monkeypatch, "open_at")
    rig.wait_for_calls(0.05)
    with pytest.raises(StorageFault):
        await rig.open_writer(upload_id, 3)
    with pytest.raises(StorageFault):
        await store(rig, upload_id, 3, b"456")
    rig.wait_for_calls(30)
    held.go()
    await until(lambda: held.ended == held.count)
    assert await store(rig, upload_id, 3, b"456") == 6
    assert await read(rig, upload_id, 0, 6) == b"123456"
    await rig.stop()


@pytest.mark.parametrize("call", ["write_at", "make_durable", "open_at"])
async def test_a_cancelled_request_leaks_no_descriptor_and_no_page(
    rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """B09, C11, R09: the thread cannot be cancelled, so what it uses is let go of when it ends."""
    upload_id = new_id()
    await store(rig, upload_id, 0, b"123")
    before = open_descriptors()
    held = HeldCall(monkeypatch, call)
    request = asyncio.create_task(store(rig, upload_id, 3, some_bytes(200_000)))
    await held.began()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    held.go()
    await rig.delete(upload_id)
    await until(lambda: open_descriptors() == before and not rig.pool.used_bytes)


async def test_a_cancelled_request_writes_into_no_reused_descriptor(
    rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """B09, I2: the number of a closed descriptor is the next file's."""
    held = HeldCall(monkeypatch, "write_at")
    request = asyncio.create_task(store(rig, new_id(), 0, b"to be cancelled"))
    await held.began()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    bystanders = [(tmp_path / f"bystander-{number}").open("w+b") for number in range(20)]
    held.go()
    await rig.blobs.close()
    for file in bystanders:
        assert file.read() == b""
        file.close()


async def test_storage_that_is_behind_holds_the_client_back(
    rig: FilesystemRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I10, S04: two pages of a body are in memory, however much its client sends."""
    upload_id, content = new_id(), some_bytes(8 << 20)
    held = HeldCall(monkeypatch, "write_at")
    request = asyncio.create_task(store(rig, upload_id, 0, content))
    await held.began()
    for _ in range(100):
        await asyncio.sleep(0)
    assert SMALL_PAGE_BYTES <= rig.pool.used_bytes <= SMALL_PAGE_BYTES + LARGE_PAGE_BYTES
    held.go()
    assert await request == len(content)
    assert await read(rig, upload_id, 0, len(content)) == content


async def test_storage_that_hangs_is_a_fault_for_its_own_request_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S04, I12: a deadline for each call; the other uploads go on beside it."""
    rig = FilesystemRig(tmp_path / "slow", deadline_seconds=0.05)
    await rig.start()
    held = HeldCall(monkeypatch, "write_at")
    with pytest.raises(StorageFault):
        await store(rig, new_id(), 0, b"abc")
    rig.wait_for_calls(30)
    assert await store(rig, new_id(), 0, b"abc") == 3
    held.go()
    await rig.stop()
    assert rig.pool.used_bytes == 0


async def test_bodies_at_once_share_the_pool(tmp_path: Path) -> None:
    """I10, R02: a pool of two pages serves twenty bodies, one after the other where need be."""
    rig = FilesystemRig(tmp_path / "narrow", pool_bytes=2 << 20, wait_seconds=30)
    await rig.start()
    contents = {new_id(): some_bytes(700_000, seed) for seed in range(20)}
    most_bytes = 0

    async def watch() -> None:
        nonlocal most_bytes
        while True:
            most_bytes = max(most_bytes, rig.pool.used_bytes)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(store(rig, upload_id, 0, content) for upload_id, content in contents.items()))
    watching.cancel()
    for upload_id, content in contents.items():
        assert await read(rig, upload_id, 0, len(content)) == content
    assert most_bytes <= 2 << 20
    await rig.stop()
    assert rig.pool.used_bytes == 0

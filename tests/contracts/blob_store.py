"""`ports.BlobStore` and `ports.BlobWriter`. A suite that every adapter passes."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.contracts.rig import BlobRig
from tests.contracts.rows import new_id
from tuspy_server.ports import BlobWriter
from tuspy_server.protocol.errors import BytesMissing, TusError, WriterFenced


async def put(writer: BlobWriter, content: bytes, most: int = 1 << 30) -> None:
    """Advance by `content`, at most `most` bytes at once."""
    left = memoryview(content)
    while left:
        buffer = await writer.buffer()
        assert len(buffer) >= 1
        count = min(len(buffer), len(left), most)
        buffer[:count] = left[:count]
        writer.advance(count)
        left = left[count:]


async def store(rig: BlobRig, upload_id: str, offset: int, content: bytes) -> int:
    """One request's whole way: open, write, sync, close. Returns the durable offset."""
    writer = await rig.open_writer(upload_id, offset)
    try:
        await put(writer, content)
        return await rig.sync(writer)
    finally:
        writer.close()


async def read(rig: BlobRig, upload_id: str, start: int, stop: int) -> bytes:
    return b"".join([block async for block in rig.read(upload_id, start, stop)])


def some_bytes(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


class BlobStoreContract:
    """Subclasses give a started `rig`."""

    # --- writing and reading -------------------------------------------------------------------------------------

    @pytest.mark.parametrize("count", [0, 1, 65535, 65536, 65537, (1 << 20) + 65536, (3 << 20) + 7])
    async def test_bytes_are_read_back_as_they_were_written(self, rig: BlobRig, count: int) -> None:
        """I2."""
        upload_id, content = new_id(), some_bytes(count)
        assert await store(rig, upload_id, 0, content) == count
        assert await read(rig, upload_id, 0, count) == content

    @pytest.mark.parametrize("most", [1, 7, 4096])
    async def test_many_small_advances_keep_their_order(self, rig: BlobRig, most: int) -> None:
        """Fault N11."""
        upload_id, content = new_id(), some_bytes(most * 500)
        writer = await rig.open_writer(upload_id, 0)
        await put(writer, content, most)
        assert await rig.sync(writer) == len(content)
        writer.close()
        assert await read(rig, upload_id, 0, len(content)) == content

    async def test_requests_follow_one_another_at_their_offsets(self, rig: BlobRig) -> None:
        upload_id, content = new_id(), some_bytes(300_000)
        for start, stop in ((0, 1), (1, 70_000), (70_000, 70_000), (70_000, 300_000)):
            assert await store(rig, upload_id, start, content[start:stop]) == stop
        assert await read(rig, upload_id, 0, 300_000) == content

    async def test_each_sync_returns_the_offset_that_it_reached(self, rig: BlobRig) -> None:
        """I3."""
        writer = await rig.open_writer(new_id(), 0)
        assert await rig.sync(writer) == 0
        await put(writer, b"abc")
        assert await rig.sync(writer) == 3
        assert await rig.sync(writer) == 3
        await put(writer, some_bytes(200_000))
        assert await rig.sync(writer) == 200_003
        writer.close()

    async def test_bytes_go_on_arriving_during_a_sync(self, rig: BlobRig) -> None:
        upload_id, content = new_id(), some_bytes(500_000)
        writer = await rig.open_writer(upload_id, 0)
        reached = []
        for start in range(0, 500_000, 50_000):
            syncing = asyncio.create_task(rig.sync(writer))
            await put(writer, content[start : start + 50_000])
            reached.append(await syncing)
        assert reached == sorted(reached)
        assert await rig.sync(writer) == 500_000
        writer.close()
        assert await read(rig, upload_id, 0, 500_000) == content

    async def test_any_range_can_be_read(self, rig: BlobRig) -> None:
        upload_id, content = new_id(), some_bytes(600_000)
        await store(rig, upload_id, 0, content)
        for start, stop in ((0, 1), (5, 5), (599_999, 600_000), (1, 300_000), (262_143, 524_289)):
            assert await read(rig, upload_id, start, stop) == content[start:stop]

    async def test_reading_what_is_not_there_raises(self, rig: BlobRig) -> None:
        """Fault D08."""
        upload_id = new_id()
        await store(rig, upload_id, 0, b"abc")
        with pytest.raises(BytesMissing):
            await read(rig, upload_id, 0, 4)
        with pytest.raises(BytesMissing):
            await read(rig, new_id(), 0, 1)

    async def test_uploads_are_strangers_to_each_other(self, rig: BlobRig) -> None:
        contents = {new_id(): some_bytes(200_000, seed) for seed in range(8)}
        await asyncio.gather(*(store(rig, upload_id, 0, content) for upload_id, content in contents.items()))
        await rig.delete(next(iter(contents)))
        for upload_id, content in list(contents.items())[1:]:
            assert await read(rig, upload_id, 0, len(content)) == content

    # --- opening -------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("offset", [0, 1, 70_000])
    async def test_surplus_bytes_of_earlier_requests_are_removed(self, rig: BlobRig, offset: int) -> None:
        """I2, fault D03: bytes past the offset were never counted."""
        upload_id, content = new_id(), some_bytes(offset + 3)
        await store(rig, upload_id, 0, content[:offset] + bytes(100_000))
        assert await store(rig, upload_id, offset, content[offset:]) == offset + 3
        assert await read(rig, upload_id, 0, offset + 3) == content
        with pytest.raises(BytesMissing):
            await read(rig, upload_id, 0, offset + 4)

    async def test_fewer_bytes_than_the_offset_cannot_be_gone_on_with(self, rig: BlobRig) -> None:
        """Fault D08."""
        upload_id = new_id()
        with pytest.raises(BytesMissing):
            await rig.open_writer(upload_id, 1)
        await store(rig, upload_id, 0, b"abc")
        with pytest.raises(BytesMissing):
            await rig.open_writer(upload_id, 4)
        assert await store(rig, upload_id, 3, b"d") == 4

    async def test_an_earlier_writer_is_fenced_by_a_later_one(self, rig: BlobRig) -> None:
        """I5, fault K05: with other bytes for the same range."""
        upload_id = new_id()
        early = await rig.open_writer(upload_id, 0)
        await put(early, b"old bytes")
        await rig.sync(early)
        await put(early, some_bytes(100_000))
        late = await rig.open_writer(upload_id, 4)
        await put(late, b"NEW")
        with pytest.raises(WriterFenced):
            await early.buffer()
        with pytest.raises(WriterFenced):
            await rig.sync(early)
        early.close()
        assert await rig.sync(late) == 7
        late.close()
        assert await read(rig, upload_id, 0, 7) == b"old NEW"
        with pytest.raises(BytesMissing):
            await read(rig, upload_id, 0, 8)

    async def test_a_buffer_that_a_fenced_writer_still_fills_reaches_nothing(self, rig: BlobRig) -> None:
        """I5: its client's bytes were on their way into the buffer when the later writer came."""
        upload_id = new_id()
        early = await rig.open_writer(upload_id, 0)
        buffer = await early.buffer()
        late = await rig.open_writer(upload_id, 0)
        await put(late, b"NEW")
        buffer[:3] = b"old"
        early.advance(3)
        early.close()
        assert await rig.sync(late) == 3
        late.close()
        assert await read(rig, upload_id, 0, 3) == b"NEW"

    # --- rolling back, closing, deleting -------------------------------------------------------------------------

    @pytest.mark.parametrize("synced", [True, False])
    async def test_a_rollback_removes_what_came_after_the_offset(self, rig: BlobRig, *, synced: bool) -> None:
        """The chunk MUST be discarded (tus 1.0.0, Checksum)."""
        upload_id, content = new_id(), some_bytes(100_000)
        await store(rig, upload_id, 0, content)
        writer = await rig.open_writer(upload_id, 100_000)
        await put(writer, bytes(200_000))
        if synced:
            await rig.sync(writer)
        await writer.rollback(100_000)
        with pytest.raises(TusError):
            await writer.buffer()
        writer.close()
        with pytest.raises(BytesMissing):
            await read(rig, upload_id, 0, 100_001)
        assert await store(rig, upload_id, 100_000, b"more") == 100_004
        assert await read(rig, upload_id, 0, 100_004) == content + b"more"

    async def test_a_fenced_writer_rolls_nothing_back(self, rig: BlobRig) -> None:
        """I5."""
        upload_id = new_id()
        early = await rig.open_writer(upload_id, 0)
        late = await rig.open_writer(upload_id, 0)
        await put(late, b"NEW")
        await rig.sync(late)
        await early.rollback(0)
        early.close()
        late.close()
        assert await read(rig, upload_id, 0, 3) == b"NEW"

    async def test_a_writer_may_be_closed_twice_and_takes_nothing_after(self, rig: BlobRig) -> None:
        writer = await rig.open_writer(new_id(), 0)
        await put(writer, b"abc")
        writer.close()
        writer.close()
        with pytest.raises(WriterFenced):
            await writer.buffer()
        with pytest.raises(WriterFenced):
            await rig.sync(writer)

    async def test_a_delete_removes_all_bytes_and_fences_the_writer(self, rig: BlobRig) -> None:
        """I8, fault K03."""
        upload_id = new_id()
        writer = await rig.open_writer(upload_id, 0)
        await put(writer, some_bytes(100_000))
        await rig.delete(upload_id)
        with pytest.raises(WriterFenced):
            await writer.buffer()
        writer.close()
        with pytest.raises(BytesMissing):
            await read(rig, upload_id, 0, 1)
        with pytest.raises(BytesMissing):
            await rig.open_writer(upload_id, 1)

    async def test_deleting_nothing_is_success(self, rig: BlobRig) -> None:
        """Fault C12: a sweep that is run again converges."""
        upload_id = new_id()
        await rig.delete(upload_id)
        await store(rig, upload_id, 0, b"abc")
        await rig.delete(upload_id)
        await rig.delete(upload_id)

    async def test_synced_bytes_outlive_a_restart(self, rig: BlobRig) -> None:
        """I1, fault C02."""
        upload_id, content = new_id(), some_bytes(100_000)
        writer = await rig.open_writer(upload_id, 0)
        await put(writer, content)
        await rig.sync(writer)
        writer.close()
        await rig.reopen()
        assert await store(rig, upload_id, 100_000, b"!") == 100_001
        assert await read(rig, upload_id, 0, 100_001) == content + b"!"

    async def test_a_sound_storage_passes_its_check(self, rig: BlobRig) -> None:
        await rig.blobs.check()
        await rig.blobs.check()

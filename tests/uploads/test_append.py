"""One body on its way into an upload: what counts, when it shows, and what remains of a body that ends badly."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contracts.rows import event_types
from tests.uploads.bodies import ScriptedBody
from tests.uploads.rig import LifecycleRig, sha1, until
from tuspy_server.model import EventType, UploadStatus
from tuspy_server.protocol.errors import (
    BodyStalled,
    ChecksumMismatch,
    ClientDisconnected,
    InvalidHeader,
    UploadTooLarge,
)


@pytest.fixture
async def rig() -> AsyncIterator[LifecycleRig]:
    """No writer and no page outlives its request, whatever a test does."""
    rig = LifecycleRig()
    yield rig
    await rig.close()
    assert rig.uploads.held_writers == frozenset()


# --- bodies that come whole ------------------------------------------------------------------------------------------


async def test_a_body_that_completes_the_upload_finishes_it(rig: LifecycleRig) -> None:
    """I6, I7."""
    upload = await rig.create(10)
    assert (await rig.patch(upload, 0, b"12345")).status is UploadStatus.UPLOADING
    done = await rig.patch(upload, 5, b"67890")
    assert (done.status, done.upload_offset, done.writer) == (UploadStatus.FINISHED, 10, None)
    assert rig.stored(upload) == b"1234567890"
    assert await event_types(rig.rows, upload.id) == [EventType.CREATED, EventType.FINISHED]


async def test_an_empty_body_changes_nothing(rig: LifecycleRig) -> None:
    upload = await rig.create(10)
    await rig.patch(upload, 0, b"123")
    assert (await rig.patch(upload, 3, b"")).upload_offset == 3
    assert (await rig.row(upload)).writer is None


async def test_the_last_request_declares_a_deferred_length(rig: LifecycleRig) -> None:
    """S13: bytes and length together, or the length alone."""
    together, alone = await rig.create(None), await rig.create(None)
    await rig.patch(together, 0, b"12")
    assert (await rig.patch(together, 2, b"345", declares=5)).status is UploadStatus.FINISHED
    assert (await rig.patch(alone, 0, b"12345")).status is UploadStatus.UPLOADING
    done = await rig.patch(alone, 5, b"", declares=5)
    assert (done.status, done.upload_length) == (UploadStatus.FINISHED, 5)


async def test_a_declared_length_that_is_not_reached_yet_is_kept(rig: LifecycleRig) -> None:
    """K09: the first declaration wins."""
    upload = await rig.create(None)
    row = await rig.patch(upload, 0, b"123", declares=6)
    assert (row.upload_offset, row.upload_length) == (3, 6)
    with pytest.raises(InvalidHeader):
        await rig.patch(upload, 3, b"456", declares=7)
    assert (await rig.patch(upload, 3, b"456", declares=6)).status is UploadStatus.FINISHED


async def test_a_right_checksum_counts_the_body() -> None:
    """R08: of a large body too, which is hashed in a thread."""
    rig = LifecycleRig(checksum_max_bytes=1 << 20)
    upload = await rig.create(200_000)
    body = bytes(range(256)) * 390
    for offset, content in ((0, body), (len(body), body)):
        row = await rig.patch(upload, offset, content, checksum=sha1(content))
        assert row.upload_offset == offset + len(content)
    await rig.close()


# --- what HEAD shows meanwhile ---------------------------------------------------------------------------------------


async def test_head_asks_a_running_body_and_does_not_disturb_it(rig: LifecycleRig) -> None:
    """K02, I4."""
    upload = await rig.create(10)
    body, patch = await rig.running(upload, 0, b"123")
    assert (await rig.uploads.look(upload.id)).upload_offset == 3
    body.send(b"456")
    await until(lambda: body.taken_bytes == 6)
    assert (await rig.uploads.look(upload.id)).upload_offset == 6
    body.send(b"7890")
    body.end()
    assert (await patch).status is UploadStatus.FINISHED
    assert rig.stored(upload) == b"1234567890"


async def test_bytes_under_a_checksum_do_not_show_before_it_is_verified(rig: LifecycleRig) -> None:
    upload = await rig.create(10)
    body = ScriptedBody(b"123")
    patch = rig.begin(rig.patch(upload, 0, body, checksum=sha1(b"12345")))
    await until(lambda: body.taken_bytes == 3)
    assert (await rig.uploads.look(upload.id)).upload_offset == 0
    body.send(b"45")
    body.end()
    assert (await patch).upload_offset == 5


async def test_the_offset_stays_below_the_length_until_the_upload_is_finished(rig: LifecycleRig) -> None:
    """Clients take offset = length for success and never come back."""
    upload = await rig.create(5)
    body, patch = await rig.running(upload, 0, b"12345")
    shown = await rig.uploads.look(upload.id)
    assert (shown.upload_offset, shown.status) == (4, UploadStatus.UPLOADING)
    body.end()
    assert (await patch).status is UploadStatus.FINISHED


async def test_a_chunked_body_that_is_cut_at_the_full_length_shows_one_byte_less(rig: LifecycleRig) -> None:
    """N07, I7: only the body's end proves that it is whole."""
    upload = await rig.create(5)
    body, patch = await rig.running(upload, 0, b"12345")
    body.disconnect()
    with pytest.raises(ClientDisconnected):
        await patch
    row = await rig.row(upload)
    assert (row.upload_offset, row.status, row.writer) == (4, UploadStatus.UPLOADING, None)
    assert (await rig.patch(upload, 4, b"5")).status is UploadStatus.FINISHED
    assert rig.stored(upload) == b"12345"


# --- bodies that end badly -------------------------------------------------------------------------------------------


async def test_a_client_that_goes_away_keeps_every_byte_that_arrived(rig: LifecycleRig) -> None:
    """N01, N02."""
    upload = await rig.create(10)
    body, patch = await rig.running(upload, 0, b"1234567")
    body.disconnect()
    with pytest.raises(ClientDisconnected):
        await patch
    row = await rig.row(upload)
    assert (row.upload_offset, row.writer) == (7, None)


async def test_a_body_that_stalls_is_ended_and_kept() -> None:
    """CORE-PATCH-22, R01: the connection is ended after the timeout, HEAD shows what came, nothing is locked."""
    rig = LifecycleRig(idle_seconds=0.02)
    upload = await rig.create(500)
    with pytest.raises(BodyStalled):
        await rig.patch(upload, 0, ScriptedBody(b"x" * 100))
    row = await rig.row(upload)
    assert (row.upload_offset, row.writer) == (100, None)
    assert (await rig.patch(upload, 100, b"y")).upload_offset == 101
    await rig.close()


async def test_a_wrong_checksum_leaves_nothing_behind(rig: LifecycleRig) -> None:
    """S15: the chunk MUST be discarded, the offset MUST NOT be updated (tus 1.0.0, Checksum)."""
    upload = await rig.create(10)
    await rig.patch(upload, 0, b"123")
    with pytest.raises(ChecksumMismatch):
        await rig.patch(upload, 3, b"456", checksum=sha1(b"xyz"))
    row = await rig.row(upload)
    assert (row.upload_offset, row.writer) == (3, None)
    assert rig.stored(upload) == b"123"
    assert (await rig.patch(upload, 3, b"456", checksum=sha1(b"456"))).upload_offset == 6


@pytest.mark.parametrize("ending", ["disconnect", "stall"])
async def test_part_of_a_body_with_a_checksum_counts_nothing(ending: str) -> None:
    rig = LifecycleRig(idle_seconds=0.02 if ending == "stall" else 1000)
    upload = await rig.create(10)
    body = ScriptedBody(b"123")
    patch = rig.begin(rig.patch(upload, 0, body, checksum=sha1(b"123456")))
    if ending == "disconnect":
        await until(lambda: body.taken_bytes == 3)
        body.disconnect()
    with pytest.raises((ClientDisconnected, BodyStalled)):
        await patch
    row = await rig.row(upload)
    assert (row.upload_offset, row.writer) == (0, None)
    assert rig.stored(upload) == b""
    await rig.close()


@pytest.mark.parametrize("shown", [True, False])
async def test_an_overrun_keeps_only_what_had_been_shown(rig: LifecycleRig, *, shown: bool) -> None:
    """I03, I3: stored <= length."""
    upload = await rig.create(5)
    body, patch = await rig.running(upload, 0, b"123")
    if shown:
        await rig.uploads.look(upload.id)
    body.send(b"456")
    body.end()
    with pytest.raises(UploadTooLarge):
        await patch
    row = await rig.row(upload)
    assert (row.upload_offset, row.writer) == (3 if shown else 0, None)
    assert rig.stored(upload) == b"123456"[: row.upload_offset]
    rest = b"12345"[row.upload_offset :]
    assert (await rig.patch(upload, row.upload_offset, rest)).status is UploadStatus.FINISHED


async def test_a_body_with_a_checksum_has_a_limit_of_its_own() -> None:
    """I10."""
    rig = LifecycleRig(checksum_max_bytes=4)
    upload = await rig.create(10)
    with pytest.raises(UploadTooLarge):
        await rig.patch(upload, 0, ScriptedBody.whole(b"12345"), checksum=sha1(b"12345"))
    assert (await rig.row(upload)).upload_offset == 0
    await rig.close()


async def test_an_error_of_the_source_keeps_what_came_before_it(rig: LifecycleRig) -> None:
    class Broken(ScriptedBody):
        async def readinto(self, buffer: memoryview) -> int:
            if self.taken_bytes == len(self.sent):
                raise ZeroDivisionError
            return await super().readinto(buffer)

    upload = await rig.create(10)
    with pytest.raises(ZeroDivisionError):
        await rig.patch(upload, 0, Broken(b"123"))
    row = await rig.row(upload)
    assert (row.upload_offset, row.writer) == (3, None)

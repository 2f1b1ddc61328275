"""`pre_finish`: asked when every byte is durable, and before anybody is told. In memory; files do the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.uploads.asked import Asked
from tests.uploads.rig import LifecycleRig, until
from tuspy_server.access import RequestContext
from tuspy_server.model import EventType, UploadStatus
from tuspy_server.protocol.errors import (
    HookFailed,
    Refused,
    StoreUnavailable,
    TusError,
    UploadBusy,
    UploadGone,
)

WHOLE = b"0123456789"


@pytest.fixture
async def asked() -> Asked:
    return Asked()


@pytest.fixture
async def rig(asked: Asked) -> AsyncIterator[LifecycleRig]:
    rig = LifecycleRig(gate=asked)
    yield rig
    asked.open.set()
    await rig.close()


async def events(rig: LifecycleRig) -> list[tuple[EventType, object]]:
    await rig.rows.relay(100)
    return [(event.type, event.data.get("reason")) for event in await rig.rows.events(0, 100)]


async def test_it_sees_the_whole_upload_before_it_is_finished(rig: LifecycleRig, asked: Asked) -> None:
    upload = await rig.create(10)
    assert (await rig.patch(upload, 0, WHOLE)).status is UploadStatus.FINISHED
    (stored,) = asked.stored
    assert asked.seen == [WHOLE]
    assert (stored.upload.id, stored.upload.upload_length) == (upload.id, 10)
    assert stored.upload.status is UploadStatus.UPLOADING
    assert stored.path is None


async def test_it_is_not_asked_before_the_last_byte(rig: LifecycleRig, asked: Asked) -> None:
    upload = await rig.create(10)
    await rig.patch(upload, 0, WHOLE[:9])
    assert asked.stored == []


async def test_a_refused_upload_fails_and_its_bytes_go(rig: LifecycleRig, asked: Asked) -> None:
    upload = await rig.create(10)
    asked.answers = [Refused("a virus", 422)]
    with pytest.raises(Refused) as refused:
        await rig.patch(upload, 0, WHOLE)
    assert (refused.value.status, str(refused.value)) == (422, "a virus")
    row = await rig.row(upload)
    assert (row.status, row.writer) == (UploadStatus.FAILED, None)
    assert rig.stored(upload) == b""
    assert await rig.rows.cleanups(10) == []
    assert await events(rig) == [(EventType.CREATED, None), (EventType.FAILED, "a virus")]
    assert (await rig.uploads.look(upload.id)).is_gone
    with pytest.raises(UploadGone):
        await rig.patch(upload, 9, WHOLE[9:])


@pytest.mark.parametrize("error", [HookFailed(), StoreUnavailable()])
async def test_what_is_no_refusal_changes_nothing(rig: LifecycleRig, asked: Asked, error: TusError) -> None:
    """I1, I3, I4: the offset stays short of the length, and the next PATCH has it asked again."""
    upload = await rig.create(10)
    asked.answers = [error]
    with pytest.raises(type(error)):
        await rig.patch(upload, 0, WHOLE)
    row = await rig.uploads.look(upload.id)
    assert (row.status, row.upload_offset, row.writer) == (UploadStatus.UPLOADING, 9, None)
    assert (await rig.patch(upload, 9, WHOLE[9:])).status is UploadStatus.FINISHED
    assert rig.stored(upload) == WHOLE
    assert asked.seen == [WHOLE, WHOLE]
    assert await events(rig) == [(EventType.CREATED, None), (EventType.FINISHED, None)]


async def test_an_upload_whose_length_comes_last_is_asked_again_too(rig: LifecycleRig, asked: Asked) -> None:
    upload = await rig.create(None)
    await rig.patch(upload, 0, WHOLE)
    asked.answers = [HookFailed()]
    with pytest.raises(HookFailed):
        await rig.patch(upload, 10, b"", declares=10)
    row = await rig.row(upload)
    assert (row.upload_offset, row.upload_length, row.writer) == (10, None, None)
    assert (await rig.patch(upload, 10, b"", declares=10)).status is UploadStatus.FINISHED


async def test_zero_length_uploads_are_asked_about(rig: LifecycleRig, asked: Asked) -> None:
    assert (await rig.create(0)).status is UploadStatus.FINISHED
    assert asked.seen == [b""]
    asked.answers = [Refused("empty", 400)]
    with pytest.raises(Refused):
        await rig.create(0)
    asked.answers = [HookFailed()]
    with pytest.raises(HookFailed):
        await rig.create(0)
    types = [event for event, _ in await events(rig)]
    assert types.count(EventType.FINISHED) == 1
    assert (types.count(EventType.FAILED), types.count(EventType.TERMINATED)) == (1, 1)


async def test_nothing_is_acknowledged_while_it_is_asked(rig: LifecycleRig, asked: Asked) -> None:
    """I1, I7."""
    upload = await rig.create(10)
    asked.open.clear()
    patch = rig.begin(rig.patch(upload, 0, WHOLE))
    await until(lambda: asked.stored)
    row = await rig.row(upload)
    assert (row.status, row.upload_offset < 10) == (UploadStatus.UPLOADING, True)
    assert not patch.done()
    asked.open.set()
    assert (await patch).status is UploadStatus.FINISHED


async def test_a_client_less_patient_than_the_hook_comes_to_an_end(rig: LifecycleRig, asked: Asked) -> None:
    """Its next PATCH waits for the answer, instead of having it asked again."""
    upload = await rig.create(10)
    asked.open.clear()
    first = rig.begin(rig.patch(upload, 0, WHOLE))
    await until(lambda: asked.stored)
    first.cancel()
    again = rig.begin(rig.patch(upload, 0, WHOLE))
    await asyncio.sleep(0)
    asked.open.set()
    with pytest.raises(TusError) as mismatch:
        await again
    assert mismatch.value.status in (409, 413)
    assert (await rig.uploads.look(upload.id)).status is UploadStatus.FINISHED
    assert len(asked.stored) == 1


async def test_a_request_waits_for_it_only_so_long(asked: Asked) -> None:
    rig = LifecycleRig(gate=asked, finish_wait_seconds=0.01)
    upload = await rig.create(10)
    asked.open.clear()
    rig.begin(rig.patch(upload, 0, WHOLE))
    await until(lambda: asked.stored)
    with pytest.raises(UploadBusy):
        await rig.patch(upload, 0, WHOLE)
    asked.open.set()
    await rig.close()


async def test_a_delete_while_it_is_asked_wins(rig: LifecycleRig, asked: Asked) -> None:
    """I7: what it says then counts for nothing."""
    upload = await rig.create(10)
    asked.open.clear()
    patch = rig.begin(rig.patch(upload, 0, WHOLE))
    await until(lambda: asked.stored)
    delete = rig.begin(rig.uploads.terminate(upload.id))
    await until(lambda: rig.now(upload).status is UploadStatus.TERMINATED)
    asked.open.set()
    await delete
    with pytest.raises(UploadGone):
        await patch
    assert rig.stored(upload) == b""
    assert [event for event, _ in await events(rig)] == [EventType.CREATED, EventType.TERMINATED]


async def test_a_refusal_that_cannot_be_stored_is_asked_again(rig: LifecycleRig, asked: Asked) -> None:
    """I12: the client hears 503, and comes back when the database does."""
    upload = await rig.create(10)
    asked.answers = [Refused("no"), Refused("no")]
    rig.fail("end", "before", StoreUnavailable)
    with pytest.raises(StoreUnavailable):
        await rig.patch(upload, 0, WHOLE)
    await rig.uploads.recover()
    row = await rig.uploads.look(upload.id)
    with pytest.raises(Refused):
        await rig.patch(upload, row.upload_offset, WHOLE[row.upload_offset :])
    assert (await rig.row(upload)).status is UploadStatus.FAILED


async def test_pre_terminate_is_asked_for_clients_alone(rig: LifecycleRig, asked: Asked) -> None:
    upload, request = await rig.create(10), RequestContext(method="DELETE", path="/x", upload_id="x")
    asked.answers = [Refused("keep it", 403), HookFailed()]
    for error in (Refused, HookFailed):
        with pytest.raises(error):
            await rig.uploads.terminate(upload.id, request)
        assert (await rig.row(upload)).status is UploadStatus.UPLOADING
    await rig.uploads.terminate(upload.id, request)
    assert [(asked_for.id, told) for asked_for, told in asked.terminated] == [(upload.id, request)] * 3
    other = await rig.create(10)
    await rig.uploads.terminate(other.id)
    assert len(asked.terminated) == 3

"""What a review of chosen ids and hooks has found: each was a defect once."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from tests.uploads.asked import Asked
from tests.uploads.bodies import ScriptedBody
from tests.uploads.rig import LifecycleRig, until
from tuspy_server.access import RequestContext
from tuspy_server.events.blocking import BlockingHooks, Question
from tuspy_server.events.gate import HookGate
from tuspy_server.model import Upload, UploadStatus
from tuspy_server.ports import Creation
from tuspy_server.protocol.core import decide_head
from tuspy_server.protocol.errors import HookFailed, Refused, TusError, UploadBusy


@pytest.fixture
async def asked() -> Asked:
    return Asked()


async def test_head_of_an_empty_upload_says_nothing_while_the_hook_is_asked(asked: Asked) -> None:
    """I7: 0 of 0 would say that it is finished, and a refusal may follow."""
    rig = LifecycleRig(gate=asked, head_seconds=0.05)
    asked.open.clear()
    rig.begin(rig.create(0))
    await until(lambda: asked.stored)
    upload = await rig.uploads.look(asked.stored[0].upload.id)
    try:
        assert upload.status is UploadStatus.UPLOADING
        with pytest.raises(UploadBusy):
            decide_head(upload)
    finally:
        asked.open.set()
        await rig.close()


async def test_a_post_that_hears_late_of_its_row_takes_nothing_from_a_patch(asked: Asked) -> None:
    """I1, I5: whoever chose the id may send a PATCH before the POST has its row."""
    rig = LifecycleRig(gate=asked)
    asked.creation = Creation(id="one")
    rig.hold("create", "after")
    post = rig.begin(rig.create(10, ScriptedBody.whole(b"aaa")))
    gate = await rig.held()
    upload = await rig.rows.get("one")
    assert upload is not None
    patch = rig.begin(rig.patch(upload, 0, b"bbbbb"))
    with suppress(TimeoutError, TusError):  # it waits for the POST, or was heard before it
        async with asyncio.timeout(0.5):
            upload = await asyncio.shield(patch)
    rig.gates.let_go(gate)
    await asyncio.gather(post, return_exceptions=True)
    await asyncio.gather(patch, return_exceptions=True)
    row = await rig.row(upload)
    await rig.close()
    assert rig.stored(upload)[: row.upload_offset] in (b"bbbbb", b"aaa", b"aaabbbbb")
    assert len(rig.stored(upload)) >= row.upload_offset


async def test_a_patch_that_runs_is_not_fenced_by_the_late_post(asked: Asked) -> None:
    rig = LifecycleRig(gate=asked)
    asked.creation = Creation(id="one")
    rig.hold("create", "after")
    post = rig.begin(rig.create(10, ScriptedBody.whole(b"aaa")))
    gate = await rig.held()
    upload = await rig.rows.get("one")
    assert upload is not None
    body = ScriptedBody(b"bbbbb")
    patch = rig.begin(rig.patch(upload, 0, body))
    await asyncio.sleep(0.2)
    rig.gates.let_go(gate)
    await asyncio.gather(post, return_exceptions=True)
    body.end()
    await asyncio.gather(patch, return_exceptions=True)
    row = await rig.row(upload)
    await rig.close()
    assert row.writer is None


async def test_a_hook_that_awaits_what_was_cancelled_has_failed(asked: Asked) -> None:
    """I12: the row is let go."""
    hooks = BlockingHooks(5)

    async def hook(stored: object) -> None:
        inner = asyncio.ensure_future(asyncio.sleep(100))
        inner.cancel()
        await inner

    hooks.register(Question.PRE_FINISH, hook)
    rig = LifecycleRig(gate=HookGate(hooks))  # type: ignore[arg-type]
    upload = await rig.create(5)
    task = rig.begin(rig.patch(upload, 0, b"bbbbb"))
    (r,) = await asyncio.gather(task, return_exceptions=True)
    row = await rig.row(upload)
    await rig.close()
    assert isinstance(r, HookFailed)
    assert (row.upload_offset, row.writer) == (4, None)


async def test_a_post_that_breaks_keeps_an_upload_whose_offset_was_shown(asked: Asked) -> None:
    """I1: the client knows the id that a hook has chosen."""
    rig = LifecycleRig(gate=asked)
    asked.creation = Creation(id="one")
    body = ScriptedBody(b"bbbbb")
    post = rig.begin(rig.create(10, body))
    await until(lambda: body.taken_bytes == 5)
    shown = await rig.uploads.look("one")
    body.disconnect()
    await asyncio.gather(post, return_exceptions=True)
    row = await rig.row(shown)
    await rig.close()
    assert shown.upload_offset == 5
    assert not row.is_gone


async def test_what_has_finished_is_not_taken_back_with_its_post(asked: Asked) -> None:
    rig = LifecycleRig(gate=asked)
    body = ScriptedBody(b"bbbbb")
    post = rig.begin(rig.create(10, body))
    await until(lambda: body.taken_bytes == 5)
    rig.hold("get", "before")
    body.disconnect()
    gate = await rig.held()
    (upload,) = rig.rows._table.uploads.values()
    done = await rig.patch(upload, upload.upload_offset, b"ccccc")
    assert done.status is UploadStatus.FINISHED
    rig.gates.let_go(gate)
    await asyncio.gather(post, return_exceptions=True)
    row = await rig.row(upload)
    await rig.close()
    assert row.status is UploadStatus.FINISHED


async def test_pre_terminate_is_asked_about_what_is_terminated() -> None:
    """An upload that finishes meanwhile is another question."""
    """The hook keeps what has finished; the upload finishes while it is asked."""

    class Keeps(Asked):
        async def pre_terminate(self, upload: Upload, request: RequestContext) -> None:
            self.terminated.append((upload, request))
            await self.open.wait()
            if upload.status is UploadStatus.FINISHED:
                raise Refused("finished uploads stay", 403)

    asked = Keeps()
    rig = LifecycleRig(gate=asked)
    upload = await rig.create(5)
    body, patch = await rig.running(upload, 0, b"bbbbb")
    asked.open.clear()
    delete = rig.begin(rig.uploads.terminate(upload.id, RequestContext(method="DELETE", path="/")))
    await until(lambda: asked.terminated)
    # pre_finish of the same gate waits for the same event: read it before
    asked.asks_before_finish = False
    body.end()
    assert (await patch).status is UploadStatus.FINISHED
    asked.open.set()
    (told,) = await asyncio.gather(delete, return_exceptions=True)
    row = await rig.row(upload)
    await rig.close()
    assert row.status is UploadStatus.FINISHED
    assert isinstance(told, Refused)

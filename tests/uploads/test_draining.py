"""The end of a process, and of requests that nobody waits for any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.uploads.bodies import ScriptedBody
from tests.uploads.rig import LifecycleRig, until
from tuspy_server.protocol.errors import Draining


@pytest.fixture
async def rig() -> AsyncIterator[LifecycleRig]:
    rig = LifecycleRig()
    yield rig
    await rig.close()
    assert rig.uploads.held_writers == frozenset()


async def test_a_drain_keeps_what_came_and_refuses_what_comes(rig: LifecycleRig) -> None:
    """C10."""
    upload = await rig.create(10)
    _, patch = await rig.running(upload, 0, b"123")
    rig.uploads.drain()
    with pytest.raises(Draining):
        await patch
    row = await rig.row(upload)
    assert (row.upload_offset, row.writer) == (3, None)
    with pytest.raises(Draining):
        await rig.patch(upload, 3, b"4")
    with pytest.raises(Draining):
        await rig.create(10)
    assert (await rig.uploads.look(upload.id)).upload_offset == 3


async def test_a_creation_that_is_drained_tells_how_far_it_came(rig: LifecycleRig) -> None:
    body = ScriptedBody(b"123")
    creating = rig.begin(rig.create(10, body))
    await until(lambda: body.taken_bytes == 3)
    rig.uploads.drain()
    assert (await creating).upload_offset == 3


async def test_closing_waits_for_what_has_begun(rig: LifecycleRig) -> None:
    upload = await rig.create(10)
    _, patch = await rig.running(upload, 0, b"123")
    rig.hold("commit", "before")
    closing = rig.begin(rig.uploads.close(30))
    gate = await rig.held()
    assert not closing.done()
    rig.gates.let_go(gate)
    await closing
    assert (await rig.row(upload)).upload_offset == 3
    await asyncio.gather(patch, return_exceptions=True)


async def test_closing_gives_up_at_its_limit(rig: LifecycleRig) -> None:
    """C11: what hangs is cancelled; the offset is honest."""
    upload = await rig.create(10)
    _, patch = await rig.running(upload, 0, b"123")
    rig.hold("sync", "before")
    async with asyncio.timeout(10):
        await rig.uploads.close(0.02)
    await asyncio.gather(patch, return_exceptions=True)
    assert patch.cancelled()
    assert (await rig.row(upload)).upload_offset == 0


@pytest.mark.parametrize("call", ["sync", "commit"])
async def test_a_cancelled_request_still_commits_what_came(rig: LifecycleRig, call: str) -> None:
    """C11, B09: cancelled in its body, and again while it commits."""
    upload = await rig.create(10)
    _, patch = await rig.running(upload, 0, b"123")
    rig.hold(call, "before")
    patch.cancel()
    gate = await rig.held()
    await asyncio.gather(patch, return_exceptions=True)
    rig.gates.let_go(gate)
    await until(lambda: rig.now(upload).writer is None)
    assert (await rig.row(upload)).upload_offset == 3

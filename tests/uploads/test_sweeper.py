"""What time does to uploads, in passes that may fail or be killed anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.contracts.rows import event_types
from tests.uploads.rig import LifecycleRig, until
from tuspy_server.events.wakeup import LocalWakeup
from tuspy_server.model import EventType, UploadStatus
from tuspy_server.ports import Lifetime
from tuspy_server.protocol.errors import StorageFault, StoreUnavailable, UploadGone
from tuspy_server.uploads import sweeper
from tuspy_server.uploads.observer import NullObserver
from tuspy_server.uploads.sweeper import Chore, Sweeper


@pytest.fixture
async def rig() -> AsyncIterator[LifecycleRig]:
    rig = LifecycleRig(lifetime=Lifetime(idle_seconds=100, cap_seconds=250))
    yield rig
    await rig.close()


def sweeper_of(rig: LifecycleRig, *, chores: Sequence[Chore] = ()) -> Sweeper:
    return Sweeper(
        rig.uploads,
        rig.rows,
        LocalWakeup(),
        NullObserver(),
        gone_seconds=1000,
        event_seconds=5000,
        chores=chores,
    )


async def test_unfinished_uploads_expire_with_all_their_bytes(rig: LifecycleRig) -> None:
    """I8, R04."""
    started, empty, done = await rig.create(10), await rig.create(10), await rig.create(3)
    await rig.patch(started, 0, b"123")
    await rig.patch(done, 0, b"123")
    rig.clock.advance(100)
    report = await rig.sweeper.sweep()
    assert {upload.id for upload in report.expired} == {started.id, empty.id}
    assert report.cleaned == 2
    assert set(rig.blobs.blobs) == {done.id}, "finished ones are left alone (K04)"
    assert await event_types(rig.rows, started.id) == [EventType.CREATED, EventType.EXPIRED]
    with pytest.raises(UploadGone):
        await rig.patch(started, 3, b"4")
    assert (await rig.sweeper.sweep()).expired == []


async def test_small_patches_keep_an_upload_up_to_the_cap_only(rig: LifecycleRig) -> None:
    """R05."""
    upload = await rig.create(100)
    for offset in range(5):
        await rig.patch(upload, offset, b"x")
        rig.clock.advance(49)
        assert (await rig.sweeper.sweep()).expired == []
    rig.clock.advance(5)
    assert [gone.id for gone in (await rig.sweeper.sweep()).expired] == [upload.id]


async def test_a_running_body_does_not_expire(rig: LifecycleRig) -> None:
    """K04: a sweep does not take what a request holds."""
    upload = await rig.create(5)
    body, patch = await rig.running(upload, 0, b"123")
    rig.clock.advance(1000)
    assert (await rig.sweeper.sweep()).expired == []
    body.send(b"45")
    body.end()
    assert (await patch).status is UploadStatus.FINISHED


async def test_a_writer_that_was_lost_with_its_commit_is_released(rig: LifecycleRig) -> None:
    """I12: no request stands behind it."""
    upload = await rig.create(3)
    rig.fail("finish", "before", StoreUnavailable)
    with pytest.raises(StoreUnavailable):
        await rig.patch(upload, 0, b"123")
    assert (await rig.row(upload)).writer is not None
    await rig.sweeper.sweep()
    assert (await rig.row(upload)).writer is None


async def test_a_held_writer_is_not_released(rig: LifecycleRig) -> None:
    """I5: from before the claim to after the last commit."""
    upload = await rig.create(3)
    rig.hold("claim", "after")
    patch = rig.begin(rig.patch(upload, 0, b"123"))
    gate = await rig.held()
    await rig.sweeper.sweep()
    rig.gates.let_go(gate)
    assert (await patch).status is UploadStatus.FINISHED


async def test_a_cleanup_that_fails_holds_up_no_other_and_is_tried_again(rig: LifecycleRig) -> None:
    """C12, S08."""
    uploads = [await rig.create(10) for _ in range(3)]
    for upload in uploads:
        await rig.patch(upload, 0, b"123")
    rig.clock.advance(100)
    rig.fail("clean", "before", StorageFault)
    assert (await rig.sweeper.sweep()).cleaned == 2
    assert len(rig.blobs.blobs) == len(await rig.rows.cleanups(10)) == 1
    assert (await rig.sweeper.sweep()).cleaned == 1
    assert rig.blobs.blobs == {}


@pytest.mark.parametrize(
    ("call", "when"), [("expire", "after"), ("clean", "after"), ("cleaned", "before"), ("cleaned", "after")]
)
async def test_a_pass_that_is_killed_anywhere_is_made_good_by_the_next(rig: LifecycleRig, call: str, when: str) -> None:
    """C12."""
    upload = await rig.create(10)
    await rig.patch(upload, 0, b"123")
    rig.clock.advance(100)
    rig.hold(call, "before" if when == "before" else "after")
    killed = rig.begin(rig.sweeper.sweep())
    await rig.held()
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    await rig.sweeper.sweep()
    assert rig.blobs.blobs == {}
    assert await rig.rows.cleanups(10) == []
    assert await event_types(rig.rows, upload.id) == [EventType.CREATED, EventType.EXPIRED]


async def test_more_than_a_batch_is_swept_in_one_pass(rig: LifecycleRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "BATCH", 3)
    for _ in range(10):
        await rig.create(10)
    rig.clock.advance(100)
    for _ in range(2):
        rig.fail("clean", "before", StorageFault)
    report = await rig.sweeper.sweep()
    assert (len(report.expired), report.cleaned) == (10, 8)


async def test_gone_uploads_answer_410_until_their_rows_are_purged(rig: LifecycleRig) -> None:
    upload = await rig.create(10)
    rig.clock.advance(100)
    passes = sweeper_of(rig)
    await passes.sweep()
    rig.clock.advance(999)
    await passes.sweep()
    assert (await rig.row(upload)).status is UploadStatus.EXPIRED
    rig.clock.advance(1)
    assert (await passes.sweep()).purged == 1
    assert await rig.rows.get(upload.id) is None


async def test_events_that_nobody_has_numbered_are_kept(rig: LifecycleRig) -> None:
    """I6."""
    await rig.create(0)
    rig.clock.advance(10_000)
    await sweeper_of(rig).sweep()
    assert len(rig.rows._log.events) == 2


async def test_a_chore_that_fails_holds_up_no_other(rig: LifecycleRig) -> None:
    """I12."""

    async def failing() -> int:
        raise StoreUnavailable

    async def deleting() -> int:
        return 7

    assert (await sweeper_of(rig, chores=[failing, deleting, failing]).sweep()).purged == 7


async def test_a_look_at_what_is_due_changes_nothing(rig: LifecycleRig) -> None:
    upload = await rig.create(10)
    rig.clock.advance(100)
    report = await rig.sweeper.due()
    assert [due.id for due in report.expired] == [upload.id]
    assert (await rig.row(upload)).status is UploadStatus.UPLOADING


async def test_the_loop_outlives_a_pass_that_fails(rig: LifecycleRig) -> None:
    """I12."""
    upload = await rig.create(10)
    rig.clock.advance(100)
    rig.fail("expire", "before", ZeroDivisionError)
    running = rig.begin(rig.sweeper.run(0.001))
    await until(lambda: rig.now(upload).status is UploadStatus.EXPIRED)
    assert not running.done()

"""`ports.UploadStore`: ending, expiring, cleaning, purging, restarting. A suite that every adapter passes."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests.contracts.rig import StoreRig
from tests.contracts.rows import (
    HOUR,
    claim,
    claimed,
    commit,
    create,
    draft,
    event_types,
    expiry_of,
    fail,
    finished,
    new_id,
    terminate,
)
from tuspy_server.model import TRANSITIONS, EventType, Upload, UploadStatus
from tuspy_server.ports import Lifetime, UploadStore


async def purge(store: UploadStore, *, gone: float = 100, events: float = 100, limit: int = 100) -> int:
    return await store.purge(gone_seconds=gone, event_seconds=events, limit=limit)


async def in_status(rig: StoreRig, status: UploadStatus) -> Upload:
    """An upload brought to a status by the port's own ways."""
    if status is UploadStatus.FINISHED:
        return await finished(rig.uploads)
    upload = await create(rig.uploads, lifetime=Lifetime(idle_seconds=1, cap_seconds=1))
    if status is UploadStatus.TERMINATED:
        await terminate(rig.uploads, upload)
    elif status is UploadStatus.FAILED:
        await fail(rig.uploads, upload)
    elif status is UploadStatus.EXPIRED:
        rig.clock.advance(1)
        await rig.uploads.expire(expiry_of, 100)
    row = await rig.uploads.get(upload.id)
    assert row is not None
    assert row.status is status
    return row


REACHABLE = [status for status in UploadStatus if status is not UploadStatus.COMPLETING]


class UploadEndingsContract:
    """Subclasses give a started `rig`."""

    # --- end -----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("status", REACHABLE)
    @pytest.mark.parametrize("target", [UploadStatus.TERMINATED, UploadStatus.FAILED])
    async def test_an_end_obeys_the_table_of_transitions(
        self, rig: StoreRig, status: UploadStatus, target: UploadStatus
    ) -> None:
        upload = await in_status(rig, status)
        before = await event_types(rig.outbox, upload.id)
        end = terminate if target is UploadStatus.TERMINATED else fail
        ended = await end(rig.uploads, upload)
        assert (ended is not None) is (target in TRANSITIONS[status])
        row = await rig.uploads.get(upload.id)
        assert row is not None
        assert row.status is (status if ended is None else target)
        added = (await event_types(rig.outbox, upload.id))[len(before) :]
        assert added == ([] if ended is None else [EventType(f"upload.{target}")])

    async def test_an_end_clears_the_writer_and_asks_for_a_cleanup(self, rig: StoreRig) -> None:
        """I8."""
        row = await claimed(rig.uploads, await create(rig.uploads))
        rig.clock.advance(3)
        ended = await terminate(rig.uploads, row)
        assert ended is not None
        assert (ended.writer, ended.ended_at) == (None, rig.clock.now())
        assert await rig.uploads.get(row.id) == ended
        assert [row.upload.id for row in await rig.uploads.cleanups(10)] == [row.id]

    async def test_only_the_writer_may_end_an_upload_that_is_ended_as_one(self, rig: StoreRig) -> None:
        """I5: a stale writer fails nothing."""
        row = await claimed(rig.uploads, await create(rig.uploads))
        assert await fail(rig.uploads, row, writer="stale") is None
        assert [row.upload.id for row in await rig.uploads.cleanups(10)] == []
        assert await fail(rig.uploads, row, writer=row.writer) is not None

    # --- expiry --------------------------------------------------------------------------------------------------

    async def test_an_upload_expires_at_its_expiry_and_not_before(self, rig: StoreRig) -> None:
        upload = await create(rig.uploads, lifetime=HOUR)
        rig.clock.advance(3599.999999)
        assert list(await rig.uploads.expire(expiry_of, 10)) == []
        rig.clock.advance(0.000001)
        assert [row.id for row in await rig.uploads.expire(expiry_of, 10)] == [upload.id]
        row = await rig.uploads.get(upload.id)
        assert row is not None
        assert (row.status, row.ended_at) == (UploadStatus.EXPIRED, rig.clock.now())
        assert [row.upload.id for row in await rig.uploads.cleanups(10)] == [upload.id]
        assert await event_types(rig.outbox, upload.id) == [EventType.CREATED, EventType.EXPIRED]

    async def test_expired_lists_oldest_first_and_changes_nothing(self, rig: StoreRig) -> None:
        ids = []
        for _ in range(4):
            ids.append((await create(rig.uploads, lifetime=HOUR)).id)
            rig.clock.advance(1)
        rig.clock.advance(3598)
        assert [row.id for row in await rig.uploads.expired(10)] == ids[:3]
        assert [row.id for row in await rig.uploads.expired(2)] == ids[:2]
        assert [row.status for row in await rig.uploads.expired(10)] == [UploadStatus.UPLOADING] * 3
        assert [row.id for row in await rig.uploads.expire(expiry_of, 2)] in ([*ids[:2]], [*reversed(ids[:2])])
        assert [row.id for row in await rig.uploads.expired(10)] == ids[2:3]

    async def test_an_upload_that_a_writer_holds_does_not_expire(self, rig: StoreRig) -> None:
        """Fault K04."""
        upload = await create(rig.uploads, lifetime=HOUR)
        row = await claimed(rig.uploads, upload)
        rig.clock.advance(7200)
        assert list(await rig.uploads.expire(expiry_of, 10)) == []
        await rig.uploads.commit(commit(row, 0, release=True, lifetime=HOUR))
        assert list(await rig.uploads.expire(expiry_of, 10)) == []
        rig.clock.advance(3600)
        assert [gone.id for gone in await rig.uploads.expire(expiry_of, 10)] == [upload.id]

    async def test_finished_uploads_and_those_without_expiry_never_expire(self, rig: StoreRig) -> None:
        """Fault K04: a sweep could delete complete uploads (supabase/storage#1039)."""
        await create(rig.uploads)
        row = await create(rig.uploads, length=1, writer=new_id(), lifetime=HOUR)
        assert await rig.uploads.finish(commit(row, 1, lifetime=HOUR), draft(EventType.FINISHED, row.id)) is not None
        rig.clock.advance(10**7)
        assert list(await rig.uploads.expired(10)) == []
        assert list(await rig.uploads.expire(expiry_of, 10)) == []

    async def test_two_sweeps_at_once_expire_each_upload_once(self, rig: StoreRig) -> None:
        """Fault K04."""
        ids = {(await create(rig.uploads, lifetime=HOUR)).id for _ in range(20)}
        rig.clock.advance(3601)
        batches = await asyncio.gather(*(rig.uploads.expire(expiry_of, 15) for _ in range(3)))
        assert sorted(row.id for batch in batches for row in batch) == sorted(ids)

    async def test_a_claim_and_a_sweep_at_once_do_not_both_win(self, rig: StoreRig) -> None:
        """Fault K04."""
        upload = await create(rig.uploads, lifetime=HOUR)
        rig.clock.advance(3600)
        claimed_row, expired_rows = await asyncio.gather(claim(rig.uploads, upload), rig.uploads.expire(expiry_of, 10))
        assert claimed_row is None
        assert len(expired_rows) == 1

    # --- cleanup and purge ---------------------------------------------------------------------------------------

    async def test_cleanups_come_oldest_first_until_they_are_cleaned(self, rig: StoreRig) -> None:
        ids = []
        for _ in range(3):
            upload = await create(rig.uploads)
            await terminate(rig.uploads, upload)
            ids.append(upload.id)
            rig.clock.advance(1)
        assert [row.upload.id for row in await rig.uploads.cleanups(2)] == ids[:2]
        await rig.uploads.cleaned([ids[0], ids[2], new_id()])
        assert [row.upload.id for row in await rig.uploads.cleanups(10)] == [ids[1]]

    async def test_a_gone_row_is_purged_after_its_time_and_only_without_a_cleanup(self, rig: StoreRig) -> None:
        upload = await create(rig.uploads)
        await terminate(rig.uploads, upload)
        await rig.outbox.relay(10)
        rig.clock.advance(99)
        assert await purge(rig.uploads, events=10**6) == 0
        rig.clock.advance(1)
        assert await purge(rig.uploads, events=10**6) == 0, "its bytes may still be stored"
        await rig.uploads.cleaned([upload.id])
        assert await purge(rig.uploads, events=10**6) == 1
        assert await rig.uploads.get(upload.id) is None

    async def test_live_and_finished_rows_are_never_purged(self, rig: StoreRig) -> None:
        live, done = await create(rig.uploads), await finished(rig.uploads)
        rig.clock.advance(10**7)
        await purge(rig.uploads)
        assert await rig.uploads.get(live.id) is not None
        assert await rig.uploads.get(done.id) is not None

    async def test_a_purge_keeps_to_its_limit_and_comes_to_an_end(self, rig: StoreRig) -> None:
        for _ in range(5):
            upload = await create(rig.uploads)
            await terminate(rig.uploads, upload)
            await rig.uploads.cleaned([upload.id])
        await rig.outbox.relay(100)
        rig.clock.advance(1000)
        counts = []
        while count := await purge(rig.uploads, limit=2):
            counts.append(count)
        assert sum(counts) == 5 + 10, "five rows and their created and terminated events"
        assert max(counts) <= 4

    async def test_events_without_a_number_are_not_purged(self, rig: StoreRig) -> None:
        """I6: nobody has had them yet."""
        upload = await create(rig.uploads)
        rig.clock.advance(1000)
        assert await purge(rig.uploads) == 0
        assert await event_types(rig.outbox, upload.id) == [EventType.CREATED]
        assert await purge(rig.uploads) == 1

    # --- writers and counts --------------------------------------------------------------------------------------

    async def test_writers_that_no_request_holds_are_released(self, rig: StoreRig) -> None:
        """I12."""
        lost = await claimed(rig.uploads, await create(rig.uploads))
        held = await claimed(rig.uploads, await create(rig.uploads))
        assert held.writer is not None
        assert await rig.uploads.release_writers(lambda: {str(held.writer), new_id()}) == 1
        assert await rig.uploads.release_writers(lambda: {str(held.writer)}) == 0
        rows = [await rig.uploads.get(row.id) for row in (lost, held)]
        assert [row.writer for row in rows if row is not None] == [None, held.writer]
        assert await rig.uploads.commit(commit(lost, 1)) is None

    async def test_counts_are_by_status(self, rig: StoreRig) -> None:
        assert not await rig.uploads.has_any()
        for status in (UploadStatus.EXPIRED, UploadStatus.FAILED, UploadStatus.FINISHED, UploadStatus.UPLOADING):
            await in_status(rig, status)
            assert await rig.uploads.has_any()
        await create(rig.uploads)
        counts = {status: count for status, count in (await rig.uploads.count_by_status()).items() if count}
        assert counts == {
            UploadStatus.EXPIRED: 1,
            UploadStatus.FAILED: 1,
            UploadStatus.FINISHED: 1,
            UploadStatus.UPLOADING: 2,
        }

    # --- restart -------------------------------------------------------------------------------------------------

    async def test_a_restart_keeps_every_commit_and_clears_the_writers(self, rig: StoreRig) -> None:
        """I1, I12, fault C03."""
        row = await claimed(rig.uploads, await create(rig.uploads, lifetime=HOUR, metadata="a Yg=="))
        at_four = await rig.uploads.commit(commit(row, 4, lifetime=HOUR))
        done = await finished(rig.uploads)
        gone = await create(rig.uploads)
        await terminate(rig.uploads, gone)
        await rig.reopen()
        again = await rig.uploads.get(row.id)
        assert at_four is not None
        assert again is not None
        assert (again.upload_offset, again.writer, again.upload_metadata) == (4, None, "a Yg==")
        assert again.expires_at == at_four.created_at + timedelta(hours=1)
        assert await rig.uploads.get(done.id) == done
        assert [row.upload.id for row in await rig.uploads.cleanups(10)] == [gone.id]
        assert await event_types(rig.outbox, done.id) == [EventType.CREATED, EventType.FINISHED]
        assert await rig.uploads.commit(commit(row, 5)) is None
        assert await claim(rig.uploads, again) is not None

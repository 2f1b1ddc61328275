"""`ports.UploadStore`: creating, claiming, committing and finishing. A suite that every adapter passes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.contracts.rig import StoreRig
from tests.contracts.rows import (
    HOUR,
    claim,
    claimed,
    commit,
    create,
    event_types,
    finish,
    finished,
    new_id,
    terminate,
)
from tuspy_server.model import EventType, UploadStatus
from tuspy_server.ports import EventDraft, Lifetime, NewUpload


class UploadStoreContract:
    """Subclasses give a started `rig`."""

    # --- create and get ------------------------------------------------------------------------------------------

    async def test_a_created_upload_is_read_back_as_it_was_returned(self, rig: StoreRig) -> None:
        metadata = "name w5HDvMO2,empty,k dmFs"
        upload = await create(rig.uploads, length=2**63 - 1, metadata=metadata, writer=new_id(), lifetime=HOUR)
        assert upload.status is UploadStatus.UPLOADING
        assert (upload.upload_offset, upload.upload_length, upload.upload_metadata) == (0, 2**63 - 1, metadata)
        assert (upload.created_at, upload.expires_at) == (rig.clock.now(), rig.clock.now() + timedelta(hours=1))
        assert await rig.uploads.get(upload.id) == upload

    async def test_what_was_not_given_stays_none(self, rig: StoreRig) -> None:
        upload = await create(rig.uploads, length=None)
        assert (upload.upload_length, upload.upload_metadata, upload.writer) == (None, None, None)
        assert (upload.expires_at, upload.ended_at) == (None, None)

    async def test_an_unknown_id_is_none(self, rig: StoreRig) -> None:
        assert await rig.uploads.get(new_id()) is None
        assert await terminate(rig.uploads, replace(await create(rig.uploads), id=new_id())) is None

    async def test_a_row_says_when_it_was_read_by_the_stores_clock(self, rig: StoreRig) -> None:
        upload = await create(rig.uploads)
        rig.clock.advance(5)
        row = await rig.uploads.get(upload.id)
        assert row is not None
        assert row.as_of == upload.as_of + timedelta(seconds=5)

    async def test_a_create_that_raises_changes_nothing(self, rig: StoreRig) -> None:
        upload = await create(rig.uploads, length=3)
        with pytest.raises(Exception):  # noqa: B017, PT011  (which one is the adapter's own: ids are random)
            await rig.uploads.create(_twin(upload.id), _twin_event())
        row = await rig.uploads.get(upload.id)
        assert row is not None
        assert row.upload_length == 3
        assert await event_types(rig.outbox, upload.id) == [EventType.CREATED]
        assert await event_types(rig.outbox, "twin") == []

    # --- claim ---------------------------------------------------------------------------------------------------

    async def test_a_claim_sets_the_writer_and_nothing_else(self, rig: StoreRig) -> None:
        upload = await create(rig.uploads, lifetime=HOUR)
        row = await claim(rig.uploads, upload, body=10, writer="w1")
        assert row == replace(upload, writer="w1")
        assert await rig.uploads.get(upload.id) == row

    async def test_the_newest_claim_wins_over_any_earlier_writer(self, rig: StoreRig) -> None:
        """I5, fault N01: the usual other writer is a dead connection."""
        upload = await create(rig.uploads, writer="post")
        assert await claim(rig.uploads, upload, writer="first") is not None
        second = await claim(rig.uploads, upload, writer="second")
        assert second is not None
        assert second.writer == "second"

    @pytest.mark.parametrize("offset", [0, 3, 5])
    async def test_a_claim_at_another_offset_is_refused(self, rig: StoreRig, offset: int) -> None:
        row = await claimed(rig.uploads, await create(rig.uploads))
        at_four = await rig.uploads.commit(commit(row, 4))
        assert at_four is not None
        assert await claim(rig.uploads, at_four, offset=offset) is None
        assert await rig.uploads.get(row.id) == at_four

    async def test_a_claim_of_nothing_is_refused(self, rig: StoreRig) -> None:
        assert await claim(rig.uploads, replace(await create(rig.uploads), id=new_id())) is None

    @pytest.mark.parametrize(("body", "fits"), [(0, True), (10, True), (11, False)])
    async def test_a_claim_needs_room_within_the_known_length(self, rig: StoreRig, body: int, *, fits: bool) -> None:
        upload = await create(rig.uploads, length=10)
        assert (await claim(rig.uploads, upload, body=body) is not None) is fits

    @pytest.mark.parametrize(
        ("body", "declared", "fits"), [(5, None, True), (5, 5, True), (0, 0, True), (6, 5, False), (0, 2**63 - 1, True)]
    )
    async def test_a_claim_needs_room_within_the_declared_length(
        self, rig: StoreRig, body: int, declared: int | None, *, fits: bool
    ) -> None:
        upload = await create(rig.uploads, length=None)
        row = await claim(rig.uploads, upload, body=body, length=declared)
        assert (row is not None) is fits
        assert row is None or row.upload_length is None, "the length is stored by a commit, not by the claim"

    async def test_a_length_below_the_offset_cannot_be_declared(self, rig: StoreRig) -> None:
        """I11."""
        row = await claimed(rig.uploads, await create(rig.uploads, length=None))
        at_four = await rig.uploads.commit(commit(row, 4, release=True))
        assert at_four is not None
        assert await claim(rig.uploads, at_four, length=3) is None
        assert await claim(rig.uploads, at_four, length=4) is not None

    @pytest.mark.parametrize(("declared", "agrees"), [(10, True), (9, False), (11, False)])
    async def test_a_known_length_cannot_be_redeclared_as_another(
        self, rig: StoreRig, declared: int, *, agrees: bool
    ) -> None:
        """Fault K09."""
        upload = await create(rig.uploads, length=10)
        assert (await claim(rig.uploads, upload, length=declared) is not None) is agrees

    async def test_an_expired_upload_cannot_be_claimed(self, rig: StoreRig) -> None:
        upload = await create(rig.uploads, lifetime=HOUR)
        rig.clock.advance(3599.9)
        assert await claim(rig.uploads, upload) is not None
        rig.clock.advance(0.1)
        assert await claim(rig.uploads, upload) is None

    async def test_an_ended_upload_cannot_be_claimed(self, rig: StoreRig) -> None:
        done = await finished(rig.uploads)
        assert await claim(rig.uploads, done) is None
        gone = await create(rig.uploads)
        await terminate(rig.uploads, gone)
        assert await claim(rig.uploads, gone) is None

    async def test_of_claims_at_once_exactly_the_last_is_the_writer(self, rig: StoreRig) -> None:
        """Fault K01."""
        upload = await create(rig.uploads)
        rows = await asyncio.gather(*(claim(rig.uploads, upload, writer=f"w{number}") for number in range(16)))
        assert all(rows)
        row = await rig.uploads.get(upload.id)
        assert row is not None
        commits = [await rig.uploads.commit(commit(replace(row, writer=f"w{number}"), 1)) for number in range(16)]
        assert [done is not None for done in commits] == [row.writer == f"w{number}" for number in range(16)]

    # --- commit --------------------------------------------------------------------------------------------------

    async def test_a_commit_counts_bytes_and_keeps_the_writer(self, rig: StoreRig) -> None:
        row = await claimed(rig.uploads, await create(rig.uploads))
        at_four = await rig.uploads.commit(commit(row, 4))
        assert at_four == replace(row, upload_offset=4)
        assert await rig.uploads.get(row.id) == at_four

    async def test_a_commit_that_releases_clears_the_writer(self, rig: StoreRig) -> None:
        row = await claimed(rig.uploads, await create(rig.uploads))
        released = await rig.uploads.commit(commit(row, 4, release=True))
        assert released == replace(row, upload_offset=4, writer=None)
        assert await rig.uploads.commit(commit(row, 5)) is None

    async def test_a_commit_never_lowers_the_offset(self, rig: StoreRig) -> None:
        """I3."""
        row = await claimed(rig.uploads, await create(rig.uploads))
        await rig.uploads.commit(commit(row, 4))
        lower = await rig.uploads.commit(commit(row, 2, release=True))
        assert lower is not None
        assert lower.upload_offset == 4

    async def test_a_commit_declares_a_deferred_length_and_otherwise_leaves_it(self, rig: StoreRig) -> None:
        row = await claimed(rig.uploads, await create(rig.uploads, length=None))
        lengths = [
            done.upload_length
            for length in (None, 9, None)
            if (done := await rig.uploads.commit(commit(row, 4, length=length))) is not None
        ]
        assert lengths == [None, 9, 9]

    async def test_a_stale_commit_changes_nothing(self, rig: StoreRig) -> None:
        """I5, fault N04."""
        upload = await create(rig.uploads, length=None, lifetime=HOUR)
        stale = await claimed(rig.uploads, upload)
        fresh = await claimed(rig.uploads, upload)
        assert await rig.uploads.commit(commit(stale, 4, length=8, release=True, lifetime=HOUR)) is None
        assert await finish(rig.uploads, stale, 4) is None
        assert await rig.uploads.get(upload.id) == fresh
        assert await event_types(rig.outbox, upload.id) == [EventType.CREATED]

    async def test_a_commit_to_an_ended_upload_changes_nothing(self, rig: StoreRig) -> None:
        """Fault K03."""
        row = await claimed(rig.uploads, await create(rig.uploads))
        gone = await terminate(rig.uploads, row)
        assert await rig.uploads.commit(commit(row, 4)) is None
        assert await rig.uploads.get(row.id) == gone

    async def test_each_commit_slides_the_expiry_up_to_the_cap(self, rig: StoreRig) -> None:
        """Fault R05: tiny PATCHes do not keep an upload for ever."""
        lifetime = Lifetime(idle_seconds=100, cap_seconds=150)
        upload = await create(rig.uploads, lifetime=lifetime)
        row = await claimed(rig.uploads, upload)
        expiries = []
        for _ in range(3):
            rig.clock.advance(40)
            slid = await rig.uploads.commit(commit(row, 1, lifetime=lifetime))
            assert slid is not None
            assert slid.expires_at is not None
            expiries.append((slid.expires_at - upload.created_at).total_seconds())
        assert expiries == [140, 150, 150]

    async def test_a_commit_without_lifetime_leaves_the_upload_without_expiry(self, rig: StoreRig) -> None:
        row = await claimed(rig.uploads, await create(rig.uploads, lifetime=HOUR))
        forever = await rig.uploads.commit(commit(row, 1))
        assert forever is not None
        assert forever.expires_at is None

    # --- finish --------------------------------------------------------------------------------------------------

    async def test_a_finish_sets_everything_and_writes_the_event_at_once(self, rig: StoreRig) -> None:
        """I6, I7."""
        upload = await create(rig.uploads, length=None, lifetime=HOUR)
        row = await claimed(rig.uploads, upload)
        rig.clock.advance(7)
        done = await finish(rig.uploads, row, 6)
        assert done is not None
        assert (done.status, done.upload_offset, done.upload_length) == (UploadStatus.FINISHED, 6, 6)
        assert (done.writer, done.expires_at, done.ended_at) == (None, None, rig.clock.now())
        assert await rig.uploads.get(upload.id) == done
        assert await event_types(rig.outbox, upload.id) == [EventType.CREATED, EventType.FINISHED]

    async def test_a_finish_happens_once(self, rig: StoreRig) -> None:
        """I6, fault N03."""
        row = await claimed(rig.uploads, await create(rig.uploads))
        assert await finish(rig.uploads, row, 10) is not None
        assert await finish(rig.uploads, row, 10) is None
        assert (await event_types(rig.outbox, row.id)).count(EventType.FINISHED) == 1

    async def test_a_zero_length_upload_finishes(self, rig: StoreRig) -> None:
        """Fault S21."""
        done = await finished(rig.uploads, length=0)
        assert (done.status, done.upload_offset, done.upload_length) == (UploadStatus.FINISHED, 0, 0)


def _twin(upload_id: str) -> NewUpload:
    return NewUpload(id=upload_id, upload_length=99, upload_metadata=None, writer=None, lifetime=None)


def _twin_event() -> EventDraft:
    return EventDraft(id="twin", type=EventType.CREATED, upload_id="twin", data={})

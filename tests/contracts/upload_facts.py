"""`ports.UploadStore`: whose an upload is, and what hooks have said of it. A suite that every adapter passes."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.rig import StoreRig
from tests.contracts.rows import (
    HOUR,
    claimed,
    commit,
    create,
    draft,
    event_types,
    finished,
    new_file,
    new_id,
    terminate,
)
from tuspy_server.model import EventType, Upload, UploadStatus
from tuspy_server.ports import Claim, Ending, Lifetime
from tuspy_server.protocol.errors import IdTaken, JobClosed, JobNotFound


def claim_of(upload: Upload, *, body: int = 0, length: int | None = None, tenant: str | None = None) -> Claim:
    return Claim(
        upload_id=upload.id,
        writer=new_id(),
        upload_offset=upload.upload_offset,
        body_bytes=body,
        declared_length=length,
        tenant=tenant,
    )


class UploadFactsContract:
    """Subclasses give a started `rig`."""

    async def test_what_was_said_of_an_upload_is_kept(self, rig: StoreRig) -> None:
        facts = {"owner": "Žofia", "nested": {"a": [1, 2.5, None, True]}}
        upload = await create(
            rig.uploads, tenant="t", trusted_metadata=facts, most_bytes=99, idle_seconds=7.25, lifetime=HOUR
        )
        assert (upload.tenant, upload.trusted_metadata, upload.most_bytes) == ("t", facts, 99)
        assert (upload.idle_seconds, upload.job_id, upload.job_number) == (7.25, None, None)
        assert await rig.uploads.get(upload.id) == upload
        row = await claimed(rig.uploads, upload)
        at_four = await rig.uploads.commit(commit(row, 4, lifetime=HOUR))
        assert at_four is not None
        assert (at_four.tenant, at_four.trusted_metadata, at_four.most_bytes) == ("t", facts, 99)

    async def test_an_id_of_a_hook_is_kept_and_taken_once(self, rig: StoreRig) -> None:
        file = new_file("order_42-a", length=3)
        await rig.uploads.create(file.new, file.event)
        twin = new_file("order_42-a", length=99)
        with pytest.raises(IdTaken):
            await rig.uploads.create(twin.new, twin.event)
        row = await rig.uploads.get("order_42-a")
        assert row is not None
        assert row.upload_length == 3
        assert await event_types(rig.outbox, "order_42-a") == [EventType.CREATED]

    async def test_an_id_is_taken_for_as_long_as_its_events_are_there(self, rig: StoreRig) -> None:
        """Else the new upload's own events, of the same ids, could not be written."""
        file = new_file("again")
        upload = await rig.uploads.create(file.new, file.event)
        await terminate(rig.uploads, upload)
        await rig.uploads.cleaned([upload.id])
        assert len(await event_types(rig.outbox, upload.id)) == 2
        rig.clock.advance(1000)
        assert await rig.uploads.purge(gone_seconds=100, event_seconds=10**6, limit=100) == 1
        with pytest.raises(IdTaken):
            await rig.uploads.create(file.new, file.event)
        assert await rig.uploads.purge(gone_seconds=100, event_seconds=100, limit=100) == 2
        assert (await rig.uploads.create(file.new, file.event)).upload_offset == 0

    @pytest.mark.parametrize(
        ("owner", "asking", "granted"),
        [("a", "a", True), ("a", None, True), (None, None, True), ("a", "b", False), (None, "b", False)],
    )
    async def test_only_its_tenant_claims_an_upload(
        self, rig: StoreRig, owner: str | None, asking: str | None, *, granted: bool
    ) -> None:
        """I9."""
        upload = await create(rig.uploads, tenant=owner)
        assert (await rig.uploads.claim(claim_of(upload, tenant=asking)) is not None) is granted
        row = await rig.uploads.get(upload.id)
        assert row is not None
        assert (row.writer is not None) is granted

    @pytest.mark.parametrize(
        ("body", "declared", "fits"), [(5, None, True), (6, None, False), (0, 5, True), (0, 6, False)]
    )
    async def test_a_claim_keeps_to_the_most_that_a_hook_allows(
        self, rig: StoreRig, body: int, declared: int | None, *, fits: bool
    ) -> None:
        upload = await create(rig.uploads, length=None, most_bytes=5)
        assert (await rig.uploads.claim(claim_of(upload, body=body, length=declared)) is not None) is fits

    @pytest.mark.parametrize(
        ("lifetime", "expiries"),
        [
            (Lifetime(idle_seconds=1000, cap_seconds=10_000), [100, 140]),
            (Lifetime(idle_seconds=10, cap_seconds=120), [100, 120]),
            (None, [100, 140]),
        ],
    )
    async def test_an_uploads_own_time_stands_in_place_of_that_of_the_settings(
        self, rig: StoreRig, lifetime: Lifetime | None, expiries: list[int]
    ) -> None:
        upload = await create(rig.uploads, idle_seconds=100.0, lifetime=lifetime)
        row = await claimed(rig.uploads, upload)
        rig.clock.advance(40)
        slid = await rig.uploads.commit(commit(row, 1, lifetime=lifetime))
        assert slid is not None
        ends = [each.expires_at for each in (upload, slid) if each.expires_at is not None]
        assert [(end - upload.created_at).total_seconds() for end in ends] == expiries

    async def test_an_ending_of_unfinished_uploads_leaves_finished_ones(self, rig: StoreRig) -> None:
        done, open_ = await finished(rig.uploads), await create(rig.uploads)
        ended = []
        for upload in (done, open_):
            event = draft(EventType.TERMINATED, upload.id)
            ending = Ending(upload_id=upload.id, status=UploadStatus.TERMINATED, event=event, unfinished=True)
            ended.append(await rig.uploads.end(ending))
        assert ended[0] is None
        assert ended[1] is not None
        assert await rig.uploads.get(done.id) == done

    # --- joining a job -------------------------------------------------------------------------------------------

    async def test_an_upload_joins_an_open_job_of_its_tenant(self, rig: StoreRig) -> None:
        job_id = new_id()
        await rig.jobs.create_job(job_id, "t", [new_file()])
        second = await create(rig.uploads, tenant="t", job_id=job_id)
        assert (second.job_id, second.job_number) == (job_id, 2)
        assert [upload.id for upload in await rig.jobs.job_files(job_id, after=1, limit=10)] == [second.id]

    @pytest.mark.parametrize(("tenant", "joins"), [("t", True), ("u", False), (None, False)])
    async def test_no_upload_joins_the_job_of_another(self, rig: StoreRig, tenant: str | None, *, joins: bool) -> None:
        """I9."""
        job_id = new_id()
        await rig.jobs.create_job(job_id, "t", [])
        file = new_file(tenant=tenant, job_id=job_id)
        if joins:
            await rig.uploads.create(file.new, file.event)
            return
        with pytest.raises(JobNotFound):
            await rig.uploads.create(file.new, file.event)
        assert await rig.uploads.get(file.new.id) is None
        assert await event_types(rig.outbox, file.new.id) == []

    async def test_no_upload_joins_a_job_that_is_cancelled_or_not_there(self, rig: StoreRig) -> None:
        job_id = new_id()
        await rig.jobs.create_job(job_id, None, [])
        await rig.jobs.cancel_job(job_id, None)
        for wanted, error in ((job_id, JobClosed), (new_id(), JobNotFound)):
            file = new_file(job_id=wanted)
            with pytest.raises(error):
                await rig.uploads.create(file.new, file.event)
            assert await rig.uploads.get(file.new.id) is None

    async def test_uploads_at_once_have_each_a_place_of_its_own(self, rig: StoreRig) -> None:
        job_id = new_id()
        await rig.jobs.create_job(job_id, None, [])
        files = [new_file(job_id=job_id) for _ in range(20)]
        rows = await asyncio.gather(*(rig.uploads.create(file.new, file.event) for file in files))
        assert sorted(row.job_number or 0 for row in rows) == list(range(1, 21))

"""`ports.JobStore`. A suite that every adapter passes."""

from __future__ import annotations

import pytest

from tests.contracts.outbox import consumer, lease, relay
from tests.contracts.rig import StoreRig
from tests.contracts.rows import (
    HOUR,
    claimed,
    commit,
    create,
    event_types,
    expiry_of,
    fail,
    finish,
    new_file,
    new_id,
    terminate,
)
from tuspy_server.model import EventType
from tuspy_server.ports import FileStatus, Job, JobCounts
from tuspy_server.protocol.errors import IdTaken, JobClosed, JobNotFound


async def counts(rig: StoreRig, job_id: str) -> JobCounts:
    found = await rig.jobs.job(job_id, None)
    assert found is not None
    return found[1]


async def a_job(rig: StoreRig, files: int = 0, tenant: str | None = None) -> Job:
    job, _ = await rig.jobs.create_job(new_id(), tenant, [new_file() for _ in range(files)])
    return job


class JobStoreContract:
    """Subclasses give a started `rig`."""

    # --- making --------------------------------------------------------------------------------------------------

    async def test_a_job_and_its_files_are_made_together(self, rig: StoreRig) -> None:
        job_id, files = new_id(), [new_file(length=number, upload_metadata=f"a{number}") for number in range(3)]
        job, uploads = await rig.jobs.create_job(job_id, "t", files)
        assert (job.id, job.tenant, job.created_at, job.cancelled_at) == (job_id, "t", rig.clock.now(), None)
        assert [upload.id for upload in uploads] == [file.new.id for file in files]
        assert [(upload.job_id, upload.job_number, upload.tenant) for upload in uploads] == [
            (job_id, number, "t") for number in (1, 2, 3)
        ]
        assert [await rig.uploads.get(upload.id) for upload in uploads] == list(uploads)
        assert [await event_types(rig.outbox, upload.id) for upload in uploads] == [[EventType.CREATED]] * 3
        await rig.reopen()
        assert [upload.id for upload in await rig.jobs.job_files(job_id, after=0, limit=9)] == [
            upload.id for upload in uploads
        ]

    async def test_a_job_is_made_whole_or_not_at_all(self, rig: StoreRig) -> None:
        taken, fresh, job_id = await create(rig.uploads), new_file(), new_id()
        with pytest.raises(IdTaken):
            await rig.jobs.create_job(job_id, None, [fresh, new_file(taken.id)])
        assert await rig.jobs.job(job_id, None) is None
        assert await rig.uploads.get(fresh.new.id) is None
        assert await event_types(rig.outbox, fresh.new.id) == []
        with pytest.raises(IdTaken):
            await rig.jobs.create_job(job_id, None, [fresh, fresh])
        assert await rig.jobs.job(job_id, None) is None

    async def test_a_job_id_is_taken_once(self, rig: StoreRig) -> None:
        job, file = await a_job(rig, 1), new_file()
        with pytest.raises(IdTaken):
            await rig.jobs.create_job(job.id, "another", [file])
        assert await rig.uploads.get(file.new.id) is None
        assert (await counts(rig, job.id)).files == {FileStatus.QUEUED: 1}

    async def test_a_thousand_files_are_made_at_once(self, rig: StoreRig) -> None:
        job = await a_job(rig, 1000)
        files = await rig.jobs.job_files(job.id, after=0, limit=2000)
        assert [upload.job_number for upload in files] == list(range(1, 1001))

    async def test_files_are_added_behind_those_that_are_there(self, rig: StoreRig) -> None:
        job = await a_job(rig, 2, tenant="t")
        added = await rig.jobs.add_files(job.id, "t", [new_file(), new_file(tenant="u")])
        assert [(upload.job_number, upload.tenant) for upload in added] == [(3, "t"), (4, "t")]
        assert [upload.job_number for upload in await rig.jobs.add_files(job.id, None, [new_file()])] == [5]
        files = await rig.jobs.job_files(job.id, after=2, limit=2)
        assert [upload.id for upload in files] == [upload.id for upload in added]

    async def test_nothing_is_added_to_a_job_of_another_or_a_cancelled_one(self, rig: StoreRig) -> None:
        """I9."""
        job, file = await a_job(rig, tenant="t"), new_file()
        for job_id, tenant in ((job.id, "u"), (new_id(), None)):
            with pytest.raises(JobNotFound):
                await rig.jobs.add_files(job_id, tenant, [file])
        await rig.jobs.cancel_job(job.id, "t")
        with pytest.raises(JobClosed):
            await rig.jobs.add_files(job.id, "t", [file])
        assert await rig.uploads.get(file.new.id) is None

    # --- asking --------------------------------------------------------------------------------------------------

    async def test_a_job_counts_its_files_and_their_bytes(self, rig: StoreRig) -> None:
        await rig.outbox.register([consumer("p", EventType.FINISHED, processing=True)])
        files = [new_file(lifetime=HOUR) for _ in range(7)]
        job, uploads = await rig.jobs.create_job(new_id(), None, [*files, new_file(length=None, lifetime=HOUR)])
        _, uploading, completed, broken, failed, cancelled, processing, deferred = uploads
        at_four = await claimed(rig.uploads, uploading)
        await rig.uploads.commit(commit(at_four, 4, lifetime=HOUR))
        await rig.uploads.commit(commit(await claimed(rig.uploads, deferred), 3, release=True, lifetime=HOUR))
        for upload in (completed, broken, processing):
            assert await finish(rig.uploads, await claimed(rig.uploads, upload), 10) is not None
        await relay(rig)
        for delivery in await lease(rig, "p"):
            if delivery.event.upload_id == completed.id:
                await rig.outbox.delivered([delivery])
            elif delivery.event.upload_id == broken.id:
                await rig.outbox.bury(delivery, "no")
        await fail(rig.uploads, failed)
        await terminate(rig.uploads, cancelled)
        found = await counts(rig, job.id)
        assert {status: count for status, count in found.files.items() if count} == {
            FileStatus.QUEUED: 1,
            FileStatus.UPLOADING: 2,
            FileStatus.PROCESSING: 1,
            FileStatus.COMPLETED: 1,
            FileStatus.FAILED: 2,
            FileStatus.CANCELLED: 1,
        }
        assert (found.upload_offset, found.upload_length) == (4 + 3 + 30, 70)
        rig.clock.advance(3600)
        assert (await counts(rig, job.id)).files[FileStatus.EXPIRED] == 3, "before any sweep"
        await rig.uploads.commit(commit(at_four, 4, release=True))
        await rig.uploads.expire(expiry_of, 10)
        assert (await counts(rig, job.id)).files[FileStatus.EXPIRED] == 2

    async def test_sums_are_exact_beyond_any_integer_of_a_database(self, rig: StoreRig) -> None:
        """R03."""
        job, _ = await rig.jobs.create_job(new_id(), None, [new_file(length=2**63 - 1) for _ in range(3)])
        assert (await counts(rig, job.id)).upload_length == 3 * (2**63 - 1)

    async def test_a_job_is_shown_to_its_tenant_alone(self, rig: StoreRig) -> None:
        """I9."""
        job, nobodys = await a_job(rig, 1, tenant="t"), await a_job(rig)
        found = await rig.jobs.job(job.id, "t")
        assert found is not None
        assert found[0] == job
        assert await rig.jobs.job(job.id, None) == found
        assert await rig.jobs.job(job.id, "u") is None
        assert await rig.jobs.job(nobodys.id, "t") is None
        assert await rig.jobs.job(new_id(), None) is None

    async def test_jobs_are_listed_newest_first_page_by_page(self, rig: StoreRig) -> None:
        made = []
        for number in range(6):
            made.append(await a_job(rig, number % 2, tenant="even" if number % 2 == 0 else "odd"))
            rig.clock.advance(number % 3)  # some at the same instant
        expected = sorted(made, key=lambda job: (job.created_at, job.id), reverse=True)
        seen: list[Job] = []
        while page := await rig.jobs.jobs(None, before=(seen[-1].created_at, seen[-1].id) if seen else None, limit=2):
            seen.extend(job for job, _ in page)
        assert seen == expected
        odd = await rig.jobs.jobs("odd", before=None, limit=10)
        assert [job for job, _ in odd] == [job for job in expected if job.tenant == "odd"]
        assert [dict(found.files) for _, found in odd] == [{FileStatus.QUEUED: 1}] * 3

    # --- ending --------------------------------------------------------------------------------------------------

    async def test_a_job_is_cancelled_once_and_by_its_tenant(self, rig: StoreRig) -> None:
        job = await a_job(rig, 1, tenant="t")
        assert await rig.jobs.cancel_job(job.id, "u") is None
        assert await rig.jobs.cancel_job(new_id(), None) is None
        rig.clock.advance(3)
        cancelled = await rig.jobs.cancel_job(job.id, "t")
        assert cancelled is not None
        assert cancelled.cancelled_at == rig.clock.now()
        rig.clock.advance(3)
        assert await rig.jobs.cancel_job(job.id, None) == cancelled
        assert (await counts(rig, job.id)).files == {FileStatus.QUEUED: 1}, "whoever calls ends its files"

    async def test_what_a_crash_has_left_of_jobs_is_found(self, rig: StoreRig) -> None:
        await create(rig.uploads, length=0)
        _, [empty, held, _] = await rig.jobs.create_job(
            new_id(), None, [new_file(length=0), new_file(length=0), new_file()]
        )
        await claimed(rig.uploads, held)
        rig.clock.advance(1)
        job, [open_, ended] = await rig.jobs.create_job(new_id(), None, [new_file(), new_file()])
        await terminate(rig.uploads, ended)
        assert [upload.id for upload in await rig.jobs.left_files(10)] == [empty.id]
        await rig.jobs.cancel_job(job.id, None)
        assert [upload.id for upload in await rig.jobs.left_files(10)] == [empty.id, open_.id]
        assert [upload.id for upload in await rig.jobs.left_files(1)] == [empty.id]

    async def test_a_job_is_forgotten_when_it_is_old_and_nothing_of_it_is_under_way(self, rig: StoreRig) -> None:
        await rig.outbox.register([consumer("p", EventType.FINISHED, processing=True)])
        _, [_] = await rig.jobs.create_job(new_id(), None, [new_file()])
        job, [first, second] = await rig.jobs.create_job(new_id(), None, [new_file(), new_file()])
        rig.clock.advance(100)
        young = await a_job(rig)
        assert await rig.jobs.purge_jobs(ended_seconds=100, limit=10) == 0
        await terminate(rig.uploads, first)
        done = await finish(rig.uploads, await claimed(rig.uploads, second), 10)
        assert done is not None
        assert await rig.jobs.purge_jobs(ended_seconds=100, limit=10) == 0, "it is being processed"
        await relay(rig)
        await rig.outbox.delivered(await lease(rig, "p"))
        assert await rig.jobs.purge_jobs(ended_seconds=101, limit=10) == 0
        assert await rig.jobs.purge_jobs(ended_seconds=100, limit=10) == 1
        assert await rig.jobs.job(job.id, None) is None
        assert await rig.jobs.job(young.id, None) is not None
        kept = await rig.uploads.get(done.id)
        assert kept is not None
        with pytest.raises(IdTaken):
            await rig.jobs.create_job(job.id, "another", [])

    async def test_gone_files_are_kept_for_as_long_as_their_job(self, rig: StoreRig) -> None:
        job, [upload] = await rig.jobs.create_job(new_id(), None, [new_file()])
        await terminate(rig.uploads, upload)
        await rig.uploads.cleaned([upload.id])
        rig.clock.advance(1000)
        assert await rig.uploads.purge(gone_seconds=100, event_seconds=10**9, limit=10) == 0
        assert (await counts(rig, job.id)).files == {FileStatus.CANCELLED: 1}
        assert await rig.jobs.purge_jobs(ended_seconds=100, limit=10) == 1
        assert await rig.uploads.purge(gone_seconds=100, event_seconds=10**9, limit=10) == 1

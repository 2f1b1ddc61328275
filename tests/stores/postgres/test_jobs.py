"""Jobs in PostgreSQL: what they cost, what is unique, and that SQL and Python name a file's status alike."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from tests.contracts.rows import HOUR, claimed, commit, create, draft, fail, finish, finished, new_id, terminate
from tests.stores.postgres.rigs import MakeRig, PostgresRig
from tuspy_server.model import EventType, Placement, Upload, UploadStatus
from tuspy_server.ports import Consumer, FileStatus, NewFile, NewUpload, UploadFilter, file_status
from tuspy_server.protocol.errors import IdTaken, JobClosed, JobNotFound


def a_file(**fields: object) -> NewFile:
    upload_id = new_id()
    new = NewUpload(id=upload_id, upload_length=10, upload_metadata=None, writer=None, lifetime=HOUR)
    return NewFile(new=replace(new, **fields), event=draft(EventType.CREATED, upload_id))  # type: ignore[arg-type]


async def test_a_job_of_a_thousand_files_is_one_statement(make_rig: MakeRig) -> None:
    rig = await make_rig(connections=1, node_seconds=1000)
    await rig.jobs.create_job("first", None, [a_file()])  # prepared
    await rig.jobs.add_files("first", None, [a_file()])
    told: list[str] = []

    async def watch(connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
        connection.add_query_logger(lambda record: told.append(record.query))

    await rig.pool.run(watch)
    files = [a_file(trusted_metadata={"number": number}) for number in range(1000)]
    job, uploads = await rig.jobs.create_job("job", "t", files)
    more = await rig.jobs.add_files("job", "t", [a_file() for _ in range(500)])
    assert len(told) == 2
    assert [upload.id for upload in uploads] == [file.new.id for file in files]
    assert [upload.job_number for upload in (*uploads, *more)] == list(range(1, 1501))
    assert {upload.tenant for upload in (*uploads, *more)} == {job.tenant} == {"t"}
    assert uploads[7].trusted_metadata == {"number": 7}
    rows = await rig.sql("SELECT upload_id, tenant, job_id FROM events WHERE job_id = 'job' ORDER BY number")
    assert [row["upload_id"] for row in rows][:1000] == [upload.id for upload in uploads]


async def test_files_that_join_at_once_get_numbers_of_their_own(make_rig: MakeRig) -> None:
    rig = await make_rig(connections=6)
    await rig.jobs.create_job("job", None, [])
    single = [rig.uploads.create(file.new, file.event) for file in (a_file(job_id="job") for _ in range(10))]
    many = [rig.jobs.add_files("job", None, [a_file() for _ in range(5)]) for _ in range(4)]
    await asyncio.gather(*single, *many)
    files = await rig.jobs.job_files("job", after=0, limit=100)
    assert [file.job_number for file in files] == list(range(1, 31))


@pytest.mark.parametrize(
    ("closed", "tenant", "raised"),
    [(True, None, JobClosed), (False, "other", JobNotFound), (True, "other", JobNotFound)],
)
async def test_an_upload_that_cannot_join_leaves_nothing(
    rig: PostgresRig, *, closed: bool, tenant: str | None, raised: type[Exception]
) -> None:
    await rig.jobs.create_job("job", None, [])
    if closed:
        await rig.jobs.cancel_job("job", None)
    file = a_file(job_id="job", tenant=tenant)
    with pytest.raises(raised):
        await rig.uploads.create(file.new, file.event)
    assert await rig.sql("SELECT FROM events UNION ALL SELECT FROM uploads") == []


async def test_a_key_is_taken_in_its_bucket_alone(rig: PostgresRig) -> None:
    """409, and not 500: a hook may have chosen it."""
    placement = Placement(key="k", part_bytes=5 << 20)
    for one in (placement, replace(placement, bucket="b")):
        file = a_file(placement=one)
        made = await rig.uploads.create(file.new, file.event)
        assert made.placement == one
        again = a_file(placement=one)
        with pytest.raises(IdTaken):
            await rig.uploads.create(again.new, again.event)
        with pytest.raises(IdTaken):
            await rig.jobs.create_job(new_id(), None, [a_file(), again])
    assert list(await rig.jobs.jobs(None, before=None, limit=10)) == []


async def every_kind(rig: PostgresRig) -> list[Upload]:
    """One of each status, and of each way to it."""
    store = rig.uploads
    uploads = [await create(store), await claimed(store, await create(store))]
    committed = await store.commit(commit(await claimed(store, await create(store)), 3, release=True))
    ended = [
        committed,
        await terminate(store, await create(store)),
        await fail(store, await create(store)),
        await finished(store),
    ]
    await rig.outbox.register([Consumer(name="a", types=frozenset(EventType), processing=True)])
    for settle in ("none", "delivered", "bury"):
        uploads.append(await finished(store))
        while await rig.outbox.relay(100):
            pass
        while settle != "none" and (leased := await rig.outbox.lease(["a"], 100, 60)):
            for delivery in leased:
                if settle == "delivered" or delivery.event.upload_id != uploads[-1].id:
                    await rig.outbox.delivered([delivery])
                else:
                    await rig.outbox.bury(delivery, "no")
    uploads.append(await finished(store))
    await create(store, lifetime=HOUR)
    rig.clock.advance(3600)
    return [upload for upload in (*uploads, *ended) if upload is not None]


async def test_sql_and_python_name_a_files_status_alike(rig: PostgresRig) -> None:
    await every_kind(rig)
    uploads = await rig.jobs.list_uploads(UploadFilter(), before=None, limit=100)
    by_python = {upload.id: file_status(upload) for upload in uploads}
    assert set(by_python.values()) == set(FileStatus)
    for status in FileStatus:
        found = await rig.jobs.list_uploads(UploadFilter(status=status), before=None, limit=100)
        assert {upload.id for upload in found} == {key for key, value in by_python.items() if value is status}
    sums = await rig.jobs.sum_uploads(UploadFilter())
    assert sum(sums.files.values()) == len(uploads)
    assert all(sums.files[status] == list(by_python.values()).count(status) for status in FileStatus)


async def test_lengths_add_up_past_what_a_bigint_holds(rig: PostgresRig) -> None:
    await rig.jobs.create_job("job", None, [a_file(upload_length=2**63 - 1) for _ in range(3)])
    found = await rig.jobs.job("job", None)
    assert found is not None
    assert found[1].upload_length == 3 * (2**63 - 1)
    for _ in range(2):
        row = await claimed(rig.uploads, await create(rig.uploads, length=2**63 - 1))
        done = await finish(rig.uploads, row, 2**63 - 1)
        assert done is not None
        assert done.status is UploadStatus.FINISHED
    sums = await rig.jobs.sum_uploads(UploadFilter())
    assert sums.finished_bytes == sums.received_bytes == 2 * (2**63 - 1)


async def test_a_job_that_gets_a_file_while_it_is_purged_stays(make_rig: MakeRig) -> None:
    rig = await make_rig(connections=4)
    await rig.jobs.create_job("job", None, [])
    rig.clock.advance(100)
    adding = [rig.jobs.add_files("job", None, [a_file()]) for _ in range(10)]
    purges = [rig.jobs.purge_jobs(ended_seconds=50, limit=10) for _ in range(10)]
    results = await asyncio.gather(
        *[call for pair in zip(adding, purges, strict=True) for call in pair], return_exceptions=True
    )
    files = await rig.jobs.job_files("job", after=0, limit=100)
    assert (await rig.jobs.job("job", None) is None) == (not files)
    assert not [result for result in results if isinstance(result, Exception) and not isinstance(result, JobNotFound)]

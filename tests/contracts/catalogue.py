"""`ports.Catalogue`. A suite that every adapter passes."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

from tests.contracts.outbox import consumer, lease, relay
from tests.contracts.rig import StoreRig
from tests.contracts.rows import (
    HOUR,
    claimed,
    commit,
    create,
    draft,
    expiry_of,
    fail,
    finish,
    finished,
    new_file,
    new_id,
    terminate,
)
from tuspy_server.model import EventType, Upload
from tuspy_server.ports import FileStatus, UploadFilter, file_status

ALL = UploadFilter()


async def everything(rig: StoreRig) -> list[Upload]:
    return list(await rig.jobs.list_uploads(ALL, before=None, limit=1000))


async def one_of_each(rig: StoreRig) -> None:
    """Uploads in every state that the ports lead to, in each with and without an owner, half of them overdue."""
    await finished(rig.uploads)
    await rig.outbox.register([consumer("p", EventType.FINISHED, processing=True)])
    for tenant, lifetime in itertools.product(("t", None), (HOUR, None)):
        fields: dict[str, Any] = {"tenant": tenant, "lifetime": lifetime}
        await create(rig.uploads, **fields)
        await create(rig.uploads, length=0, **fields)
        await create(rig.uploads, writer=new_id(), **fields)
        for release in (True, False):
            row = await create(rig.uploads, writer=new_id(), **fields)
            await rig.uploads.commit(commit(row, 4, release=release, lifetime=lifetime))
        await fail(rig.uploads, await create(rig.uploads, **fields))
        await terminate(rig.uploads, await create(rig.uploads, **fields))
        waiting, done, broken = [await finished(rig.uploads, **fields) for _ in range(3)]
        await relay(rig)
        for delivery in await lease(rig, "p"):
            if delivery.event.upload_id == done.id:
                await rig.outbox.delivered([delivery])
            elif delivery.event.upload_id == broken.id:
                await rig.outbox.bury(delivery, "no")
        await terminate(rig.uploads, await finished(rig.uploads, **fields))
        assert waiting.processing is not None
    rig.clock.advance(3600)
    await rig.uploads.expire(expiry_of, 2)
    await create(rig.uploads, lifetime=HOUR)


class CatalogueContract:
    """Subclasses give a started `rig`."""

    async def test_a_database_counts_as_we_do(self, rig: StoreRig) -> None:
        """The rule of `file_status`, in SQL."""
        await one_of_each(rig)
        rows = await everything(rig)
        ours = Counter(file_status(row) for row in rows)
        assert set(ours) == set(FileStatus)
        sums = await rig.jobs.sum_uploads(ALL)
        assert {status: count for status, count in sums.files.items() if count} == ours
        for status in FileStatus:
            found = await rig.jobs.list_uploads(UploadFilter(status=status), before=None, limit=1000)
            assert list(found) == [row for row in rows if file_status(row) is status]
            assert (await rig.jobs.sum_uploads(UploadFilter(status=status))).files == {status: ours[status]}

    async def test_uploads_are_listed_newest_first_page_by_page(self, rig: StoreRig) -> None:
        for number in range(7):
            await create(rig.uploads)
            rig.clock.advance(number % 3)  # some at the same instant
        seen: list[Upload] = []
        while page := await rig.jobs.list_uploads(
            ALL, before=(seen[-1].created_at, seen[-1].id) if seen else None, limit=3
        ):
            seen.extend(page)
        assert len({upload.id for upload in seen}) == 7
        assert seen == sorted(seen, key=lambda upload: (upload.created_at, upload.id), reverse=True)

    async def test_a_list_keeps_to_its_filter(self, rig: StoreRig) -> None:
        """I9."""
        first = await create(rig.uploads, tenant="t")
        rig.clock.advance(1)
        job, [second] = await rig.jobs.create_job(new_id(), "t", [new_file()])
        rig.clock.advance(1)
        third = await create(rig.uploads)
        cases = [
            (UploadFilter(tenant="t"), [second, first]),
            (UploadFilter(tenant="u"), []),
            (UploadFilter(job_id=job.id), [second]),
            (UploadFilter(job_id=job.id, tenant="u"), []),
            (UploadFilter(created_from=second.created_at), [third, second]),
            (UploadFilter(created_before=second.created_at), [first]),
            (UploadFilter(created_from=second.created_at, created_before=third.created_at), [second]),
            (UploadFilter(tenant="t", status=FileStatus.QUEUED), [second, first]),
        ]
        for only, expected in cases:
            found = await rig.jobs.list_uploads(only, before=None, limit=10)
            assert [row.id for row in found] == [row.id for row in expected], only
            assert sum((await rig.jobs.sum_uploads(only)).files.values()) == len(expected), only

    async def test_sums_over_nothing_are_nothing(self, rig: StoreRig) -> None:
        sums = await rig.jobs.sum_uploads(ALL)
        assert (sums.finished_bytes, sums.received_bytes, sums.finished_seconds) == (0, 0, 0)
        assert not any(sums.files.values())
        assert (dict(sums.duration_seconds), dict(sums.lengths), dict(sums.errors)) == ({}, {}, {})

    async def test_sums_are_of_bytes_times_and_reasons(self, rig: StoreRig) -> None:
        for seconds in range(1, 21):
            row = await create(rig.uploads, length=seconds * 10, writer=new_id())
            rig.clock.advance(seconds)
            assert await finish(rig.uploads, row, seconds * 10) is not None
        row = await claimed(rig.uploads, await create(rig.uploads))
        await rig.uploads.commit(commit(row, 4))
        for reason in ("checksum", "checksum", "refused"):
            await fail(rig.uploads, await create(rig.uploads), reason=reason)
        await fail(rig.uploads, await create(rig.uploads))
        sums = await rig.jobs.sum_uploads(ALL)
        assert (sums.finished_bytes, sums.received_bytes) == (2100, 2104)
        assert sums.finished_seconds == 210
        assert dict(sums.duration_seconds) == {"0.5": 10, "0.95": 19, "1": 20}
        assert dict(sums.lengths) == {"0.5": 100, "0.95": 190, "1": 200}
        assert dict(sums.errors) == {"checksum": 2, "refused": 1, "unknown": 1}

    async def test_sums_are_exact_beyond_any_integer_of_a_database(self, rig: StoreRig) -> None:
        """R03."""
        for _ in range(3):
            row = await create(rig.uploads, length=2**63 - 1, writer=new_id())
            event = draft(EventType.FINISHED, row.id)
            assert await rig.uploads.finish(commit(row, 2**63 - 1, length=2**63 - 1), event) is not None
        sums = await rig.jobs.sum_uploads(ALL)
        assert (sums.finished_bytes, sums.received_bytes) == (3 * (2**63 - 1), 3 * (2**63 - 1))

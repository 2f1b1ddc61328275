"""`pre_create`: what it is told, what it may want, and what becomes of wishes that cannot be granted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.uploads.asked import Asked
from tests.uploads.bodies import ScriptedBody
from tests.uploads.rig import LifecycleRig
from tuspy_server.access import EVERYTHING, Grant, RequestContext
from tuspy_server.model import EventType, Upload, UploadStatus
from tuspy_server.ports import Creation, NewUpload, Proposal
from tuspy_server.protocol.core import Patch
from tuspy_server.protocol.creation import Create
from tuspy_server.protocol.errors import (
    ClientDisconnected,
    HookFailed,
    IdTaken,
    JobNotFound,
    OffsetMismatch,
    Refused,
    StoreUnavailable,
    TusError,
    TypeNotAllowed,
    UploadNotFound,
    UploadTooLarge,
)
from tuspy_server.protocol.metadata import metadata_text

REQUEST = RequestContext(method="POST", path="/files/", grant=Grant(tenant="acme", subject="eve"))
METADATA = "filename Zm9vLnBuZw==,filetype aW1hZ2UvcG5n"
IN_A_JOB = "job am9iMQ=="


@pytest.fixture
async def asked() -> Asked:
    return Asked()


@pytest.fixture
async def rig(asked: Asked) -> AsyncIterator[LifecycleRig]:
    rig = LifecycleRig(gate=asked)
    yield rig
    await rig.close()


async def create(
    rig: LifecycleRig,
    length: int | None = 10,
    *,
    body: ScriptedBody | None = None,
    metadata: str | None = METADATA,
    request: RequestContext = REQUEST,
) -> Upload:
    head = Create(
        upload_length=length,
        upload_metadata=metadata,
        carries_body=body is not None,
        most_bytes=1000 if length is None else length,
        checksum=None,
    )
    return await rig.uploads.create(head, body or ScriptedBody.whole(b""), request)


async def created(rig: LifecycleRig) -> list[dict[str, Any]]:
    await rig.rows.relay(100)
    return [dict(event.data) for event in await rig.rows.events(0, 100) if event.type is EventType.CREATED]


async def test_it_is_told_all_and_changes_nothing_by_itself(rig: LifecycleRig, asked: Asked) -> None:
    upload = await create(rig)
    assert asked.proposals == [
        Proposal(
            request=REQUEST,
            upload_length=10,
            upload_metadata=METADATA,
            metadata={"filename": "foo.png", "filetype": "image/png"},
        )
    ]
    assert (upload.tenant, upload.job_id, dict(upload.trusted_metadata)) == ("acme", None, {})


async def test_it_is_asked_before_a_row_or_a_byte(rig: LifecycleRig, asked: Asked) -> None:
    """For creation-with-upload, too: the body stays unread."""
    asked.refusal = Refused("quota", 413)
    body = ScriptedBody.whole(b"0123456789")
    with pytest.raises(Refused, match="quota"):
        await create(rig, body=body)
    assert body.taken_bytes == 0
    assert await created(rig) == []
    assert await rig.rows.count_by_status() == {}


async def test_what_it_wants_is_in_the_row_and_in_the_event(rig: LifecycleRig, asked: Asked) -> None:
    asked.creation = Creation(
        id="My_own-1", most_bytes=12, expires_seconds=60, trusted_metadata={"user": 7, "tags": ["a"]}, tenant="other"
    )
    upload = await create(rig, None)
    assert (upload.id, upload.most_bytes, upload.tenant) == ("My_own-1", 12, "other")
    assert (upload.idle_seconds, upload.expires_at) == (60, upload.created_at + timedelta(seconds=60))
    (data,) = await created(rig)
    assert data == {
        "upload_id": "My_own-1",
        "upload_offset": 0,
        "upload_length": None,
        "upload_metadata": METADATA,
        "metadata": metadata_text(METADATA),
        "trusted_metadata": {"user": 7, "tags": ["a"]},
        "tenant": "other",
        "job_id": None,
        "key": None,
        "bucket": None,
        "etag": None,
        "checksum": None,
        "created_at": None,
    }


async def test_an_expiry_of_its_own_slides_where_the_settings_know_none(rig: LifecycleRig, asked: Asked) -> None:
    asked.creation = Creation(expires_seconds=60)
    upload = await create(rig)
    rig.clock.advance(50)
    upload = await rig.patch(upload, 0, b"01")
    assert upload.expires_at == upload.created_at + timedelta(seconds=110)


async def test_an_expiry_beyond_all_calendars_is_that_of_the_cap(rig: LifecycleRig, asked: Asked) -> None:
    asked.creation = Creation(expires_seconds=1e300)
    upload = await rig.patch(await create(rig), 0, b"01")
    assert upload.expires_at == upload.created_at + timedelta(days=36500)


@pytest.mark.parametrize("length", [11, 1000])
async def test_what_is_too_long_is_not_made(rig: LifecycleRig, asked: Asked, length: int) -> None:
    asked.creation = Creation(most_bytes=10)
    with pytest.raises(UploadTooLarge):
        await create(rig, length)
    assert await rig.rows.count_by_status() == {}
    assert (await create(rig, 10)).upload_length == 10


async def test_a_deferred_length_is_held_to_the_limit(rig: LifecycleRig, asked: Asked) -> None:
    """413 by the length that is declared, by Content-Length, and by what a chunked body sends; nothing of it counts."""
    asked.creation = Creation(most_bytes=10)
    upload = await create(rig, None)
    await rig.patch(upload, 0, b"0123")
    with pytest.raises(UploadTooLarge):
        await rig.patch(upload, 4, b"", declares=11)
    with pytest.raises(UploadTooLarge):
        await rig.patch(upload, 4, b"0123456")
    with pytest.raises(UploadTooLarge):
        await rig.patch(upload, 4, ScriptedBody.whole(b"0123456"))
    row = await rig.row(upload)
    assert (row.status, row.upload_offset, row.writer) == (UploadStatus.UPLOADING, 4, None)
    assert (await rig.patch(upload, 4, b"456789", declares=10)).status is UploadStatus.FINISHED


async def test_a_body_of_a_post_is_held_to_the_limit(rig: LifecycleRig, asked: Asked) -> None:
    asked.creation = Creation(most_bytes=10)
    with pytest.raises(UploadTooLarge):
        await create(rig, None, body=ScriptedBody.whole(b"0123456789a"))
    assert rig.blobs.blobs == {}


@pytest.mark.parametrize(
    ("types", "allowed"),
    [
        (("image/png",), True),
        (("IMAGE/*",), True),
        (("video/mp4", "image/png"), True),
        (("*/*",), True),
        (("image/jpeg",), False),
        (("video/*",), False),
        (("image",), False),
        ((), False),
    ],
)
async def test_the_declared_type_is_one_of_those(
    rig: LifecycleRig, asked: Asked, types: tuple[str, ...], allowed: bool
) -> None:
    asked.creation = Creation(types=types)
    for metadata in (METADATA, "type SW1hZ2UvUE5HOyBxPTE="):
        if allowed:
            await create(rig, metadata=metadata)
        else:
            with pytest.raises(TypeNotAllowed):
                await create(rig, metadata=metadata)


@pytest.mark.parametrize("metadata", [None, "filename Zm9v", "filetype", "filetype cG5n"])
async def test_an_upload_of_no_type_is_none_of_them(rig: LifecycleRig, asked: Asked, metadata: str | None) -> None:
    asked.creation = Creation(types=("*/*",))
    with pytest.raises(TypeNotAllowed):
        await create(rig, metadata=metadata)


@pytest.mark.parametrize(
    "creation",
    [
        {"id": ""},
        {"id": "../etc/passwd"},
        {"id": "a.b"},
        {"id": "a" * 65},
        {"id": 7},
        {"most_bytes": -1},
        {"most_bytes": 1 << 63},
        {"expires_seconds": 0},
        {"expires_seconds": float("nan")},
        {"expires_seconds": float("inf")},
        {"trusted_metadata": {"a": object()}},
        {"trusted_metadata": {"a": float("nan")}},
        {"trusted_metadata": {"a": "\0"}},
        {"trusted_metadata": {"a": ["\ud800"]}},
        {"trusted_metadata": 7},
        {"types": "image/png"},
        {"tenant": ""},
        {"tenant": "a\0"},
        {"tenant": "\udfff"},
        {"key": "in memory there are no keys"},
        {"bucket": "nor buckets"},
    ],
)
async def test_wishes_that_cannot_be_granted_are_a_500(
    rig: LifecycleRig, asked: Asked, creation: dict[str, Any]
) -> None:
    """X01: what a hook makes of a client's words is checked, too."""
    asked.creation = Creation(**creation)
    with pytest.raises(HookFailed):
        await create(rig)
    assert await rig.rows.count_by_status() == {}


async def test_an_id_that_is_taken_touches_nothing_of_the_other(rig: LifecycleRig, asked: Asked) -> None:
    """I1: what fails to be made is taken back; not what was there before."""
    asked.creation = Creation(id="one")
    upload = await create(rig)
    await rig.patch(upload, 0, b"0123")
    for body in (None, ScriptedBody.whole(b"abc")):
        with pytest.raises(IdTaken):
            await create(rig, body=body)
    for when in ("before", "after"):
        for body in (None, ScriptedBody.whole(b"abc")):
            rig.fail("create", when, StoreUnavailable)
            with pytest.raises(TusError):
                await create(rig, body=body)
    row = await rig.row(upload)
    assert (row.status, row.upload_offset) == (UploadStatus.UPLOADING, 4)
    assert rig.stored(upload) == b"0123"


async def test_a_chosen_id_whose_making_was_not_heard_of_is_taken_back_with_its_writer(
    rig: LifecycleRig, asked: Asked
) -> None:
    asked.creation = Creation(id="one")
    rig.fail("create", "after", StoreUnavailable)
    with pytest.raises(StoreUnavailable):
        await create(rig, body=ScriptedBody.whole(b"abc"))
    row = await rig.rows.get("one")
    assert row is not None
    assert row.status is UploadStatus.TERMINATED


async def test_an_upload_may_join_a_job_by_its_metadata(rig: LifecycleRig, asked: Asked) -> None:
    """404 for one that there is not: clients do not send it again."""
    with pytest.raises(JobNotFound):
        await create(rig, metadata=IN_A_JOB)
    assert asked.proposals[0].job_id == "job1"


async def test_in_a_job_the_tenant_is_that_of_the_job(rig: LifecycleRig, asked: Asked) -> None:
    asked.creation = Creation(tenant="other")
    proposal = Proposal(request=REQUEST, upload_length=3, upload_metadata=None, metadata={}, job_id="job1")
    file = await rig.uploads.prepare(proposal)
    assert (file.new.tenant, file.event.tenant, file.new.writer) == ("acme", "acme", None)
    with pytest.raises(UploadTooLarge):
        await rig.uploads.prepare(replace(proposal, upload_length=1001))


async def test_an_empty_upload_that_nobody_writes_to_is_finished_by_head(rig: LifecycleRig, asked: Asked) -> None:
    """One of a job whose process has died behind the commit; offset = length says that it is finished."""
    for number, answer in enumerate((None, Refused("no"), HookFailed())):
        new = NewUpload(id=f"u{number}", upload_length=0, upload_metadata=None, writer=None, lifetime=None)
        await rig.rows.create(new, rig.uploads.drafts.created(new))
        asked.answers = [answer]
        if isinstance(answer, HookFailed):
            with pytest.raises(HookFailed):
                await rig.uploads.look(new.id)
        status = (await rig.uploads.look(new.id)).status
        assert status is (UploadStatus.FAILED if isinstance(answer, Refused) else UploadStatus.FINISHED)
        assert (await rig.uploads.finish_empty(new.id)).status is status


@pytest.mark.parametrize(
    ("grant", "reaches"), [(EVERYTHING, True), (Grant(tenant="acme"), True), (Grant(tenant="other"), False)]
)
async def test_what_is_out_of_the_grant_is_unknown(rig: LifecycleRig, grant: Grant, reaches: bool) -> None:
    """I9: neither 409 nor 423 tells that it is there."""
    upload = await create(rig, 10)
    request = replace(REQUEST, grant=grant)
    for offset in (5, 0):
        patch = Patch(upload_offset=offset, body_bytes=11, declared_length=None, checksum=None)
        expected = (OffsetMismatch if offset else UploadTooLarge) if reaches else UploadNotFound
        with pytest.raises(expected):
            await rig.uploads.append(upload.id, patch, ScriptedBody.whole(b"ab"), grant)
    if not reaches:
        for work in (
            rig.uploads.look(upload.id, grant),
            rig.uploads.find(upload.id, grant),
            rig.uploads.terminate(upload.id, request),
        ):
            with pytest.raises(UploadNotFound):
                await work
        assert (await rig.row(upload)).upload_offset == 0


async def test_a_foreign_writer_hears_404_while_somebody_writes(rig: LifecycleRig) -> None:
    """I9: a 423 would tell."""
    upload = await create(rig, 10)
    body = ScriptedBody(b"ab")
    mine = Patch(upload_offset=0, body_bytes=None, declared_length=None, checksum=None)
    task = rig.begin(rig.uploads.append(upload.id, mine, body, REQUEST.grant))
    with pytest.raises(UploadNotFound):
        await rig.uploads.append(upload.id, mine, ScriptedBody.whole(b"x"), Grant(tenant="other"))
    body.disconnect()
    with pytest.raises(ClientDisconnected):
        await task


async def test_cancelling_leaves_what_has_finished(rig: LifecycleRig) -> None:
    finished, unfinished = await create(rig, 0), await create(rig, 5)
    assert not await rig.uploads.cancel(finished.id)
    assert await rig.uploads.cancel(unfinished.id)
    assert not await rig.uploads.cancel(unfinished.id)
    assert (await rig.row(finished)).status is UploadStatus.FINISHED

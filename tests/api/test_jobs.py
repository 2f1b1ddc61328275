"""Jobs: made as a whole, added to, looked at, cancelled."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.asking import WITH_TOKEN, Api, pointers, problem, shown, until
from tests.api.conftest import ON_SQLITE, ServeApi
from tuspy_server import Refused, TusServer, Upload
from tuspy_server.access import RequestContext
from tuspy_server.jobs.service import Jobs
from tuspy_server.ports import Proposal

COUNTS = ("total", "queued", "uploading", "processing", "completed", "failed", "cancelled", "expired")


def counts(job: dict[str, int]) -> dict[str, int]:
    """Those that are not 0."""
    return {name: job[f"{name}Count"] for name in COUNTS if job[f"{name}Count"]}


async def test_a_job_is_made_as_a_whole(api: Api) -> None:
    files = [
        {"name": "фото 1.jpg", "length": 5, "type": "image/jpeg", "metadata": {"album": "Ω, €", "empty": ""}},
        {"name": "b"},
        {"name": "c", "length": None, "type": None, "metadata": {}},
    ]
    reply = await api.post("/api/jobs", {"files": files})
    assert reply.status == 201
    job = shown(reply)
    assert reply["Location"] == job["url"] == f"/api/jobs/{job['id']}"
    assert (job["status"], counts(job)) == ("QUEUED", {"total": 3, "queued": 3})
    assert job["bytes"] == {"uploaded": 0, "total": 5}
    assert [(file["number"], file["name"], file["type"], file["length"]) for file in job["files"]] == [
        (1, "фото 1.jpg", "image/jpeg", 5),
        (2, "b", None, None),
        (3, "c", None, None),
    ]
    assert job["files"][0]["metadata"] == {
        "filename": "фото 1.jpg",
        "filetype": "image/jpeg",
        "album": "Ω, €",
        "empty": "",
    }
    assert await api.job(job) == job
    looked = await api.served.look(job["files"][0]["url"])
    assert (looked.status, looked["Upload-Length"], looked["Upload-Offset"]) == (200, "5", "0")
    assert looked["Upload-Metadata"].startswith("filename ")
    assert (await api.served.look(job["files"][1]["url"]))["Upload-Defer-Length"] == "1"


async def test_a_job_is_followed_from_its_first_byte_to_its_last(api: Api) -> None:
    job = await api.make(5, 3, 4)
    first, second, third = job["files"]
    tag = (await api.get(job["url"]))["ETag"]
    for send, statuses, status, uploaded in (
        (api.send(first, b"he"), ["UPLOADING", "QUEUED", "QUEUED"], "UPLOADING", 2),
        (api.send(first, b"llo", 2), ["COMPLETED", "QUEUED", "QUEUED"], "UPLOADING", 5),
        (api.send(second, b"abc"), ["COMPLETED", "COMPLETED", "QUEUED"], "UPLOADING", 8),
        (api.send(third, b"last"), ["COMPLETED"] * 3, "COMPLETED", 12),
    ):
        await send
        reply = await api.get(job["url"], {"If-None-Match": tag})
        assert reply.status == 200, "something has changed, and the tag has not"
        seen = shown(reply)
        assert [file["status"] for file in seen["files"]] == statuses
        assert (seen["status"], seen["bytes"]) == (status, {"uploaded": uploaded, "total": 12})
        tag = reply["ETag"]
    unchanged = await api.get(job["url"], {"If-None-Match": f'"x", W/{tag}'})
    assert (unchanged.status, unchanged.body, unchanged["ETag"]) == (304, b"", tag)
    assert (await api.get(job["url"], {"If-None-Match": "*"})).status == 304


async def test_files_without_bytes_are_finished_at_once(api: Api) -> None:
    """The events of their finish are as those of any other."""
    job = await api.make(0, 5, 0)
    assert [file["status"] for file in job["files"]] == ["COMPLETED", "QUEUED", "COMPLETED"]
    assert counts(job) == {"total": 3, "completed": 2, "queued": 1}
    assert [file["endedAt"] is None for file in job["files"]] == [False, True, False]


async def test_a_job_without_files_waits_for_some(api: Api) -> None:
    job = await api.make()
    assert (job["status"], job["files"], counts(job)) == ("QUEUED", [], {})
    reply = await api.post(f"{job['url']}/files", {"files": [{"name": "a", "length": 0}, {"name": "b", "length": 2}]})
    assert reply.status == 201
    added = shown(reply)
    assert added["jobId"] == job["id"]
    assert [(file["number"], file["status"]) for file in added["files"]] == [(1, "COMPLETED"), (2, "QUEUED")]
    more = shown(await api.post(f"{job['url']}/files", {"files": [{"name": "c"}]}))
    assert more["files"][0]["number"] == 3
    assert counts(await api.job(job)) == {"total": 3, "completed": 1, "queued": 2}


async def test_pages_of_files(api: Api) -> None:
    job = await api.make(1, 2, 3, 4, 5)
    first = await api.job(job, "?limit=2")
    second = await api.job(job, f"?limit=2&after={first['nextAfter']}")
    third = await api.job(job, f"?limit=2&after={second['nextAfter']}")
    assert [file["length"] for page in (first, second, third) for file in page["files"]] == [1, 2, 3, 4, 5]
    assert third["nextAfter"] is None
    assert first["totalCount"] == third["totalCount"] == 5
    none = await api.job(job, "?limit=0")
    assert (none["files"], none["nextAfter"], none["totalCount"]) == ([], None, 5)


async def test_pages_of_jobs(api: Api) -> None:
    made = [(await api.make(1))["id"] for _ in range(5)]
    seen, before = [], ""
    while True:
        page = await api.shown(f"/api/jobs?limit=2{before}", WITH_TOKEN)
        seen += [job["id"] for job in page["jobs"]]
        if page["nextBefore"] is None:
            break
        before = f"&before={page['nextBefore']}"
    assert seen == made[::-1]
    assert "files" not in page["jobs"][0]


async def test_a_cancelled_job_ends_what_is_unfinished(api: Api) -> None:
    """I8."""
    job = await api.make(3, 3, 3)
    await api.send(job["files"][0], b"abc")
    await api.send(job["files"][1], b"a")
    reply = await api.delete(job["url"])
    cancelled = shown(reply)
    assert (reply.status, cancelled["status"]) == (200, "CANCELLED")
    assert [file["status"] for file in cancelled["files"]] == ["COMPLETED", "CANCELLED", "CANCELLED"]
    assert cancelled["cancelledAt"] is not None
    assert (await api.served.request("GET", job["files"][0]["url"])).body == b"abc"
    assert (await api.served.look(job["files"][1]["url"])).status == 410
    assert problem(await api.post(f"{job['url']}/files", {"files": [{"name": "late"}]})) == (409, "job_closed")
    for again in (await api.delete(job["url"]), await api.post(f"{job['url']}/cancel", b"", {"Content-Length": "0"})):
        assert (again.status, shown(again)) == (200, cancelled)


async def test_a_job_is_cancelled_while_it_is_uploaded(api: Api) -> None:
    """R01: the client that sends learns of it, and nothing of its bytes stays."""
    job = await api.make(1 << 20, 10)
    target = job["files"][0]["url"]
    head = f"PATCH {target} HTTP/1.1\r\nHost: t\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
    head += f"Content-Type: application/offset+octet-stream\r\nContent-Length: {1 << 20}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", api.served.port)
    writer.write(head.encode() + bytes(1000))

    async def arrives() -> bool:
        return (await api.statuses(job))[0] == "UPLOADING"

    await until(arrives)
    async with asyncio.timeout(20):
        cancelled = await asyncio.gather(*(api.delete(job["url"]) for _ in range(5)))
        answer = await reader.readuntil(b"\r\n")
    writer.close()
    assert [reply.status for reply in cancelled] == [200] * 5
    assert answer.split()[1] == b"410"
    assert await api.statuses(job) == ["CANCELLED", "CANCELLED"]
    assert await api.served.content(target) == b""


async def test_whoever_cancels_does_not_wait_for_files_that_do_not_end(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, end = asyncio.Event(), Jobs._end

    async def late(jobs: Jobs, upload: Upload) -> None:
        await ended.wait()
        await end(jobs, upload)

    monkeypatch.setattr(Jobs, "_end", late)
    monkeypatch.setattr("tuspy_server.jobs.service.CANCEL_WAIT_SECONDS", 0.01)
    job = await api.make(3, 3)
    reply = await api.delete(job["url"])
    assert (reply.status, shown(reply)["status"], shown(reply)["cancelledCount"]) == (202, "CANCELLED", 0)
    assert problem(await api.post(f"{job['url']}/files", {"files": [{"name": "late"}]})) == (409, "job_closed")
    ended.set()

    async def is_over() -> bool:
        return (await api.delete(job["url"])).status == 200

    await until(is_over)
    assert await api.statuses(job) == ["CANCELLED", "CANCELLED"]


async def test_a_hook_keeps_a_file_and_with_it_the_job(serve_api: ServeApi) -> None:
    """All or nothing, as the making is."""

    def prepare(tus: TusServer) -> None:
        @tus.pre_terminate
        def keep(upload: Upload, request: RequestContext) -> None:
            if upload.upload_length == 7:
                raise Refused("not this one", 451)

    api = await serve_api(prepare)
    job = await api.make(1, 7, 1)
    before = await api.job(job)
    reply = await api.delete(job["url"])
    assert problem(reply) == (451, "refused")
    assert shown(reply)["detail"] == "not this one"
    assert await api.job(job) == before


async def test_a_hook_is_asked_for_every_file(serve_api: ServeApi) -> None:
    asked: list[Proposal] = []

    def prepare(tus: TusServer) -> None:
        @tus.pre_create
        def ask(proposal: Proposal) -> None:
            asked.append(proposal)
            if proposal.metadata["filename"] == "bad":
                raise Refused("no bad ones", 422)

    api = await serve_api(prepare)
    job = await api.make(1, 2)
    assert [proposal.metadata["filename"] for proposal in asked] == ["file-1", "file-2"]
    assert {proposal.job_id for proposal in asked} == {job["id"]}
    before = await api.shown("/api/stats", WITH_TOKEN)
    files = {"files": [{"name": "good"}, {"name": "bad"}, {"name": "good"}]}
    for target in ("/api/jobs", f"{job['url']}/files"):
        reply = await api.post(target, files)
        assert (problem(reply), pointers(reply)) == ((422, "refused"), ["/files/1"])
    assert await api.shown("/api/stats", WITH_TOKEN) == before


async def test_the_same_key_makes_one_job(api: Api) -> None:
    """A client that never heard the answer asks again."""
    body, key = {"files": [{"name": "a", "length": 0}, {"name": "b", "length": 9}]}, {"Idempotency-Key": "k" * 32}
    replies = [await api.post("/api/jobs", body, key)]
    replies += await asyncio.gather(*(api.post("/api/jobs", body, key) for _ in range(4)))
    assert [reply.status for reply in replies] == [201] * 5
    assert len({reply["Location"] for reply in replies}) == 1
    assert shown(replies[-1]) == shown(replies[0])
    other = await api.post("/api/jobs", {"files": [{"name": "a", "length": 1}]}, key)
    assert other["Location"] != replies[0]["Location"]
    assert (await api.post("/api/jobs", body))["Location"] != replies[0]["Location"]
    assert (await api.shown("/api/stats", WITH_TOKEN))["totalCount"] == 2 + 1 + 2
    for key in ({"Idempotency-Key": "short"}, {"Idempotency-Key": "with space " * 3}, {"Idempotency-Key": "k" * 256}):
        assert problem(await api.post("/api/jobs", body, key)) == (400, "invalid_header")


async def test_jobs_by_their_other_names(api: Api) -> None:
    reply = await api.post("/commands/upload-jobs", {"files": [{"name": "a", "length": 3}]})
    job = shown(reply)
    assert (reply.status, reply["Location"]) == (201, job["url"])
    assert await api.shown(f"/queries/upload-jobs/{job['id']}") == job
    assert await api.job(job) == job


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/api/jobs/{}"),
        ("GET", "/queries/upload-jobs/{}"),
        ("DELETE", "/api/jobs/{}"),
        ("POST", "/api/jobs/{}/cancel"),
        ("POST", "/api/jobs/{}/files"),
    ],
)
async def test_no_such_job(api: Api, method: str, target: str) -> None:
    target = target.format("0" * 32)
    reply = await (api.post(target, {"files": []}) if method == "POST" else api.served.request(method, target))
    assert problem(reply) == (404, "job_not_found")


@ON_SQLITE
async def test_files_that_cannot_be_ended_hold_up_no_others(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """I12: what a crash has left is gone through from the oldest, in every sweep again."""
    job = await api.make(*[5] * 40)
    parts = api.tus._parts
    assert parts is not None
    assert parts.jobs is not None
    assert parts.stores.jobs is not None
    await parts.stores.jobs.cancel_job(job["id"], None)
    stuck = [file["id"] for file in job["files"]][:20]
    cancel = parts.uploads.cancel

    async def sometimes(upload_id: str) -> bool:
        if upload_id in stuck:
            raise ValueError("a defect")
        return await cancel(upload_id)

    monkeypatch.setattr(parts.uploads, "cancel", sometimes)
    await parts.jobs.recover()
    assert (await api.statuses(job))[20:] == ["CANCELLED"] * 20

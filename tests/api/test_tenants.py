"""I9, X09: what belongs to somebody else is not there; every route, every way to name it."""

from __future__ import annotations

import pytest

from tests.api.asking import WITH_TOKEN, Api, Json, problem, shown
from tests.api.conftest import ServeApi
from tests.web.wire import Reply
from tuspy_server import Grant, Intent, RequestContext, TusServer

ANNE, BEN = {"X-User": "anne"}, {"X-User": "ben"}


def by_header(tus: TusServer) -> None:
    @tus.authorize
    def authorize(intent: Intent, request: RequestContext) -> Grant | bool:
        user = request.headers.get("x-user")
        return False if user is None else Grant(tenant=user)


@pytest.fixture
async def api(serve_api: ServeApi) -> Api:
    return await serve_api(by_header)


def without_id(reply: Reply) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    fields = tuple(pair for pair in reply.fields if pair[0] not in {"x-request-id", "date"})
    return reply.status, fields, reply.body


async def ask_all(api: Api, job_id: str, upload_id: str, fields: dict[str, str]) -> list[Reply]:
    files = {"files": [{"name": "x", "length": 0}]}
    progress = {"uploadId": upload_id, "bytesUploaded": 1}
    return [
        await api.get(f"/api/jobs/{job_id}", fields),
        await api.get(f"/queries/upload-jobs/{job_id}", fields),
        await api.post(f"/api/jobs/{job_id}/files", files, fields),
        await api.post(f"/api/jobs/{job_id}/cancel", b"", fields),
        await api.delete(f"/api/jobs/{job_id}", fields),
        await api.get(f"/api/uploads/{upload_id}", fields),
        await api.post("/commands/upload/progress", progress, fields),
        await api.post(
            "/commands/upload/progress", {"uploadId": upload_id, "jobId": job_id, "bytesUploaded": 1}, fields
        ),
        await api.get(f"/api/uploads?job={job_id}", fields),
        await api.get(f"/api/stats?job={job_id}", fields),
    ]


async def test_what_is_not_ones_own_is_as_what_is_not(api: Api) -> None:
    job = await api.make(5, 0, fields=ANNE)
    before = await api.shown(job["url"], ANNE)
    foreign = await ask_all(api, job["id"], job["files"][0]["id"], BEN)
    unknown = await ask_all(api, "0" * 32, "0" * 32, BEN)
    assert [without_id(reply) for reply in foreign] == [without_id(reply) for reply in unknown]
    assert {reply.status for reply in foreign[:8]} == {404}
    refused = await ask_all(api, job["id"], job["files"][0]["id"], {})
    assert {reply.status for reply in refused} == {404}
    assert await api.shown(job["url"], ANNE) == before


async def test_lists_and_sums_are_of_ones_own(api: Api) -> None:
    of_anne = await api.make(1, 2, fields=ANNE)
    of_ben = await api.make(3, fields=BEN)

    async def lists(fields: dict[str, str]) -> tuple[set[str], set[str], int]:
        jobs: Json = await api.shown("/api/jobs", fields)
        uploads: Json = await api.shown("/api/uploads", fields)
        stats: Json = await api.shown("/api/stats", fields)
        table = (await api.get("/api/uploads?format=csv", fields)).body.decode()
        listed = {upload["id"] for upload in uploads["uploads"]}
        assert all(upload_id in table for upload_id in listed)
        assert table.count("\r\n") == 1 + len(listed)
        return {job["id"] for job in jobs["jobs"]}, listed, stats["totalCount"]

    files_of_anne = {file["id"] for file in of_anne["files"]}
    files_of_ben = {file["id"] for file in of_ben["files"]}
    assert await lists(ANNE) == ({of_anne["id"]}, files_of_anne, 2)
    assert await lists(BEN) == ({of_ben["id"]}, files_of_ben, 1)
    assert await lists(WITH_TOKEN) == ({of_anne["id"], of_ben["id"]}, files_of_anne | files_of_ben, 3)
    for target in ("/api/jobs", "/api/uploads", "/api/stats"):
        assert problem(await api.get(target)) == (403, "forbidden")
    assert problem(await api.post("/api/jobs", {"files": []})) == (403, "forbidden")


async def test_whoever_reaches_all_adds_to_the_jobs_owner(api: Api) -> None:
    job = await api.make(1, fields=ANNE)
    added = await api.post(f"{job['url']}/files", {"files": [{"name": "more", "length": 4}]}, WITH_TOKEN)
    assert added.status == 201
    file = shown(added)["files"][0]
    assert (await api.shown(f"/api/uploads/{file['id']}", ANNE))["jobId"] == job["id"]
    assert problem(await api.get(f"/api/uploads/{file['id']}", BEN)) == (404, "upload_not_found")


async def test_one_key_of_two_tenants_is_two_keys(api: Api) -> None:
    key = {"Idempotency-Key": "0123456789abcdef"}
    first = await api.make(1, fields={**ANNE, **key})
    second = await api.make(1, fields={**BEN, **key})
    assert first["id"] != second["id"]
    assert (await api.make(1, fields={**ANNE, **key}))["id"] == first["id"]

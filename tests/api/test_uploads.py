"""Uploads found, listed and summed; and what their clients say of them."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from urllib.parse import quote

import pytest

from tests.api.asking import WITH_TOKEN, Api, Json, problem, shown
from tests.api.conftest import ServeApi
from tuspy_server import Refused, TusServer


def table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def ids(page: Json) -> list[str]:
    return [upload["id"] for upload in page["uploads"]]


async def test_an_upload_is_shown_whether_it_has_a_job_or_not(api: Api) -> None:
    target = await api.served.create(10, b"hello", metadata="name ZmlsZQ==,type dGV4dC9wbGFpbg==")
    upload = await api.shown(f"/api/uploads/{target.rpartition('/')[2]}")
    assert upload["url"] == target
    assert (upload["name"], upload["type"], upload["jobId"], upload["number"]) == ("file", "text/plain", None, None)
    assert (upload["status"], upload["offset"], upload["length"]) == ("UPLOADING", 5, 10)
    await api.served.patch(target, 5, b"world")
    upload = await api.shown(f"/api/uploads/{upload['id']}")
    assert (upload["status"], upload["offset"], upload["expiresAt"]) == ("COMPLETED", 10, None)
    assert upload["endedAt"] > upload["createdAt"]
    await api.served.request("DELETE", target, {"Tus-Resumable": "1.0.0"})
    assert (await api.shown(f"/api/uploads/{upload['id']}"))["status"] == "CANCELLED"
    assert problem(await api.get(f"/api/uploads/{'0' * 32}")) == (404, "upload_not_found")


async def test_lists_are_filtered(api: Api) -> None:
    job = await api.make(1, 0, 3)
    alone = (await api.served.create(5)).rpartition("/")[2]
    everything = await api.shown("/api/uploads", WITH_TOKEN)
    assert ids(everything)[0] == alone
    assert len(ids(everything)) == 4
    of_job = await api.shown(f"/api/uploads?job={job['id']}")
    assert set(ids(of_job)) == {file["id"] for file in job["files"]}
    for query, expected in (
        ("status=COMPLETED", {job["files"][1]["id"]}),
        ("status=QUEUED&job=" + job["id"], {job["files"][0]["id"], job["files"][2]["id"]}),
        ("status=EXPIRED", set()),
        ("job=unknown", set()),
    ):
        assert set(ids(await api.shown(f"/api/uploads?{query}", WITH_TOKEN))) == expected
    made_at = datetime.fromisoformat(everything["uploads"][0]["createdAt"])
    then, after = quote(made_at.isoformat()), quote((made_at + timedelta(microseconds=1)).isoformat())
    assert ids(await api.shown(f"/api/uploads?createdFrom={then}&createdBefore={after}", WITH_TOKEN)) == [alone]
    assert alone not in ids(await api.shown(f"/api/uploads?createdBefore={then}", WITH_TOKEN))


async def test_pages_of_uploads(api: Api) -> None:
    """All files of a job are as old as one another: the page ends between them."""
    job = await api.make(*range(1, 8))
    seen: list[str] = []
    before = ""
    while True:
        page = await api.shown(f"/api/uploads?limit=2{before}", WITH_TOKEN)
        assert len(page["uploads"]) <= 2
        seen += ids(page)
        if page["nextBefore"] is None:
            break
        before = f"&before={page['nextBefore']}"
    assert len(seen) == 7
    assert set(seen) == {file["id"] for file in job["files"]}


async def test_tables_are_for_spreadsheets(api: Api) -> None:
    """A name is what a stranger has chosen, and a cell that begins like a formula is one."""
    names = [
        "=cmd|' /C calc'!A0",
        "+1",
        "-1",
        "@x",
        "\t=1",
        'a,"b"\r\nc',
        "plain",
        " =1",
        "\uff1d1",
        "a; =1;b",
        "a\n=1",
    ]
    files = [{"name": name, "length": 1} for name in names]
    job = shown(await api.post("/api/jobs", {"files": files}))
    reply = await api.get(f"/api/uploads?job={job['id']}", {"Accept": "text/csv"})
    assert reply["Content-Type"].startswith("text/csv")
    rows = {int(row["number"]): row for row in table(reply.body)}
    for number, name in enumerate(names, 1):
        harmless = name[0] not in "=+-@\t \uff1d"
        # What begins a cell where semicolons separate, and quotes are none.
        within = name.replace("; =", "; '=").replace("\n=", "\n'=").replace("\t=", "\t'=")
        assert rows[number]["name"] == (within if harmless else f"'{within}")
    page = await api.get(f"/api/uploads?job={job['id']}&format=csv&limit=4")
    rest = await api.get(f"/api/uploads?job={job['id']}&format=csv&before={page['Next-Before']}&limit=9")
    assert len(table(page.body)) + len(table(rest.body)) == len(names)
    assert "Next-Before" not in rest
    assert (
        await api.get(f"/api/uploads?job={job['id']}", {"Accept": "text/csv", "If-None-Match": reply["ETag"]})
    ).status == 304
    assert (await api.get(f"/api/uploads?job={job['id']}", {"If-None-Match": reply["ETag"]})).status == 200
    for accept, preferred in (("text/csv, */*", "text/csv"), ("text/csv;q=0.5, */*", "application/json")):
        reply = await api.get(f"/api/uploads?job={job['id']}", {"Accept": accept})
        assert reply["Content-Type"].startswith(preferred)


async def test_sums(api: Api) -> None:
    nothing = await api.shown("/api/stats", WITH_TOKEN)
    assert (nothing["totalCount"], nothing["successRate"], nothing["bytesPerSecond"]) == (0, None, None)
    assert nothing["length"] == nothing["durationSeconds"] == {"median": None, "p95": None, "max": None}
    job = await api.make(4, 10, 6, 5)
    await api.send(job["files"][0], b"abcd")
    await api.send(job["files"][1], b"0123456789")
    await api.send(job["files"][2], b"abc")
    stats = await api.shown("/api/stats", WITH_TOKEN)
    assert {name: stats[f"{name}Count"] for name in ("total", "completed", "uploading", "queued", "failed")} == {
        "total": 4,
        "completed": 2,
        "uploading": 1,
        "queued": 1,
        "failed": 0,
    }
    assert (stats["receivedBytes"], stats["finishedBytes"], stats["successRate"]) == (17, 14, 1.0)
    assert stats["length"] == {"median": 4, "p95": 10, "max": 10}
    assert stats["bytesPerSecond"] > 0
    assert 0 < stats["durationSeconds"]["median"] <= stats["durationSeconds"]["max"]
    measures = {
        row["measure"]: row["value"] for row in table((await api.get("/api/stats?format=csv", WITH_TOKEN)).body)
    }
    assert (measures["completedCount"], float(measures["length.p95"])) == ("2", 10)
    assert (await api.shown(f"/api/stats?job={job['id']}"))["totalCount"] == 4
    assert (await api.shown("/api/stats?job=other"))["totalCount"] == 0


async def test_failures_are_counted_by_their_reason(serve_api: ServeApi) -> None:
    def prepare(tus: TusServer) -> None:
        @tus.pre_finish
        def refuse(stored: object) -> None:
            raise Refused("a virus", 422)

    api = await serve_api(prepare)
    job = await api.make(3)
    assert (await api.served.patch(job["files"][0]["url"], 0, b"abc")).status == 422
    stats = await api.shown("/api/stats", WITH_TOKEN)
    assert (stats["failedCount"], stats["successRate"]) == (1, 0.0)
    assert sum(stats["errors"].values()) == 1
    assert await api.statuses(job) == ["FAILED"]
    assert (await api.job(job))["status"] == "FAILED"


async def test_what_a_client_says_of_its_progress(api: Api) -> None:
    """I1: what counts is what the server has."""
    job = await api.make(10)
    said = {"jobId": job["id"], "uploadId": job["files"][0]["id"], "bytesUploaded": 7, "bytesTotal": 10}
    for body in (said, {**said, "bytesPerSecond": 12.5}, {"uploadId": said["uploadId"], "bytesUploaded": 0}):
        reply = await api.post("/commands/upload/progress", body)
        assert (reply.status, reply.body) == (202, b"")
    assert (await api.job(job))["files"][0]["offset"] == 0
    for body in ({**said, "jobId": "other"}, {**said, "uploadId": "other"}, {**said, "uploadId": "0" * 32}):
        assert problem(await api.post("/commands/upload/progress", body)) == (404, "upload_not_found")
    assert problem(await api.post("/commands/upload/progress", {**said, "bytesUploaded": -1})) == (
        422,
        "invalid_request",
    )
    assert problem(await api.post("/commands/upload/progress", b" " * 5000)) == (413, "body_too_large")


@pytest.mark.parametrize("target", ["/api/uploads", "/api/stats", "/api/jobs"])
async def test_what_names_nothing_needs_the_token(api: Api, target: str) -> None:
    """X08: nothing can be listed by those who know no id."""
    reply = await api.get(target)
    assert problem(reply) == (401, "unauthorized")
    assert reply["WWW-Authenticate"] == "Bearer"
    assert (await api.get(target, {"Authorization": "Bearer wrong"})).status == 401
    assert (await api.get(target, WITH_TOKEN)).status == 200
    assert (await api.get(f"{target}?access_token={WITH_TOKEN['Authorization'][7:]}")).status == 400

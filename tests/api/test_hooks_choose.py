"""What a hook has chosen for the files of a job; and what only it may know."""

from __future__ import annotations

from collections.abc import Callable

from tests.api.asking import WITH_TOKEN, pointers, problem, shown
from tests.api.conftest import ServeApi
from tuspy_server import Creation, Proposal, TusServer


def choosing(choose: Callable[[Proposal], Creation]) -> Callable[[TusServer], object]:
    return lambda tus: tus.pre_create(choose)


async def test_no_client_sees_what_is_trusted(serve_api: ServeApi) -> None:
    secret = {"owner": "s3cr3t-of-the-server"}
    api = await serve_api(choosing(lambda _: Creation(trusted_metadata=secret)))
    job = await api.make(0, 5)
    upload_id = job["files"][1]["id"]
    for target in (
        job["url"],
        f"/queries/upload-jobs/{job['id']}",
        f"/api/uploads/{upload_id}",
        "/api/jobs",
        "/api/uploads",
        "/api/uploads?format=csv",
        "/api/stats",
        "/api/stats?format=csv",
    ):
        reply = await api.get(target, WITH_TOKEN)
        assert reply.status == 200
        for word in ("s3cr3t", "trusted", "tenant", "writer"):
            assert word not in reply.text


async def test_ids_that_a_hook_chooses(serve_api: ServeApi) -> None:
    api = await serve_api(choosing(lambda proposal: Creation(id=proposal.metadata["filename"])))
    made = shown(await api.post("/api/jobs", {"files": [{"name": "a_1", "length": 3}, {"name": "B-2", "length": 0}]}))
    assert [file["id"] for file in made["files"]] == ["a_1", "B-2"]
    assert [file["status"] for file in made["files"]] == ["QUEUED", "COMPLETED"]
    await api.send(made["files"][0], b"abc")
    before = await api.shown("/api/stats", WITH_TOKEN)
    for names in (["c", "a_1"], ["d", "d"]):
        reply = await api.post("/api/jobs", {"files": [{"name": name} for name in names]})
        assert problem(reply) == (409, "id_taken")
        reply = await api.post(f"{made['url']}/files", {"files": [{"name": name} for name in names]})
        assert problem(reply) == (409, "id_taken")
    assert await api.shown("/api/stats", WITH_TOKEN) == before


async def test_limits_that_a_hook_sets(serve_api: ServeApi) -> None:
    api = await serve_api(choosing(lambda _: Creation(most_bytes=10, types=("image/*",))))
    good = {"name": "a", "length": 10, "type": "image/png"}
    assert (await api.post("/api/jobs", {"files": [good]})).status == 201
    for bad, status in (({"length": 11}, 413), ({"type": "text/plain"}, 415), ({"type": None}, 415)):
        reply = await api.post("/api/jobs", {"files": [good, {**good, **bad}]})
        assert reply.status == status
        assert pointers(reply)[0].startswith("/files/1")


async def test_a_hook_that_fails_makes_nothing(serve_api: ServeApi) -> None:
    def fail(proposal: Proposal) -> Creation:
        raise RuntimeError("secret: hunter2")

    api = await serve_api(choosing(fail))
    reply = await api.post("/api/jobs", {"files": [{"name": "a"}]})
    assert problem(reply) == (500, "hook_failed")
    assert "hunter2" not in reply.text
    assert (await api.shown("/api/stats", WITH_TOKEN))["totalCount"] == 0

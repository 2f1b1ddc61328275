"""Jobs of many files: a bounded number of calls, whole answers, and clients that bring all of it."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from tusclient.client import TusClient

from tests.api.asking import WITH_TOKEN, Api, shown, until
from tests.api.conftest import ServeApi
from tests.support.client import make_bytes
from tuspy_server import Event, Proposal, TusServer
from tuspy_server.stores.postgres.pool import Pool
from tuspy_server.stores.sqlite.database import Database

MANY = 1000
FEW_CALLS = 30
"""With those of the relay, the sweeper and the heart, which go on meanwhile."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a database was asked: each is a transaction, and a round trip."""
    counted: Counter[str] = Counter()

    def count(owner: type, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def counting(*arguments: Any, **named: Any) -> Any:
            counted[name] += 1
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, counting)

    count(Database, "write")
    count(Database, "read")
    count(Pool, "run")
    return counted


async def test_many_files_are_one_transaction(api: Api, calls: Counter[str]) -> None:
    await api.make(1)
    calls.clear()
    job = await api.make(*range(1, MANY + 1))
    assert sum(calls.values()) <= FEW_CALLS, calls
    assert [file["length"] for file in job["files"]] == list(range(1, MANY + 1))
    assert len({file["url"] for file in job["files"]}) == job["totalCount"] == MANY
    calls.clear()
    more = await api.post(f"{job['url']}/files", {"files": [{"name": "x"}] * MANY})
    assert shown(more)["files"][-1]["number"] == 2 * MANY
    assert (await api.job(job, f"?after={MANY}"))["files"] == shown(more)["files"]
    assert sum(calls.values()) <= FEW_CALLS, calls
    listed = await api.shown("/api/jobs", WITH_TOKEN)
    assert [found["totalCount"] for found in listed["jobs"]] == [2 * MANY, 1]


async def test_many_files_without_bytes_are_all_finished(api: Api) -> None:
    """The answer does not wait for ever; what it has not waited for is finished all the same."""
    job = await api.make(*[0] * 300)

    async def is_complete() -> bool:
        return bool((await api.job(job, "?limit=0"))["status"] == "COMPLETED")

    await until(is_complete, 60)


async def test_a_large_job_is_cancelled(api: Api) -> None:
    job = await api.make(*[5] * 200)
    cancelled = shown(await api.delete(job["url"]))
    assert (cancelled["status"], cancelled["cancelledCount"]) == ("CANCELLED", 200)


async def test_a_job_has_a_limit(serve_api: ServeApi) -> None:
    """I10. Two who see the same room for one do not both get it."""
    both_have_looked, are_two = asyncio.Barrier(2), False

    def prepare(tus: TusServer) -> None:
        @tus.pre_create
        async def ask(proposal: Proposal) -> None:
            if are_two:
                await both_have_looked.wait()

    api = await serve_api(prepare, job_most_files=3)
    job = await api.make(1, 1)

    async def add(count: int) -> int:
        return (await api.post(f"{job['url']}/files", {"files": [{"name": "x", "length": 1}] * count})).status

    assert await add(2) == 422
    are_two = True
    assert sorted(await asyncio.gather(add(1), add(1))) == [201, 422]
    assert await add(1) == 422
    assert (await api.job(job))["totalCount"] == 3


async def test_a_hook_that_is_slow_is_asked_for_several_files_at_once(serve_api: ServeApi) -> None:
    at_once = most = 0

    def prepare(tus: TusServer) -> None:
        @tus.pre_create
        async def ask(proposal: Proposal) -> None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.001)
            at_once -= 1

    api = await serve_api(prepare)
    await api.make(*range(1, 101))
    assert 1 < most <= 16


async def test_a_job_of_100_files_is_brought_by_a_client(serve_api: ServeApi) -> None:
    """tuspy, four files at once; each finish is told once, and the job says when all of it is there."""
    finished: Counter[str] = Counter()

    def prepare(tus: TusServer) -> None:
        @tus.on("upload.finished", processing=True)
        async def count(event: Event) -> None:
            finished[event.upload_id] += 1
            assert event.job_id is not None

    api = await serve_api(prepare)
    contents = {f"file-{number}": make_bytes(2000 + number, seed=number) for number in range(100)}
    files = [{"name": name, "length": len(content)} for name, content in contents.items()]
    job = shown(await api.post("/api/jobs", {"files": files}))
    origin = f"http://127.0.0.1:{api.served.port}"
    waiting = list(job["files"])

    def bring() -> None:
        while waiting:
            file = waiting.pop()
            stream = io.BytesIO(contents[file["name"]])
            TusClient(origin).uploader(file_stream=stream, url=origin + file["url"], chunk_size=1500).upload()

    await asyncio.gather(*(asyncio.to_thread(bring) for _ in range(4)))

    async def is_complete() -> bool:
        return bool((await api.job(job, "?limit=0"))["status"] == "COMPLETED")

    await until(is_complete, 60)
    assert set(finished) == {file["id"] for file in job["files"]}
    assert (await api.job(job))["bytes"]["uploaded"] == sum(map(len, contents.values()))
    for file in job["files"][::10]:
        assert await api.served.content(file["url"]) == contents[file["name"]]

"""Statuses that somebody else decides: those who process, time, the sweeper."""

from __future__ import annotations

import asyncio

from tests.api.asking import Api, Json, until
from tests.api.conftest import ServeApi
from tuspy_server import Event, TusServer
from tuspy_server.ports import DeliveryFilter, Outbox


class Processor:
    """A hook that processes; it does what a test tells it to."""

    def __init__(self, tus: TusServer) -> None:
        self.may_end = asyncio.Event()
        self.fails = False
        self.seen: list[str] = []
        tus.on("upload.finished", name="processor", processing=True)(self.process)

    async def process(self, event: Event) -> None:
        self.seen.append(event.upload_id)
        await self.may_end.wait()
        if self.fails:
            raise RuntimeError("cannot read it")


async def stands(api: Api, job: Json, *statuses: str) -> None:
    """Until the files of a job stand so."""

    async def check() -> bool:
        return await api.statuses(job) == list(statuses)

    await until(check)


def outbox_of(api: Api) -> Outbox:
    parts = api.tus._parts
    assert parts is not None
    return parts.stores.outbox


async def test_a_file_is_processed_until_its_hook_has_succeeded(serve_api: ServeApi) -> None:
    processors: list[Processor] = []
    api = await serve_api(lambda tus: processors.append(Processor(tus)))
    (processor,) = processors
    job = await api.make(3, 0, 5)
    await api.send(job["files"][0], b"abc")
    await stands(api, job, "PROCESSING", "PROCESSING", "QUEUED")
    seen = await api.job(job)
    assert (seen["status"], seen["processingCount"], seen["completedCount"]) == ("UPLOADING", 2, 0)
    await api.send(job["files"][2], b"abcde")
    await stands(api, job, "PROCESSING", "PROCESSING", "PROCESSING")
    before = await api.get(job["url"])
    assert b'"status":"PROCESSING"' in before.body
    processor.may_end.set()
    await stands(api, job, "COMPLETED", "COMPLETED", "COMPLETED")
    after = await api.get(job["url"], {"If-None-Match": before["ETag"]})
    assert (after.status, (await api.job(job))["status"]) == (200, "COMPLETED")


async def test_a_file_that_no_hook_can_process_has_failed_until_one_can(serve_api: ServeApi) -> None:
    """A dead delivery that is retried, and succeeds, makes it whole."""
    processors: list[Processor] = []
    api = await serve_api(lambda tus: processors.append(Processor(tus)), hook_attempts=1)
    (processor,) = processors
    processor.may_end.set()
    processor.fails = True
    job = await api.make(3)
    await api.send(job["files"][0], b"abc")
    await stands(api, job, "FAILED")
    failed = await api.job(job)
    assert (failed["status"], failed["failedCount"], failed["bytes"]["uploaded"]) == ("FAILED", 1, 3)
    assert (await api.served.request("GET", job["files"][0]["url"])).body == b"abc"
    processor.fails = False
    assert await outbox_of(api).retry_now(DeliveryFilter(consumer="python:processor")) == 1
    await stands(api, job, "COMPLETED")
    assert (await api.job(job))["status"] == "COMPLETED"
    assert len(processor.seen) >= 2


async def test_a_file_that_nobody_brings_expires(serve_api: ServeApi) -> None:
    """R04; swept or not."""
    api = await serve_api(expires_seconds=0.3, expires_cap_seconds=1, sweep_interval_seconds=3600)
    job = await api.make(3, 4, 0)
    await api.send(job["files"][0], b"abc")
    tag = (await api.get(job["url"]))["ETag"]
    await stands(api, job, "COMPLETED", "EXPIRED", "COMPLETED")
    overdue = await api.job(job)
    assert (overdue["status"], overdue["expiredCount"]) == ("PARTIAL", 1)
    assert (await api.get(job["url"], {"If-None-Match": tag})).status == 200
    assert len((await api.tus.sweep()).expired) == 1
    assert await api.statuses(job) == ["COMPLETED", "EXPIRED", "COMPLETED"]


async def test_an_old_job_is_forgotten_once_all_of_it_has_ended(serve_api: ServeApi) -> None:
    api = await serve_api(job_seconds=0.5, gone_seconds=0, sweep_interval_seconds=3600)
    still_open, ended = await api.make(0, 5), await api.make(0)

    async def is_forgotten() -> bool:
        await api.tus.sweep()
        return (await api.get(ended["url"])).status == 404

    await until(is_forgotten)
    assert await api.statuses(still_open) == ["COMPLETED", "QUEUED"]

"""Blocking hooks of the application, over real requests: refuse, choose, fail, take too long, run in a thread."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.web.conftest import ON_BOTH_CLASSES, Serve
from tests.web.served import Served, snapshot, upload_id
from tests.web.wire import BODY, TUS, Reply, Wire, head
from tuspy_server import (
    Creation,
    Event,
    Proposal,
    Refused,
    RequestContext,
    StoredUpload,
    TusServer,
    Upload,
    UploadStatus,
)

WHOLE = b"helloworld"
METADATA = "filename Zm9vLnBuZw==,filetype aW1hZ2UvcG5n"


class Events:
    """The events that the application hears, in their order."""

    def __init__(self, tus: TusServer) -> None:
        self._heard: asyncio.Queue[Event] = asyncio.Queue()
        tus.on(name="all")(self._heard.put)

    async def next(self) -> Event:
        async with asyncio.timeout(20):
            return await self._heard.get()


async def ask(server: Served, question: str) -> Reply:
    """A request that has the hook asked, and which has so far changed nothing."""
    if question == "pre_create":
        return await server.post({"Upload-Length": "10", "Upload-Metadata": METADATA, **BODY}, WHOLE)
    if question == "pre_finish":
        return await server.post({"Upload-Length": "10", **BODY}, WHOLE)
    return await server.request("DELETE", await server.create(10, b"hello"), TUS)


QUESTIONS = ["pre_create", "pre_finish", "pre_terminate"]


@ON_BOTH_CLASSES
@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_refusal_has_the_status_and_the_text_of_the_hook(server: Served, question: str) -> None:
    def refuse(*told: object) -> None:
        raise Refused("the quota is used up", 402)

    getattr(server.tus, question)(refuse)
    reply = await ask(server, question)
    assert (reply.status, reply.body) == (402, b"refused: the quota is used up\n")


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("kind", ["raises", "hangs", "hangs in a thread"])
async def test_a_hook_that_fails_is_a_500(serve: Serve, question: str, kind: str) -> None:
    """Nothing has changed, and its error is no client's business."""
    server, release = await serve(hook_seconds=0.1), threading.Event()

    async def fail(*told: object) -> None:
        if kind == "raises":
            raise RuntimeError("CANARY")
        await asyncio.Event().wait()

    getattr(server.tus, question)((lambda *_: release.wait(20)) if kind == "hangs in a thread" else fail)
    reply = await ask(server, question)
    release.set()
    assert reply.status == 500
    assert reply.body == b"hook_failed: a hook of the application failed\n"


async def test_a_hook_that_fails_changes_nothing(server: Served) -> None:
    @server.tus.pre_create
    def fail(proposal: Proposal) -> Creation:
        raise KeyError("CANARY")

    before = server.snapshot()
    assert (await ask(server, "pre_create")).status == 500
    assert server.snapshot() == before


async def test_a_plain_hook_runs_in_a_thread(server: Served) -> None:
    """R08: the server goes on while it thinks."""
    release, thread = threading.Event(), []

    @server.tus.pre_create
    def think(proposal: Proposal) -> Creation:
        thread.append(threading.current_thread())
        release.wait(20)
        return Creation(id="thought")

    asked = asyncio.create_task(ask(server, "pre_create"))
    async with asyncio.timeout(20):
        while not thread:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert (await server.request("GET", "/livez")).status == 200
    assert not asked.done()
    release.set()
    assert (await asked)["Location"].endswith("/files/thought")
    assert thread[0] is not threading.main_thread()


@ON_BOTH_CLASSES
async def test_pre_create_is_asked_before_the_body_is_wanted(server: Served) -> None:
    """No 100 Continue, no byte read: a client with a large file learns of it at once."""
    told: list[Proposal] = []

    @server.tus.pre_create
    async def refuse(proposal: Proposal) -> None:
        told.append(proposal)
        raise Refused("no", 403)

    fields = {**BODY, "Upload-Length": "5", "Content-Length": "5", "Expect": "100-continue", "X-User": "eve"}
    wire = await Wire.connect(server.port)
    await wire.send(head("POST", "/files/?a=b", fields))
    async with asyncio.timeout(20):
        first = await wire.reader.readline()
    await wire.close()
    assert b" 403 " in first
    (proposal,) = told
    request = proposal.request
    assert (request.method, request.path, request.query) == ("POST", "/files/", {"a": "b"})
    assert request.headers["x-user"] == "eve"
    assert request.client == "127.0.0.1"


async def test_what_pre_create_chooses_is_so(server: Served) -> None:
    events = Events(server.tus)

    @server.tus.pre_create
    def choose(proposal: Proposal) -> Creation:
        name = proposal.metadata["filename"].partition(".")[0]
        return Creation(id=f"eve-{name}", most_bytes=20, trusted_metadata={"user": 7}, tenant="acme", expires_seconds=9)

    reply = await server.post({"Upload-Length": "10", "Upload-Metadata": METADATA})
    target = reply["Location"]
    assert target.endswith("/files/eve-foo")
    assert (await server.patch(target, 0, WHOLE)).status == 204
    looked = await server.look(target)
    assert (looked["Upload-Offset"], looked["Upload-Metadata"]) == ("10", METADATA)
    assert "user" not in looked.text
    assert (await server.request("GET", target)).body == WHOLE
    created, finished = await events.next(), await events.next()
    for event in (created, finished):
        assert (event.upload_id, event.tenant, event.data["trusted_metadata"]) == ("eve-foo", "acme", {"user": 7})
    assert finished.data["created_at"] is not None
    again = await server.post({"Upload-Length": "10", "Upload-Metadata": METADATA})
    assert (again.status, again.body[:8]) == (409, b"id_taken")
    assert (await server.request("GET", target)).body == WHOLE


async def test_limits_that_pre_create_sets_are_held(server: Served) -> None:
    """413 for what is too long, also where the length is deferred; Tus-Max-Size is another thing."""

    @server.tus.pre_create
    def limit(proposal: Proposal) -> Creation:
        return Creation(most_bytes=10, types=("image/*",))

    image = {"Upload-Metadata": METADATA}
    assert (await server.post({"Upload-Length": "11", **image})).status == 413
    assert (await server.post({"Upload-Length": "10"})).status == 415
    target = (await server.post({"Upload-Defer-Length": "1", **image}))["Location"]
    before = server.snapshot()
    assert (await server.patch(target, 0, b"x" * 11)).status == 413
    assert (await server.patch(target, 0, b"", {"Upload-Length": "11"})).status == 413
    assert server.snapshot() == before
    assert (await server.patch(target, 0, WHOLE, {"Upload-Length": "10"})).status == 204
    options = await server.request("OPTIONS", "/files/")
    assert "Tus-Max-Size" not in options or options["Tus-Max-Size"] != "10"


@pytest.mark.parametrize("wish", [{"id": "../x"}, {"key": "a"}, {"bucket": "b"}, {"id": "x" * 65}])
async def test_a_wish_that_cannot_be_granted_is_a_500_with_a_reason_in_the_log(
    server: Served, wish: dict[str, Any], logs: list[dict[str, Any]]
) -> None:
    server.tus.pre_create(lambda _: Creation(**wish))
    assert (await ask(server, "pre_create")).status == 500
    (entry,) = [entry for entry in logs if entry["event"] == "hook.answer.refused"]
    assert entry["reason"]


async def test_pre_finish_reads_the_file_before_anybody_is_told(server: Served) -> None:
    events, seen = Events(server.tus), []

    @server.tus.pre_finish
    def scan(stored: StoredUpload) -> None:
        assert stored.path is not None
        seen.append((stored.upload.upload_length, stored.path.read_bytes()))
        if b"virus" in stored.path.read_bytes():
            raise Refused("there is a virus in it", 422)

    target = await server.create(10)
    assert (await server.patch(target, 0, WHOLE)).status == 204
    bad = await server.create(10)
    refused = await server.patch(bad, 0, b"virusvirus")
    assert (refused.status, refused.body) == (422, b"refused: there is a virus in it\n")
    assert (await server.look(bad)).status == 410
    assert (await server.request("GET", bad)).status == 410
    assert await server.content(bad) == b""
    assert (await server.patch(bad, 9, b"s")).status == 410
    assert seen == [(10, WHOLE), (10, b"virusvirus")]
    heard = {(event.type, event.upload_id): event for event in [await events.next() for _ in range(4)]}
    assert heard["upload.failed", upload_id(bad)].data["reason"] == "there is a virus in it"  # type: ignore[index]
    assert ("upload.finished", upload_id(bad)) not in heard


async def test_a_pre_finish_that_failed_is_asked_again_by_the_client_that_resumes(server: Served) -> None:
    answers: list[Exception | None] = [RuntimeError(), None]

    @server.tus.pre_finish
    async def scan(stored: StoredUpload) -> None:
        assert b"".join([block async for block in stored.read(0, 10)]) == WHOLE
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    target = await server.create(10)
    assert (await server.patch(target, 0, WHOLE)).status == 500
    offset = await server.offset(target)
    assert offset < 10
    assert (await server.patch(target, offset, WHOLE[offset:])).status == 204
    assert (await server.request("GET", target)).body == WHOLE


async def test_pre_finish_of_an_empty_upload(server: Served) -> None:
    server.tus.pre_finish(refuse_empty)
    assert (await server.post({"Upload-Length": "0"})).status == 418


def refuse_empty(stored: StoredUpload) -> None:
    if stored.upload.upload_length == 0:
        raise Refused("an empty file", 418)


async def test_pre_terminate_keeps_what_is_to_stay(server: Served) -> None:
    told: list[tuple[Upload, RequestContext]] = []

    @server.tus.pre_terminate
    def keep_finished(upload: Upload, request: RequestContext) -> None:
        told.append((upload, request))
        if upload.status is UploadStatus.FINISHED:
            raise Refused("archived", 403)

    target, other = await server.create(5, b"hello"), await server.create(5)
    assert (await server.request("DELETE", target, TUS)).status == 403
    assert (await server.request("GET", target)).body == b"hello"
    assert (await server.request("DELETE", other, TUS)).status == 204
    assert (await server.request("DELETE", other, TUS)).status == 410
    assert (await server.request("DELETE", f"/files/{'0' * 32}", TUS)).status == 404
    assert [(upload.id, request.upload_id) for upload, request in told] == [
        (upload_id(target), upload_id(target)),
        (upload_id(other), upload_id(other)),
    ]
    await server.tus.terminate(upload_id(target))
    assert (await server.look(target)).status == 410


def test_each_question_has_one_function() -> None:
    tus = TusServer()
    for question in (*QUESTIONS, "authorize"):
        getattr(tus, question)(print)
        with pytest.raises(ValueError, match=question):
            getattr(tus, question)(print)


async def test_an_upload_joins_a_job_where_that_is_allowed(serve: Serve) -> None:
    """404: clients do not send it again."""
    server = await serve(job_by_metadata=True)
    reply = await server.post({"Upload-Length": "10", "Upload-Metadata": "job bm9uZQ=="})
    assert (reply.status, reply.body) == (404, b"job_not_found: no such job\n")


async def test_metadata_named_job_mean_nothing_elsewhere(server: Served) -> None:
    reply = await server.post({"Upload-Length": "10", "Upload-Metadata": "job bm9uZQ=="})
    assert reply.status == 201
    assert snapshot(server.tus.settings.data)

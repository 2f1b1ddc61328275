"""Who may follow what, with `authorize`: at the beginning, and for as long as it goes on (X15, I9)."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.streams import EventSource, receive, receive_until, stomp, websocket
from tests.uploads.rig import until
from tests.web.conftest import Serve
from tests.web.served import Served, upload_id
from tests.web.wire import BODY
from tuspy_server.access import Grant, Intent, RequestContext


class Guard:
    """An application's `authorize`: a token is its tenant's name, until it is revoked."""

    def __init__(self, server: Served) -> None:
        self.server = server
        self.revoked: set[str] = set()
        self.moved: dict[str, str] = {}
        self.is_broken = False
        self.asked: list[tuple[Intent, str | None, str | None]] = []
        server.tus.authorize(self)

    async def __call__(self, intent: Intent, request: RequestContext) -> Grant | bool:
        self.asked.append((intent, request.upload_id, request.job_id))
        if self.is_broken:
            raise RuntimeError
        token = request.headers.get("authorization", "").removeprefix("Bearer ") or request.query.get(
            "access_token", ""
        )
        if not token or token in self.revoked:
            return False
        return Grant(tenant=self.moved.get(token, token))

    async def create(self, tenant: str) -> str:
        fields = {**BODY, "Upload-Length": "1", "Authorization": f"Bearer {tenant}"}
        reply = await self.server.post(fields, b"x")
        assert reply.status == 201, reply.text
        return upload_id(reply["Location"])

    def hurry(self) -> None:
        """Grants are asked for again at once."""
        assert self.server.tus._parts is not None
        self.server.tus._parts.streams.realtime.rechecks._every_seconds = 0.05

    @property
    def streams(self) -> int:
        assert self.server.tus._parts is not None
        return len(self.server.tus._parts.streams.realtime)


@pytest.fixture
async def guard(serve: Serve) -> Guard:
    return Guard(await serve())


async def test_no_topic_leaks_across_tenants(guard: Guard) -> None:
    """I9, X15: an upload of another tenant is not to be told from one that is unknown."""
    port = guard.server.port
    theirs = await guard.create("theirs")
    for query in (f"?upload={theirs}&access_token=mine", "?upload=unknown&access_token=mine", f"?upload={theirs}"):
        reply = await EventSource(port, query).open()
        assert (reply.status, reply.body) == (404, (await EventSource(port, "?upload=unknown").open()).body)
        with pytest.raises(InvalidStatus) as caught:
            async with websocket(port, query):
                pass
        assert caught.value.response.status_code == 404
    assert (await EventSource(port).open()).status == 403
    errors = []
    for name in (theirs, "unknown"):
        async with stomp(port, "?access_token=mine") as client:
            await client.connect()
            await client.send("SUBSCRIBE", id="a", destination=f"/topic/upload/{name}")
            frame = await client.frame()
            errors.append((frame.command, dict(frame.headers)))
    assert errors[0] == errors[1]
    assert errors[0][0] == "ERROR"


async def test_all_events_are_those_of_the_tenant(guard: Guard) -> None:
    """Live and replayed, by each protocol."""
    port = guard.server.port
    wanted = []
    async with (
        EventSource(port, "?access_token=mine&after=0") as source,
        websocket(port, "?access_token=mine&after=0") as connection,
        stomp(port) as client,
    ):
        await client.connect(Authorization="Bearer mine")
        await client.send("SUBSCRIBE", id="a", destination="/topic/events", receipt="r")
        await client.frame()
        for _ in range(3):
            await guard.create("theirs")
            wanted += [await guard.create("mine")] * 2
        states = ("upload.created", "upload.finished")
        assert [(await source.next(*states)).cloudevent["subject"] for _ in wanted] == wanted
        assert [json.loads((await client.message(*states)).body)["subject"] for _ in wanted] == wanted
        seen: list[str] = []
        while len(seen) < len(wanted):
            event = await receive(connection)
            seen += [event["subject"]] if event["type"] in states else []
        assert seen == wanted
    async with EventSource(port, "?access_token=mine&after=0") as source:
        assert [(await source.next()).cloudevent["subject"] for _ in wanted] == wanted
        assert (await source.next()).event == "live"


async def test_what_is_revoked_ends(guard: Guard) -> None:
    """X15: within a minute; here at once."""
    port = guard.server.port
    mine = await guard.create("mine")
    guard.hurry()
    async with (
        EventSource(port, f"?upload={mine}&access_token=mine") as source,
        EventSource(port, "?access_token=other") as other,
        websocket(port, "?access_token=mine&after=0") as connection,
        stomp(port) as client,
    ):
        await client.connect(Authorization="Bearer mine")
        await client.send("SUBSCRIBE", id="a", destination=f"/topic/upload/{mine}", receipt="r")
        await client.frame()
        await other.next("live")
        asked = len(guard.asked)
        await until(lambda: len(guard.asked) > asked + 8)
        assert guard.streams == 4
        guard.revoked.add("mine")
        await source.until_ended()
        frame = await client.frame()
        assert (frame.command, frame.headers["code"]) == ("ERROR", "revoked")
        with pytest.raises(ConnectionClosed) as caught:
            await receive_until(connection, lambda _: False)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1008
        wanted = await guard.create("other")
        assert (await other.next()).cloudevent["subject"] == wanted
    assert (Intent.SUBSCRIBE, mine, None) in guard.asked


async def test_another_tenant_is_another_grant(guard: Guard) -> None:
    guard.hurry()
    async with EventSource(guard.server.port, "?access_token=mine") as source:
        await source.next("live")
        guard.moved["mine"] = "theirs"
        await source.until_ended()


async def test_a_guard_that_cannot_say_is_asked_again_and_then_it_is_over(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X15: a broken `authorize` ends nobody's stream at once, and keeps nobody's for ever."""
    guard.hurry()
    async with EventSource(guard.server.port, "?access_token=mine") as source:
        await source.next("live")
        guard.is_broken = True
        asked = len(guard.asked)
        await until(lambda: len(guard.asked) > asked + 3)
        await guard_still_streams(source)
        monkeypatch.setattr("tuspy_server.web.rechecks.UNCONFIRMED_SECONDS", 0.1)
        await source.until_ended()
    await until(lambda: guard.streams == 0)


async def guard_still_streams(source: EventSource) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(source.block(), 0.2)


async def test_the_api_token_reaches_all(serve: Serve) -> None:
    guard = Guard(await serve(api_token="secret"))
    wanted = [await guard.create(tenant) for tenant in ("mine", "theirs")]
    async with EventSource(guard.server.port, "?access_token=secret&after=0&type=upload.finished") as source:
        assert [(await source.next()).cloudevent["subject"] for _ in wanted] == wanted

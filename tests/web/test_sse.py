"""`GET /events` on the wire, under uvicorn's HTTP class and under ours."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.streams import Ended, EventSource
from tests.uploads.rig import until
from tests.web.conftest import ON_BOTH_CLASSES, Serve
from tests.web.served import Served, upload_id
from tuspy_server.events.subscription import MOST_QUEUED

pytestmark = ON_BOTH_CLASSES

OPEN = {"api_open": True}


def streams(server: Served) -> int:
    assert server.tus._parts is not None
    return len(server.tus._parts.streams.realtime)


async def test_events_come_as_they_happen(serve: Serve) -> None:
    server = await serve(**OPEN)
    async with EventSource(server.port) as source:
        first, live = await source.block(), await source.block()
        assert first.retry is not None
        assert (live.event, live.id) == ("live", "0-00000000")
        target = await server.create(10, metadata="name dGVzdA==")
        created = await source.next()
        await server.patch(target, 0, bytes(10))
        finished = await source.next("upload.finished")
    assert (created.event, created.id) == ("upload.created", created.cloudevent["cursor"])
    event = finished.cloudevent
    assert (event["specversion"], event["type"], event["subject"]) == ("1.0", "upload.finished", upload_id(target))
    assert (event["data"]["upload_length"], event["data"]["metadata"]) == (10, {"name": "test"})
    assert "trusted_metadata" not in event["data"]
    assert finished.id is not None
    assert finished.id.startswith("2-")


async def test_the_head_keeps_proxies_from_holding_events_back(serve: Serve) -> None:
    server = await serve(**OPEN, cors_origins=("https://app.example",))
    source = EventSource(server.port, fields={"Origin": "https://app.example"})
    reply = await source.open()
    await source.close()
    assert reply["content-type"] == "text/event-stream; charset=utf-8"
    assert (reply["cache-control"], reply["x-accel-buffering"]) == ("no-store", "no")
    assert reply["access-control-allow-origin"] == "https://app.example"
    preflight = await server.request("OPTIONS", "/events", {"Origin": "https://app.example"})
    assert (preflight.status, preflight["access-control-allow-methods"] != "") == (204, True)
    refused = await server.request("POST", "/events")
    assert (refused.status, refused["allow"]) == (405, "GET, OPTIONS")


async def test_a_reader_that_comes_back_at_every_event_misses_none(serve: Serve) -> None:
    """N10, I6."""
    server = await serve(**OPEN)
    source = EventSource(server.port)
    async with source:
        await source.next("live")
    wanted: list[tuple[str, str]] = []
    seen: list[tuple[str, str]] = []
    for _ in range(15):
        target = await server.create(1, b"x")
        wanted += [("upload.created", upload_id(target)), ("upload.finished", upload_id(target))]
    while len(seen) < len(wanted):
        async with source:
            event = (await source.next("upload.created", "upload.finished")).cloudevent
            seen.append((event["type"], event["subject"]))
    assert seen == wanted
    assert "gap" not in {block.event for block in source.blocks}


async def test_an_unknown_cursor_is_told_as_a_gap(serve: Serve) -> None:
    """N10: whatever a browser brings, it is not refused for good."""
    server = await serve(**OPEN)
    await server.create(1, b"x")
    for cursor in ("1-ffffffff", "77-00000000", "nonsense"):
        async with EventSource(server.port, last_id=cursor) as source:
            kinds = [(await source.next()).event for _ in range(4)]
        assert kinds == ["gap", "upload.created", "upload.finished", "live"]


async def test_after_in_the_query_and_the_header_over_it(serve: Serve) -> None:
    server = await serve(**OPEN)
    await server.create(1, b"x")
    async with EventSource(server.port, "?after=0") as source:
        events = [await source.next() for _ in range(3)]
    assert [event.event for event in events] == ["upload.created", "upload.finished", "live"]
    async with EventSource(server.port, "?after=0", last_id=events[0].id) as source:
        assert (await source.next()).event == "upload.finished"


async def test_filters(serve: Serve) -> None:
    server = await serve()
    mine = await server.create(20)
    async with (
        EventSource(server.port, f"?upload={upload_id(mine)}") as all_of_it,
        EventSource(server.port, f"?upload={upload_id(mine)}&type=upload.finished,upload.terminated") as ends,
        EventSource(server.port, f"?upload={upload_id(mine)}&type=upload.progress") as progress,
    ):
        for source in (all_of_it, ends, progress):
            await source.next("live")
        await server.create(1, b"x")
        await server.patch(mine, 0, bytes(7))
        told = await progress.next()
        assert told.id is None, "progress moves no cursor"
        data = told.cloudevent["data"]
        assert (data["upload_offset"], data["upload_length"]) == (7, 20)
        await server.patch(mine, 7, bytes(13))
        assert (await ends.next()).cloudevent["type"] == "upload.finished"
        kinds = [(await all_of_it.next()).event]
        while kinds[-1] != "upload.finished":
            kinds.append((await all_of_it.next()).event)
        assert set(kinds) == {"upload.progress", "upload.finished"}


@pytest.mark.parametrize(
    "query", ["?type=nonsense", "?upload=../x", "?upload=", "?after=x", "?job=a&job=b", "?upload=a&upload=b"]
)
async def test_a_query_that_makes_no_sense_is_refused(serve: Serve, query: str) -> None:
    """I11."""
    server = await serve(**OPEN)
    reply = await EventSource(server.port, query).open()
    assert reply.status == 400
    assert streams(server) == 0


async def test_all_events_need_the_token_and_an_upload_its_id(serve: Serve) -> None:
    """I9."""
    server = await serve(api_token="secret")
    assert (await EventSource(server.port).open()).status == 401
    assert (await EventSource(server.port, "?access_token=wrong").open()).status == 401
    assert (await EventSource(server.port, "?type=upload.finished").open()).status == 401
    for query in ("?upload=0123456789abcdef0123456789abcdef", "?job=unknown"):
        assert (await EventSource(server.port, query).open()).status == 404
    for source in (
        EventSource(server.port, "?access_token=secret"),
        EventSource(server.port, fields={"Authorization": "Bearer secret"}),
        EventSource(server.port, f"?upload={upload_id(await server.create())}"),
    ):
        async with source:
            await source.next("live")
    await until(lambda: streams(server) == 0)


async def test_pages_of_other_origins_are_refused(serve: Serve) -> None:
    """X06, X16."""
    server = await serve(**OPEN, cors_origins=("https://app.example",))
    for origin, status in {
        "https://app.example": 200,
        "https://evil.example": 403,
        "null": 403,
        "http://tus.test": 200,
        "http://[": 403,
    }.items():
        source = EventSource(server.port, fields={"Origin": origin})
        reply = await source.open()
        await source.close()
        assert reply.status == status, origin
        assert ("access-control-allow-origin" in reply) == (origin == "https://app.example")


async def test_a_silent_stream_beats(serve: Serve) -> None:
    server = await serve(**OPEN, stream_heartbeat_seconds=0.05)
    async with EventSource(server.port) as source:
        await source.next("live")
        assert (await source.block()).comment
        assert (await source.block()).comment
        await server.create()
        assert (await source.next()).event == "upload.created"


async def test_a_drain_ends_streams_and_their_clients_come_back(serve: Serve) -> None:
    """C10."""
    server = await serve(**OPEN)
    async with EventSource(server.port) as source:
        await source.next("live")
        server.tus.drain()
        with pytest.raises(Ended):
            await source.block()
    reply = await EventSource(server.port).open()
    assert reply.status == 200, "an EventSource never comes back after any other status"
    assert reply.body.startswith(b"retry: ")
    assert (await server.request("GET", "/events")).status == 503, "others are told as it is"


async def test_clients_that_leave_leave_nothing(serve: Serve) -> None:
    """R09."""
    server = await serve(**OPEN)
    before = len(asyncio.all_tasks())
    for _ in range(30):
        source = EventSource(server.port)
        await source.open()
        await source.close()
    await until(lambda: streams(server) == 0)
    assert server.tus._parts is not None
    assert len(server.tus._parts.streams.feed.hub) == 0
    await until(lambda: len(asyncio.all_tasks()) <= before + 2)


async def test_there_are_only_so_many(serve: Serve) -> None:
    """I10."""
    server = await serve(**OPEN, stream_most=2)
    async with EventSource(server.port), EventSource(server.port):
        reply = await server.request("GET", "/events")
        assert (reply.status, "retry-after" in reply) == (503, True)
    await until(lambda: streams(server) == 0)
    async with EventSource(server.port):
        pass


async def test_a_reader_that_reads_nothing_loses_nothing_and_holds_up_nobody(serve: Serve) -> None:
    """R06: what it does not take is not kept; once it reads, all of it is there."""
    server = await serve(**OPEN)
    async with EventSource(server.port, receive_bytes=4096) as lazy, EventSource(server.port) as quick:
        await lazy.next("live")
        await quick.next("live")
        metadata = "x " + "eHh4" * 1500
        targets = [await server.create(1, metadata=metadata) for _ in range(MOST_QUEUED + 200)]
        wanted = [upload_id(target) for target in targets]
        assert [(await quick.next()).cloudevent["subject"] for _ in wanted] == wanted
        assert server.tus._parts is not None
        (sub,) = [one for one in server.tus._parts.streams.feed.hub.subscriptions() if one._queue or one._behind]
        assert len(sub._queue) <= MOST_QUEUED
        assert [(await lazy.next()).cloudevent["subject"] for _ in wanted] == wanted

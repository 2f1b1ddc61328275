"""I10: what one reader, or all of them, can make the server hold; and that none outlives a drain."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from tests.support.streams import EventSource, receive, websocket
from tests.uploads.rig import until
from tests.web.conftest import Serve
from tests.web.served import Served, upload_id
from tuspy_server.access import Intent, RequestContext
from tuspy_server.edge.websocket import EdgeWebSocket
from tuspy_server.web import realtime as realtime_module
from tuspy_server.web import stream as stream_module
from tuspy_server.web.realtime import Realtime

MOST_SENT = 500


def realtime_of(server: Served) -> Realtime:
    assert server.tus._parts is not None
    return server.tus._parts.streams.realtime


class Client:
    """One that sits right at the application: it takes its time with each message, and `says` the same on and on."""

    def __init__(self, server: Served, says: str | None = None) -> None:
        self.server = server
        self.says = says
        self.sent: list[Any] = []
        self._begun = False

    async def receive(self) -> Any:
        if not self._begun:
            self._begun = True
            return {"type": "websocket.connect"}
        if self.says is None:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return {"type": "websocket.receive", "text": self.says}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        if len(self.sent) == 2:
            realtime_of(self.server).drain()
        if len(self.sent) > MOST_SENT:
            raise OSError
        for _ in range(5):
            await asyncio.sleep(0)

    async def talk(self, query: str = "") -> list[Any]:
        """What it is sent behind the moment when the server begins to drain."""
        scope = {
            "type": "websocket",
            "path": "/ws",
            "query_string": query.encode(),
            "headers": [],
            "subprotocols": [],
            "client": ("127.0.0.1", 1),
        }
        assert self.server.tus._parts is not None
        async with asyncio.timeout(20):
            await self.server.tus._parts.streams.sockets(scope, self.receive, self.send)
        return self.sent[2:]


async def test_a_slow_reader_holds_up_no_drain(serve: Serve) -> None:
    """Of what was read for it already, the rest comes again where it goes on."""
    server = await serve(api_open=True)
    for _ in range(10):
        await server.create(1, b"x")
    assert server.tus._parts is not None
    await server.tus._parts.stores.outbox.relay(100)
    assert await Client(server).talk("after=0") == [{"type": "websocket.close", "code": 1012}]


async def test_one_that_talks_on_and_on_holds_up_no_drain(serve: Serve) -> None:
    assert await Client(await serve(), "nonsense").talk() == [{"type": "websocket.close", "code": 1012}]


async def test_who_follows_nothing_gives_way(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may nothing at all could hold all streams."""
    server = await serve(stream_most=2)
    target = upload_id(await server.create(1))
    async with websocket(server.port, f"?upload={target}") as follower, websocket(server.port) as idle:
        assert (await receive(follower))["type"] == "live"
        assert "tuspy_streams 2.0" in (await server.request("GET", "/metrics")).text
        with pytest.raises(InvalidStatus):
            await websocket(server.port, f"?upload={target}").__aenter__()
        monkeypatch.setattr(stream_module, "IDLE_SECONDS", 0.0)
        with pytest.raises(InvalidStatus):
            await websocket(server.port, f"?upload={target}").__aenter__()
        with pytest.raises(ConnectionClosed):
            await receive(idle)
        await until(lambda: len(realtime_of(server)) == 1)
        async with websocket(server.port, f"?upload={target}") as connection:
            assert (await receive(connection))["type"] == "live"
        await server.patch(f"/files/{target}", 0, b"x")
        assert (await receive(follower))["type"].startswith("upload.")


@pytest.mark.parametrize(("kind", "path"), [("http", "/events"), ("websocket", "/ws")])
async def test_one_whose_host_cancels_it_while_it_is_granted_gives_its_place_back(
    serve: Serve, kind: str, path: str
) -> None:
    """R09: hosts with a deadline or a middleware of their own do that; it counted among the open ones for ever."""
    server = await serve()
    asked = asyncio.Event()

    @server.tus.authorize
    async def think(intent: Intent, request: RequestContext) -> bool:
        asked.set()
        await asyncio.Event().wait()
        return True

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {"type": kind, "method": "GET", "path": path, "query_string": b"upload=x", "headers": []}
    assert server.tus._parts is not None
    request = asyncio.create_task(server.tus._parts.streams(scope, Client(server).receive, send))
    async with asyncio.timeout(20):
        await asked.wait()
    assert len(realtime_of(server)) == 1
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert len(realtime_of(server)) == 0


async def test_all_subscriptions_of_a_process_are_bounded(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (realtime_module, stream_module):
        monkeypatch.setattr(module, "MOST_FOLLOWED", 3)
    monkeypatch.setattr(realtime_module, "FOLLOWED_EACH", 2)
    server = await serve(stream_most=2)
    targets = [upload_id(await server.create(1)) for _ in range(3)]
    async with websocket(server.port) as first, websocket(server.port) as second:
        for connection, count in ((first, 3), (second, 1)):
            for target in targets[:count]:
                await connection.send(json.dumps({"subscribe": {"upload": target}}))
                assert (await receive(connection))["type"] == "live"
        for connection, code in ((first, "too_many_subscriptions"), (second, "too_many_streams")):
            await connection.send(json.dumps({"subscribe": {"upload": targets[1], "type": "upload.finished"}}))
            assert (await receive(connection))["data"]["code"] == code


async def test_a_write_that_fails_is_one_readers(serve: Serve) -> None:
    """I12: the others were not told of that event, nor of those behind it, as long as they stayed."""
    server = await serve(api_open=True)
    failed: list[bytes] = []

    def fail(body: bytes) -> bool:
        failed.append(body)
        raise RuntimeError

    async with asyncio.timeout(20), EventSource(server.port) as first, EventSource(server.port) as second:
        for source in (first, second):
            await source.next("live")
        stream = next(iter(realtime_of(server)._streams))
        stream.write_now = fail
        await until(lambda: stream._is_pausing and not stream.wake.is_set())
        await server.create(1)
        for source in (first, second):
            await source.next("upload.created")
    assert failed


async def test_what_waits_of_a_flood_of_tiny_messages(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs six bytes on the wire, and two hundred here."""
    server = await serve()
    waiting: list[int] = []
    original = EdgeWebSocket.receive

    async def counting(connection: EdgeWebSocket) -> Any:
        waiting.append(connection.queue.qsize())
        return await original(connection)

    monkeypatch.setattr(EdgeWebSocket, "receive", counting)
    async with websocket(server.port) as connection:
        transport = connection.transport
        transport.write(Frame(Opcode.TEXT, b"").serialize(mask=True) * 30_000)
        transport.write(Frame(Opcode.TEXT, b'"last"').serialize(mask=True))
        for _ in range(30_001):
            assert (await receive(connection))["type"] == "error"
    assert max(waiting) < 1000

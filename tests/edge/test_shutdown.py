"""uvicorn stops: what is idle is closed, what is under way is answered, within a deadline."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.edge.serving import echo, read_body, respond, serving, until
from tests.web.wire import Wire, head
from tuspy_server.edge.options import EdgeOptions


async def test_every_kind_of_connection_ends_well() -> None:
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        match scope["path"]:
            case "/lingering":
                await respond(send, b"no", 409)
            case "/answering":
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"7")]})
                await send({"type": "http.response.body", "body": b"one", "more_body": True})
                await go.wait()
                await send({"type": "http.response.body", "body": b" two"})
            case _:
                body, _ = await read_body(receive)
                await respond(send, body)

    async with serving(app, options=EdgeOptions(linger_seconds=0.3)) as edge:
        wires: dict[str, Wire] = {}
        for name in ("idle", "kept", "begun", "receiving", "lingering", "answering"):
            wires[name] = await edge.connect()
        assert (await wires["kept"].request("GET", "/kept")).status == 200
        await wires["begun"].send(b"GET / HTT")
        await wires["receiving"].send(head("PATCH", "/receiving", {"Content-Length": "6"}) + b"one")
        await wires["lingering"].send(head("PATCH", "/lingering", {"Content-Length": "6"}) + b"one")
        await wires["answering"].send(head("GET", "/answering"))
        assert (await wires["lingering"].receive()).body == b"no"
        await wires["answering"].reader.readuntil(b"one")
        await until(lambda: edge.connections == 6)

        stopping = asyncio.ensure_future(edge.server.shutdown())
        for name in ("idle", "kept", "begun"):
            assert await asyncio.wait_for(wires[name].reader.read(), 20) == b""
        await wires["receiving"].send(b"two")
        reply = await wires["receiving"].receive()
        assert (reply.body, reply["connection"]) == (b"onetwo", "close")
        go.set()
        assert await asyncio.wait_for(wires["answering"].reader.read(), 20) == b" two"
        await asyncio.wait_for(stopping, 20)
        assert edge.connections == 0


async def test_requests_pipelined_behind_the_last_one_are_not_begun() -> None:
    """Their client could not know what became of them."""
    paths: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["path"])
        if scope["path"] == "/first":
            for connection in list(edge.server.server_state.connections):
                connection.shutdown()
        await respond(send)

    async with serving(app) as edge:
        text = await edge.exchange(head("GET", "/first") + head("GET", "/second"))
        assert paths == ["/first"]
        assert text.count(b"HTTP/1.1 200") == 1


async def test_a_shutdown_between_two_pipelined_requests_does_not_begin_the_second() -> None:
    paths: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["path"])
        await respond(send)
        for connection in list(edge.server.server_state.connections):
            connection.shutdown()

    async with serving(app) as edge:
        await edge.exchange(head("GET", "/first") + head("GET", "/second"))
        assert paths == ["/first"]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("PATCH", "/silent", 503), ("HEAD", "/silent", 423), ("GET", "/started", 200)]
)
async def test_a_request_that_outlives_the_deadline_is_cancelled(method: str, path: str, status: int) -> None:
    """Its client is told to come again, by what tus-js-client does not begin anew after."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if path == "/started":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await asyncio.Event().wait()

    async with serving(app, timeout_graceful_shutdown=0.1) as edge:
        wire = await edge.connect()
        await wire.send(head(method, path))
        await until(lambda: edge.server.server_state.tasks)
        await asyncio.sleep(0)
        await edge.server.shutdown()
        text = await asyncio.wait_for(wire.reader.read(), 20)
        assert text.startswith(b"HTTP/1.1 %d" % status)
        assert (b"retry-after: " in text) == (path == "/silent")
        assert not text.endswith(b"0\r\n\r\n")


async def test_echo_is_not_disturbed_by_a_shutdown_that_is_called_twice() -> None:
    async with serving(echo) as edge:
        wire = await edge.connect()
        await wire.send(head("PATCH", "/", {"Content-Length": "2"}))
        await until(lambda: edge.server.server_state.tasks)
        for _ in range(2):
            for connection in list(edge.server.server_state.connections):
                connection.shutdown()
        await wire.send(b"ab")
        assert (await wire.receive()).body == b"PATCH / ab"

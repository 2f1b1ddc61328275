"""The change to a WebSocket: uvicorn's own class takes the connection over, with what has been received."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from typing import Any, Final

import pytest

from tests.edge.serving import Tls, echo, serving, until
from tests.web.wire import Wire, chunked, head
from tuspy_server.edge.websocket import EdgeWebSocket

pytest.importorskip("websockets")

UPGRADE: Final = head(
    "GET",
    "/ws",
    {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    },
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await echo(scope, receive, send)
        return
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"] * 2})


def frame(data: bytes) -> bytes:
    key = os.urandom(4)
    return struct.pack("!BB", 0x82, 0x80 | len(data)) + key + bytes(b ^ key[i % 4] for i, b in enumerate(data))


async def answer(wire: Wire) -> bytes:
    _, length = await wire.reader.readexactly(2)
    return await wire.reader.readexactly(length)


@pytest.mark.parametrize("before", ["nothing", "known", "chunked"])
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("secure", [False, True])
async def test_an_upgrade_is_served_after_any_request(tls: Tls, before: str, *, together: bool, secure: bool) -> None:
    first = {
        "nothing": b"",
        "known": head("PATCH", "/", {"Content-Length": "5"}) + b"01234",
        "chunked": head("PATCH", "/", {"Transfer-Encoding": "chunked"}) + chunked(b"01234"),
    }[before]
    async with serving(app, ws="websockets-sansio", **(tls.server if secure else {})) as edge:
        wire = await edge.connect(ssl=tls.client if secure else None)
        if together:
            await wire.send(first + UPGRADE)
        else:
            await wire.send(first)
        if first:
            assert (await wire.receive()).body == b"PATCH / 01234"
        if not together:
            await wire.send(UPGRADE)
        assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        for data in (b"hello", b"again"):
            await wire.send(frame(data))
            assert await answer(wire) == data * 2
        await wire.close()
        await until(lambda: edge.connections == 0)


async def test_an_upgrade_that_is_not_served_is_a_plain_request() -> None:
    async with serving(app, ws="none") as edge:
        wire = await edge.connect()
        await wire.send(UPGRADE)
        assert (await wire.receive()).body == b"GET /ws "
        fields = {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AAA"}
        assert (await wire.request("PATCH", "/h2c", fields, b"body")).body == b"PATCH /h2c body"
        await wire.close()


@pytest.mark.parametrize("bad", ["post", "body", "chunked", "long", "http10"])
async def test_what_is_no_handshake_is_answered(bad: str) -> None:
    """uvicorn's class would say nothing and wait for ever, for a connection that no deadline ends (I10)."""
    raw = {
        "post": UPGRADE.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc"),
        "body": UPGRADE.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc"),
        "chunked": UPGRADE.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        "long": UPGRADE.replace(b"\r\n\r\n", b"\r\nX-Long: " + b"x" * 10_000 + b"\r\n\r\n"),
        "http10": UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"),
    }[bad]
    async with serving(app, ws=EdgeWebSocket) as edge:
        wire = await edge.connect()
        await wire.send(raw)
        async with asyncio.timeout(10):
            assert (await wire.receive()).status == (400 if bad == "long" else 200)
        await wire.close()

"""`/ws` on the wire: CloudEvents and STOMP, under uvicorn's HTTP class and under ours."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from tests.support.streams import StompClient, receive, receive_until, stomp, websocket
from tests.uploads.rig import until
from tests.web.conftest import ON_BOTH_CLASSES, Serve
from tests.web.served import Served, upload_id
from tuspy_server.edge.websocket import MESSAGE_BYTES

pytestmark = ON_BOTH_CLASSES

OPEN = {"api_open": True}


def streams(server: Served) -> int:
    assert server.tus._parts is not None
    return len(server.tus._parts.streams.realtime)


async def refused(port: int, query: str = "", **named: Any) -> int:
    with pytest.raises(InvalidStatus) as caught:
        async with websocket(port, query, **named):
            pass
    return caught.value.response.status_code


# --- cloudevents.json ------------------------------------------------------------------------------------------------


async def test_each_message_is_one_cloudevent(serve: Serve) -> None:
    server = await serve()
    target = await server.create(10)
    async with websocket(server.port, f"?upload={upload_id(target)}") as connection:
        assert connection.subprotocol == "cloudevents.json"
        assert (await receive(connection))["type"] == "live"
        await server.patch(target, 0, bytes(4))
        await server.patch(target, 4, bytes(6))
        *progress, finished = await receive_until(connection, lambda event: event["type"] == "upload.finished")
    assert [event["data"]["upload_offset"] for event in progress] == [4]
    assert (finished["subject"], finished["cursor"][:2]) == (upload_id(target), "2-")


async def test_subscriptions_by_message(serve: Serve) -> None:
    server = await serve()
    first, second = await server.create(1), await server.create(1)
    async with websocket(server.port) as connection:
        for target in (first, second, second):
            await connection.send(json.dumps({"subscribe": {"upload": upload_id(target), "after": "0"}}))
        events = await receive_until(
            connection, lambda event: event["subject" if "subject" in event else "type"] == upload_id(second)
        )
        assert [event["type"] for event in events if event["type"] != "live"] == ["upload.created"] * 2
        await connection.send(json.dumps({"unsubscribe": {"upload": upload_id(first)}}))
        await connection.send(json.dumps({"subscribe": {"upload": "unknown"}}))
        error = (await receive_until(connection, lambda event: event["type"] == "error"))[-1]
        assert (error["data"]["status"], error["data"]["code"]) == (404, "upload_not_found")
        await server.patch(first, 0, b"x")
        await server.patch(second, 0, b"x")
        event = (await receive_until(connection, lambda event: event["type"] == "upload.finished"))[-1]
        assert event["subject"] == upload_id(second)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        "null",
        '{"subscribe": 1}',
        '{"subscribe": {}, "unsubscribe": {}}',
        '{"subscribe": {"upload": 1}}',
        '{"subscribe": {"upload": "../x"}}',
        '{"subscribe": {"colour": "red"}}',
        '{"subscribe": {"type": ["nonsense"]}}',
        '{"subscribe": {"after": "nonsense"}}',
        "[" * 20_000,
        b"\xff\xfe",
    ],
)
async def test_a_message_that_makes_no_sense_is_answered(serve: Serve, message: str | bytes) -> None:
    """I11."""
    server = await serve(**OPEN)
    async with websocket(server.port) as connection:
        await connection.send(message)
        event = await receive(connection)
        assert (event["type"], event["data"]["status"]) == ("error", 400)
        await connection.send('{"subscribe": {}}')
        assert (await receive(connection))["type"] == "live"


async def test_handshakes_that_are_refused(serve: Serve) -> None:
    """X15, X16, I9."""
    server = await serve(api_token="secret", cors_origins=("https://app.example",))
    port = server.port
    assert await refused(port, subprotocols=("graphql-ws",)) == 400
    assert await refused(port, "?type=nonsense") == 400
    assert await refused(port, "?type=upload.finished") == 401
    assert await refused(port, "?upload=unknown") == 404
    assert await refused(port, "?job=unknown") == 404
    assert await refused(port, origin=Origin("https://evil.example")) == 403
    async with websocket(port, "?type=upload.finished&access_token=secret", origin=Origin("https://app.example")):
        pass
    async with websocket(port, origin=Origin(f"http://127.0.0.1:{port}"), subprotocols=()) as connection:
        assert connection.subprotocol is None
    await until(lambda: streams(server) == 0)
    async with websocket(port) as connection:
        await connection.send('{"subscribe": {}}')
        assert (await receive(connection))["data"]["status"] == 401


async def test_no_other_path_is_a_websocket(serve: Serve) -> None:
    server = await serve(**OPEN)
    from websockets.asyncio.client import connect  # noqa: PLC0415

    for path in ("/events", "/files/", "/ws/x", "/", "/api/uploads"):
        with pytest.raises(InvalidStatus):
            async with connect(f"ws://127.0.0.1:{server.port}{path}", proxy=None):
                pass
    assert (await server.request("GET", "/ws")).status == 404


async def test_a_drain_says_come_back(serve: Serve) -> None:
    """C10."""
    server = await serve(**OPEN)
    async with websocket(server.port, "?after=0") as connection, stomp(server.port) as client:
        await receive(connection)
        await client.connect()
        server.tus.drain()
        for one in (connection, client.connection):
            with pytest.raises(ConnectionClosed) as caught:
                await one.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1012
    assert await refused(server.port) == 503


async def test_a_message_that_is_too_large_ends_the_connection(serve: Serve) -> None:
    """R06, I10."""
    server = await serve(**OPEN)
    async with websocket(server.port) as connection:
        await connection.send("x" * (MESSAGE_BYTES + 1))
        with pytest.raises(ConnectionClosed) as caught:
            await connection.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009
    async with websocket(server.port) as connection:
        with suppress(ConnectionClosed):
            await connection.send(b"" for _ in range(100_000))
        await asyncio.wait_for(connection.wait_closed(), 10)
        assert connection.close_code == 1009
    await until(lambda: streams(server) == 0)


async def test_clients_that_leave_leave_nothing(serve: Serve) -> None:
    """R09."""
    server = await serve(**OPEN)
    before = len(asyncio.all_tasks())
    for number in range(30):
        async with websocket(server.port, "?after=0") as connection:
            if number % 2:
                connection.transport.abort()
    await until(lambda: streams(server) == 0)
    assert server.tus._parts is not None
    assert len(server.tus._parts.streams.feed.hub) == 0
    await until(lambda: len(asyncio.all_tasks()) <= before + 2)


async def test_a_client_that_pings_and_never_reads_fills_no_memory(serve: Serve) -> None:
    """R06: pongs wait as events do; then no more is read."""
    server = await serve(**OPEN)
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    own.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(own, ("127.0.0.1", server.port))
    key = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    await loop.sock_sendall(own, f"{key}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode())
    assert (await loop.sock_recv(own, 4096)).startswith(b"HTTP/1.1 101")
    ping = b"\x89\xfd\0\0\0\0" + bytes(125)

    async def flood() -> None:
        for _ in range(2000):
            await loop.sock_sendall(own, ping * 1000)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(flood(), 3)
    own.close()
    await until(lambda: streams(server) == 0)


# --- STOMP -----------------------------------------------------------------------------------------------------------


async def test_stomp_from_connect_to_disconnect(serve: Serve) -> None:
    server = await serve()
    target = await server.create(10)
    async with stomp(server.port) as client:
        assert client.connection.subprotocol == "v12.stomp"
        assert (await client.connect()).command == "CONNECTED"
        await client.send("SUBSCRIBE", id="a", destination=f"/topic/upload/{upload_id(target)}", receipt="r1")
        receipt = await client.frame()
        assert (receipt.headers["receipt-id"], receipt.headers["cursor"][:2]) == ("r1", "1-")
        await server.patch(target, 0, bytes(3))
        progress = await client.message()
        assert progress.headers["type"] == "upload.progress"
        await server.patch(target, 3, bytes(7))
        finished = await client.message("upload.finished")
        assert finished.headers["subscription"] == "a"
        assert finished.headers["destination"] == f"/topic/upload/{upload_id(target)}"
        assert json.loads(finished.body)["subject"] == upload_id(target)
        await client.send("UNSUBSCRIBE", id="a", receipt="r2")
        assert (await client.frame()).headers["receipt-id"] == "r2"
        await client.send("DISCONNECT", receipt="r3")
        assert (await client.frame()).headers["receipt-id"] == "r3"
        with pytest.raises(ConnectionClosed):
            await client.connection.recv()
    await until(lambda: streams(server) == 0)


async def test_stomp_goes_on_from_a_cursor(serve: Serve) -> None:
    """N10."""
    server = await serve(**OPEN)
    cursor, seen = "0", []
    wanted = [upload_id(await server.create(1, b"x")) for _ in range(8)]
    for _ in range(16):
        async with stomp(server.port) as client:
            await client.connect()
            await client.send("SUBSCRIBE", id="a", destination="/topic/events", after=cursor)
            message = await client.message()
            cursor = message.headers["cursor"]
            seen.append(json.loads(message.body)["subject"])
    assert seen == [subject for subject in wanted for _ in range(2)]
    async with stomp(server.port) as client:
        await client.connect()
        await client.send("SUBSCRIBE", id="a", destination="/topic/events", after="3-ffffffff")
        assert [(await client.message()).headers["type"] for _ in range(2)] == ["gap", "upload.created"]


async def ending(client: StompClient) -> dict[str, str]:
    """The ERROR, which must be the last word."""
    frame = await client.frame()
    assert frame.command == "ERROR"
    with pytest.raises(ConnectionClosed):
        await client.connection.recv()
    return dict(frame.headers)


async def test_stomp_refuses_what_the_authority_refuses(serve: Serve) -> None:
    """X15, I9: unknown and foreign alike."""
    server = await serve(api_token="secret")
    for destination, status in {
        "/topic/events": "401",
        "/topic/upload/unknown": "404",
        "/topic/job/unknown": "404",
    }.items():
        async with stomp(server.port) as client:
            await client.connect()
            await client.send("SUBSCRIBE", id="a", destination=destination, receipt="r")
            error = await ending(client)
            assert (error["status"], error["receipt-id"]) == (status, "r")
    async with stomp(server.port) as client:
        await client.connect(Authorization="Bearer secret")
        await client.send("SUBSCRIBE", id="a", destination="/topic/events", receipt="r")
        assert (await client.frame()).command == "RECEIPT"


async def test_nobody_sends(serve: Serve) -> None:
    server = await serve(**OPEN)
    async with stomp(server.port) as client:
        await client.connect()
        await client.send("SEND", destination="/topic/events")
        assert "nothing can be sent" in (await ending(client))["message"]


async def test_heartbeats_go_both_ways(serve: Serve) -> None:
    server = await serve(**OPEN, stream_heartbeat_seconds=0.1)
    async with stomp(server.port) as client:
        connected = await client.connect("50,50")
        assert connected.headers["heart-beat"] == "100,100"
        await client.send("SUBSCRIBE", id="a", destination="/topic/events", receipt="r")
        assert (await client.frame()).command == "RECEIPT"
        for _ in range(4):
            assert await client.connection.recv() == "\n"
            await client.connection.send("\n")
        assert "heart-beat" in (await ending(client))["message"]
    async with stomp(server.port) as client:
        await client.connect("0,50")
        for _ in range(4):
            assert await client.connection.recv() == "\n"


async def test_a_client_that_never_connects_is_not_waited_for(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuspy_server.web.websocket.BEGIN_SECONDS", 0.2)
    server = await serve(**OPEN)
    async with stomp(server.port) as client:
        await client.connection.send("\n")
        await ending(client)
    await until(lambda: streams(server) == 0)


async def test_one_connection_follows_only_so_much(serve: Serve) -> None:
    """I10."""
    server = await serve(**OPEN)
    topics = [f"/topic/upload/{upload_id(await server.create(10))}" for _ in range(13)]
    async with stomp(server.port) as client:
        await client.connect()
        for number in range(101):
            await client.send("SUBSCRIBE", id=str(number), destination=topics[number % 13])
        assert (await ending(client))["code"] == "too_many_subscriptions"

"""Several requests on one connection: what belongs to which, and when the connection ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.edge.serving import Edge, Tls, echo, respond, serving
from tests.web.wire import Wire, chunked, head

GET = head("GET", "/next")
KNOWN = head("PATCH", "/known", {"Content-Length": "10"}) + b"0123456789"
CHUNKED = head("PATCH", "/chunked", {"Transfer-Encoding": "chunked"}) + chunked(b"01234", b"56789")
BIG = b"x" * 300_000


async def test_a_connection_serves_many_requests() -> None:
    async with serving(echo) as edge:
        wire = await edge.connect()
        for count in range(20):
            reply = await wire.request("PATCH", f"/{count}", body=b"a" * count)
            assert reply.body == f"PATCH /{count} ".encode() + b"a" * count
        assert edge.connections == 1
        assert edge.server.server_state.total_requests == 20
        await wire.close()


@pytest.mark.parametrize("split", ["whole", "bytes", "two"])
async def test_pipelined_requests_are_answered_in_their_order(split: str) -> None:
    data = KNOWN + GET + CHUNKED + GET + head("POST", "/big", {"Content-Length": str(len(BIG))}) + BIG + KNOWN
    pieces = {"whole": [data], "two": [data[:200], data[200:]], "bytes": [data[i : i + 1] for i in range(500)]}[split]
    if split == "bytes":
        pieces.append(data[500:])
    async with serving(echo) as edge:
        wire = await edge.connect()
        for piece in pieces:
            await wire.send(piece)
            await asyncio.sleep(0)
        bodies = [(await wire.receive()).body for _ in range(6)]
        assert bodies == [
            b"PATCH /known 0123456789",
            b"GET /next ",
            b"PATCH /chunked 0123456789",
            b"GET /next ",
            b"POST /big " + BIG,
            b"PATCH /known 0123456789",
        ]
        await wire.close()


async def test_whole_requests_before_a_half_close_are_all_answered() -> None:
    """A client may close its side as soon as it has sent everything (`nc`, HTTP/1.0 clients)."""
    async with serving(echo) as edge:
        wire = await edge.connect()
        await wire.send(KNOWN + GET + CHUNKED)
        wire.writer.write_eof()
        text = await asyncio.wait_for(wire.reader.read(), 20)
        assert text.count(b"HTTP/1.1 200 OK") == 3
        assert text.endswith(b"PATCH /chunked 0123456789")
        await wire.close()


@pytest.mark.parametrize(
    ("request_head", "stays"),
    [
        (head("GET", "/"), True),
        (head("GET", "/", {"Connection": "close"}), False),
        (head("PATCH", "/", {"Connection": "Close", "Content-Length": "0"}), False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
async def test_the_client_says_whether_the_connection_stays(
    request_head: bytes, stays: bool
) -> None:  # a table's column
    async with serving(echo) as edge:
        wire = await edge.connect()
        await wire.send(request_head)
        reply = await wire.receive()
        assert ("close" in reply.members("connection")) is not stays
        if b"HTTP/1.0" in request_head and stays:
            assert "keep-alive" in reply.members("connection")
        if stays:
            assert (await wire.request("GET", "/again")).body == b"GET /again "
        else:
            assert await asyncio.wait_for(wire.reader.read(), 20) == b""
        await wire.close()


async def test_the_application_may_end_the_connection() -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        await respond(send, b"bye", headers=[(b"content-length", b"3"), (b"Connection", b"close")])

    async with serving(app) as edge:
        text = await edge.exchange(GET)
        assert text.lower().count(b"connection: close") == 1
        assert text.endswith(b"bye")


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async with serving(echo, timeout_keep_alive=0.05) as edge:
        wire = await edge.connect()
        assert (await wire.request("GET", "/")).status == 200
        assert await asyncio.wait_for(wire.reader.read(), 20) == b""
        await wire.close()


async def test_a_request_without_a_body_and_one_with_it_work_over_tls(tls: Tls) -> None:
    async with serving(echo, **tls.server) as edge:
        wire = await edge.connect(ssl=tls.client)
        await wire.send(KNOWN + GET + CHUNKED + head("POST", "/big", {"Content-Length": str(len(BIG))}) + BIG)
        bodies = [(await wire.receive()).body for _ in range(4)]
        assert bodies[0] == b"PATCH /known 0123456789"
        assert bodies[3] == b"POST /big " + BIG
        await wire.close()


async def test_a_client_over_tls_may_close_at_once(tls: Tls) -> None:
    """TLS cannot be half-closed; asyncio would log a warning if we tried."""

    async def slow(scope: object, receive: object, send: object) -> None:
        await asyncio.sleep(0.05)
        await respond(send, b"")

    async with serving(slow, **tls.server) as edge:
        wire = await edge.connect(ssl=tls.client)
        await wire.send(GET)
        await wire.close()


async def test_unix_sockets_work(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with serving(echo, uds=path):
        wire = Wire(*await asyncio.open_unix_connection(path))
        await wire.send(KNOWN + GET)
        assert [(await wire.receive()).body for _ in range(2)] == [b"PATCH /known 0123456789", b"GET /next "]
        await wire.close()


async def test_a_client_that_pipelines_but_does_not_read_is_no_longer_read() -> None:
    """Memory is bounded by settings (I10): small requests for large answers must not pile these up."""
    served = 0

    async def app(scope: object, receive: object, send: object) -> None:
        nonlocal served
        served += 1
        await respond(send, b"x" * 65536)

    async with serving(app) as edge:
        client = edge.socket()
        client.setblocking(False)
        sent = await _send_all_that_fits(client, GET * 100)
        assert sent < 200_000 * len(GET)
        await _quiet(lambda: served)
        # What the kernel takes for the client, and no more than a little above it in our memory.
        assert _buffered(edge) < 1 << 20
        client.close()


async def _send_all_that_fits(client: object, data: bytes) -> int:
    sent, idle = 0, 0
    while idle < 50:
        try:
            sent += client.send(data)  # type: ignore[attr-defined]  # a socket
            idle = 0
        except BlockingIOError:
            idle += 1
        await asyncio.sleep(0.002)
        assert sent < 20_000_000, "the server reads requests for ever"
    return sent


async def _quiet(count: object) -> None:
    last, same = -1, 0
    async with asyncio.timeout(20):
        while same < 25:
            now = count()  # type: ignore[operator]  # a lambda
            same = same + 1 if now == last else 0
            last = now
            await asyncio.sleep(0.002)


def _buffered(edge: Edge) -> int:
    return sum(
        connection._transport.get_write_buffer_size()  # type: ignore[union-attr]  # our own class
        for connection in edge.server.server_state.connections
    )

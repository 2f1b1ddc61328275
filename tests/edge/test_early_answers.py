"""Answers before the end of the request's body (fault N08), and applications that do not read, answer, or survive."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any, Final

import pytest

from tests.edge.serving import Tls, read_body, respond, serving, until
from tests.web.wire import chunked, head
from tuspy_server.edge.options import EdgeOptions
from tuspy_server.ports import BODY_EXTENSION
from tuspy_server.protocol.errors import ClientDisconnected

HUGE: Final = 100 << 20
PATCH: Final = head("PATCH", "/", {"Content-Length": str(HUGE)})


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    await respond(send, b"no", 409)


def _send_then_read(client: socket.socket, count: int) -> tuple[int, bytes]:
    """As a simple client does: it reads nothing before it has sent everything. Returns what it sent and read."""
    block, sent = b"x" * (1 << 20), 0
    client.sendall(PATCH)
    while sent < count:
        client.sendall(block)
        sent += len(block)
    client.shutdown(socket.SHUT_WR)
    answer = b""
    while data := client.recv(65536):
        answer += data
    return sent, answer


async def test_a_client_that_sends_its_whole_body_first_still_reads_the_early_answer() -> None:
    async with serving(refusing) as edge:
        client = edge.socket()
        sent, answer = await asyncio.to_thread(_send_then_read, client, HUGE)
        client.close()
        assert sent == HUGE
        assert answer.startswith(b"HTTP/1.1 409")
        assert b"connection: close" in answer
        assert answer.endswith(b"no")


async def test_the_bytes_taken_after_an_early_answer_are_bounded() -> None:
    async with serving(refusing, options=EdgeOptions(linger_bytes=4 << 20)) as edge:
        client = edge.socket()
        with pytest.raises(OSError):  # noqa: PT011  # reset or broken pipe, as the kernel likes
            await asyncio.to_thread(_send_then_read, client, HUGE)
        client.close()


async def test_the_time_after_an_early_answer_is_bounded() -> None:
    async with serving(refusing, options=EdgeOptions(linger_seconds=0.1)) as edge:
        client = edge.socket()
        client.sendall(PATCH + b"some")
        await until(lambda: edge.server.server_state.total_requests == 1)
        await until(lambda: edge.connections == 0)
        assert client.recv(65536).endswith(b"no")
        client.close()


async def test_a_client_that_goes_on_sending_has_more_time_to_look_for_its_answer() -> None:
    """CORE-PATCH-26, N08: on a slow line it takes longer than an idle client is waited for; but not for ever."""
    async with serving(refusing, options=EdgeOptions(linger_seconds=0.2, linger_most_seconds=1.0)) as edge:
        client, began = edge.socket(), time.monotonic()
        client.sendall(PATCH + b"some")

        async def send_until_it_is_reset() -> None:
            with pytest.raises(OSError):  # noqa: PT011, PT012  # as above; whichever send meets the reset
                while True:
                    client.sendall(b"more")
                    await asyncio.sleep(0.02)

        await asyncio.wait_for(send_until_it_is_reset(), 30)
        assert time.monotonic() - began >= 0.8
        client.close()


async def test_an_early_answer_is_readable_over_tls(tls: Tls) -> None:
    async with serving(refusing, **tls.server) as edge:
        answers: list[bytes] = []

        def send() -> None:
            with edge.socket() as plain, tls.client.wrap_socket(plain, server_hostname="127.0.0.1") as client:
                client.sendall(PATCH)
                for _ in range(20):
                    client.sendall(b"x" * (1 << 20))
                answers.append(client.recv(65536))

        await asyncio.to_thread(send)
        assert answers[0].endswith(b"no")


async def test_a_listener_that_is_cancelled_does_not_stop_what_is_thrown_away() -> None:
    """Found here: the cancelled read paused the socket, so that the client met a reset instead of its answer."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        listener = asyncio.ensure_future(read_body(receive))
        await asyncio.sleep(0)
        listener.cancel()
        await respond(send, b"no", 409)

    async with serving(app) as edge:
        client = edge.socket()
        sent, answer = await asyncio.to_thread(_send_then_read, client, 20 << 20)
        client.close()
        assert (sent, answer[-2:]) == (20 << 20, b"no")


async def test_readers_are_told_when_the_answer_ends_the_request() -> None:
    told: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"no", 409)
        told.append((await receive())["type"])
        with pytest.raises(ClientDisconnected):
            await scope["extensions"][BODY_EXTENSION].readinto(memoryview(bytearray(10)))
        told.append("direct")

    async with serving(app) as edge:
        client = edge.socket()
        client.sendall(PATCH)
        await until(lambda: told == ["http.disconnect", "direct"])
        client.close()


async def test_a_small_body_that_came_along_keeps_the_connection() -> None:
    async with serving(refusing) as edge:
        wire = await edge.connect()
        for _ in range(3):
            assert (await wire.request("PATCH", "/", body=b"unread")).status == 409
        await wire.send(head("PATCH", "/", {"Transfer-Encoding": "chunked"}) + chunked(b"unread"))
        assert (await wire.receive()).status == 409
        assert edge.connections == 1
        await wire.close()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("when", ["at once", "after the start", "wrong header", "wrong length", "no answer"])
async def test_an_application_that_crashes_before_its_answer_is_500(method: str, when: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if when == "no answer":
            return
        if when == "wrong header":
            await respond(send, b"", headers=[(b"x-bad", b"a\r\nInjected: yes")])
        if when == "wrong length":
            await respond(send, b"toolong" if method == "GET" else b"", headers=[(b"content-length", b"x")])
        if when == "after the start":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    async with serving(app) as edge:
        answer = await edge.exchange(head(method, "/"))
        assert answer.startswith(b"HTTP/1.1 500")
        assert answer.partition(b"\r\n\r\n")[2] == (b"internal error\n" if method == "GET" else b"")
        edge.crashes = 1


@pytest.mark.parametrize("framing", [[], [(b"content-length", b"100")]])
async def test_an_application_that_crashes_in_its_answer_never_makes_a_whole_one(framing: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": framing})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ZeroDivisionError

    async with serving(app) as edge:
        edge.crashes = 1
        answer = await edge.exchange(head("GET", "/"))
        assert b"half" in answer
        assert not answer.endswith(b"0\r\n\r\n")


async def test_a_body_longer_than_its_length_is_a_request_that_is_refused() -> None:
    async with serving(refusing) as edge:
        answer = await edge.exchange(head("PATCH", "/", {"Content-Length": "3"}) + b"abc" + b"x" * 500_000)
        assert answer.count(b"HTTP/1.1 4") == 2
        assert b"HTTP/1.1 409" in answer
        assert b"HTTP/1.1 400" in answer

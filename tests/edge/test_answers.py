"""Responses on the wire: framing, informational ones, and a client that does not read (RFC 9110, 9112; I10)."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.edge.serving import Tls, echo, read_body, respond, serving, until
from tests.web.wire import chunked, head
from tuspy_server.ports import BODY_EXTENSION

EXPECT = {"Content-Length": "5", "Expect": "100-continue"}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("direct", [True, False])
async def test_100_continue_is_sent_when_the_application_reads(*, direct: bool) -> None:
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        if direct:
            await scope["extensions"][BODY_EXTENSION].readinto(memoryview(bytearray(5)))
        else:
            await read_body(receive)
        await respond(send, b"ok")

    async with serving(app) as edge:
        wire = await edge.connect()
        for _ in range(2):
            go.clear()
            await wire.send(head("PATCH", "/", EXPECT))
            await until(lambda: edge.server.server_state.tasks)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(wire.reader.readexactly(1), 0.05)
            go.set()
            assert await wire.reader.readuntil(b"\r\n\r\n") == CONTINUE
            await wire.send(b"01234")
            assert (await wire.receive()).body == b"ok"
        await wire.close()


async def test_no_100_continue_before_an_early_final_answer() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"no", 409)

    async with serving(app) as edge:
        wire = await edge.connect()
        await wire.send(head("PATCH", "/", EXPECT))
        assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 409")
        await wire.close()


async def test_no_100_continue_where_the_body_is_there_or_the_client_does_not_wait() -> None:
    async with serving(echo) as edge:
        for request in (
            head("PATCH", "/", EXPECT) + b"01234",
            head("PATCH", "/", {"Content-Length": "5"}) + b"01234",
            head("PATCH", "/", {"Content-Length": "0", "Expect": "100-continue"}),
            b"PATCH / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n01234",
        ):
            client = edge.socket()
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            answer = await asyncio.to_thread(_read_all, client)
            assert answer.startswith(b"HTTP/1.1 200")


def _read_all(client: socket.socket) -> bytes:
    answer = b""
    with client:
        while data := client.recv(65536):
            answer += data
    return answer


async def test_informational_answers_come_before_the_final_one() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for number in (b"1", b"2"):
            message = {"type": "http.response.informational", "status": 104, "headers": [(b"upload-offset", number)]}
            await send(message)
        await respond(send, b"ok")

    async with serving(app) as edge:
        answer = await edge.exchange(head("GET", "/", {"Connection": "close"}))
        first, second, final = answer.split(b"\r\n\r\n")[:3]
        assert first.startswith(b"HTTP/1.1 104")
        assert second.endswith(b"upload-offset: 2")
        assert final.startswith(b"HTTP/1.1 200")
        # RFC 9110 15.2: HTTP/1.0 knows none.
        assert (await edge.exchange(b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("status", [200, 201, 204, 304, 404])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("framing", ["length", "none"])
async def test_an_answer_ends_where_the_next_one_begins(status: int, method: str, framing: str) -> None:
    """An application's body where there is none (HEAD, 204, 304) is not sent: it would be the next answer."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        bodyless = status in (204, 304)
        headers = [(b"content-length", b"4")] if framing == "length" and not bodyless else []
        await respond(send, b"body", status, headers)

    async with serving(app) as edge:
        wire = await edge.connect()
        for _ in range(3):
            await wire.send(head(method, "/"))
            reply = await wire.receive("HEAD" if status in (204, 304) else method)
            expected = b"" if method == "HEAD" or status in (204, 304) else b"body"
            assert (reply.status, reply.body) == (status, expected)
        await wire.close()


async def test_a_body_of_unknown_length_to_http_1_0_ends_with_the_connection() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    async with serving(app) as edge:
        answer = await edge.exchange(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert answer.endswith(b"\r\n\r\none two")
        assert b"connection: close" in answer


async def test_trailers_are_kept_apart_from_headers() -> None:
    """TRLR-04: a trailer must not pass for a header that the head's checks have let through."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        source = scope["extensions"][BODY_EXTENSION]
        assert source.trailers == []
        body, _ = await read_body(receive)
        seen.append((body, dict(scope["headers"]), source.trailers))
        await respond(send)

    async with serving(app) as edge:
        wire = await edge.connect()
        fields = {"Transfer-Encoding": "chunked", "Trailer": "Upload-Checksum", "Upload-Offset": "0"}
        body = chunked(b"hello")[:-2] + b"Upload-Checksum: sha1 abc\r\nUpload-Offset: 99\r\n\r\n"
        await wire.send(head("PATCH", "/", fields) + body)
        assert (await wire.receive()).status == 200
        got, headers, trailers = seen[0]
        assert got == b"hello"
        assert headers[b"upload-offset"] == b"0"
        assert b"upload-checksum" not in headers
        assert trailers == [(b"upload-checksum", b"sha1 abc"), (b"upload-offset", b"99")]
        await wire.close()


@pytest.mark.parametrize("secure", [False, True])
async def test_memory_is_bounded_for_a_client_that_does_not_read(tls: Tls, *, secure: bool) -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            sent += 65536
        await send({"type": "http.response.body", "body": b""})

    async with serving(app, **(tls.server if secure else {})) as edge:
        wire = await edge.connect(ssl=tls.client if secure else None)
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads, too
        await wire.send(head("GET", "/"))
        last = -1
        while sent != last:
            last = sent
            await asyncio.sleep(0.1)
        assert 0 < sent < 20_000_000
        wire.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
        total = 0
        async with asyncio.timeout(20):
            while total < 65_536_000:
                total += len(await wire.reader.read(1 << 20))
        await wire.close()


async def test_a_client_that_reads_slowly_gets_its_whole_answer_after_the_keep_alive_time() -> None:
    """Found here: the idle connection's timer aborted what was still on its way."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"x" * 30_000_000)

    async with serving(app, timeout_keep_alive=0.05) as edge:
        client = edge.socket()
        client.sendall(head("GET", "/"))
        await until(lambda: edge.server.server_state.total_requests == 1)
        await asyncio.sleep(0.2)
        assert len(await asyncio.to_thread(_read_all, client)) > 30_000_000

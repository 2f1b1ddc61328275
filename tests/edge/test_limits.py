"""Heads too large, too slow or malformed, bodies too slow: each ends in bounded time (R01, X18, I10)."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tests.edge.serving import echo, read_body, serving, until
from tests.web.wire import head
from tuspy_server.edge.options import EdgeOptions
from tuspy_server.ports import BODY_EXTENSION
from tuspy_server.protocol.errors import BodyStalled

STATUS_LINE = re.compile(rb"HTTP/1\.1 \d\d\d ")
FAST = EdgeOptions(head_seconds=0.1)
HEAD_BYTES = EdgeOptions().head_bytes


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        pytest.param(head("GET", "/", {"X": "x" * HEAD_BYTES}), 431, id="one header"),
        pytest.param(head("GET", "/", [(f"X-{i}", "x") for i in range(HEAD_BYTES // 6)]), 431, id="many headers"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 10_000_000, 431, id="no end"),
        pytest.param(head("GET", "/" + "x" * HEAD_BYTES), 414, id="target"),
        pytest.param(b"G" * 10_000_000, 414, id="no line"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, id="TLS on a plain port"),
        pytest.param(b"GET / HTTP/1.1\nHost: a\n\n", 400, id="bare LF"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, id="one bare LF"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400, id="obs-fold"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n", 400, id="NUL"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="no Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, id="two Hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, id="bad Host"),
        pytest.param(head("CONNECT", "a:443"), 400, id="CONNECT"),
        pytest.param(b"GET /\r\n\r\n", 505, id="HTTP/0.9"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, id="HTTP/2"),
        pytest.param(
            head("PATCH", "/", {"Content-Length": "3", "Transfer-Encoding": "chunked"}) + b"0\r\n\r\n",
            400,
            id="TE and CL",
        ),
        pytest.param(head("PATCH", "/", [("Content-Length", "3"), ("Content-Length", "4")]), 400, id="two lengths"),
        pytest.param(head("PATCH", "/", {"Transfer-Encoding": "gzip, chunked"}), 501, id="gzip"),
        pytest.param(head("PATCH", "/", {"Transfer-Encoding": "chunked"}) + b"3\nabc\n0\n\n", 400, id="chunks by LF"),
        pytest.param(head("PATCH", "/", {"Transfer-Encoding": "chunked"}) + b"-1\r\nabc\r\n", 400, id="negative chunk"),
        pytest.param(
            head("PATCH", "/", {"Transfer-Encoding": "chunked"}) + b"3\r\nabcd\r\n0\r\n\r\n", 400, id="long chunk"
        ),
    ],
)
async def test_a_request_that_cannot_be_understood_is_refused_and_ends_the_connection(
    request_bytes: bytes, expected: int
) -> None:
    async with serving(echo) as edge:
        wire = await edge.connect()
        wire.writer.write(request_bytes + head("GET", "/smuggled"))
        async with asyncio.timeout(20):
            answer = await wire.reader.read()
        assert status(answer) == expected, answer
        assert len(STATUS_LINE.findall(answer)) == 1
        assert b"connection: close" in answer
        await wire.close()


async def test_a_target_in_any_form_that_the_standard_has_is_served() -> None:
    async with serving(echo) as edge:
        wire = await edge.connect()
        for method, target, path in [
            ("GET", "http://elsewhere:80/a?b", "/a"),
            ("GET", "http://elsewhere", "/"),
            ("OPTIONS", "*", "*"),
            ("GET", "/a%20b//c", "/a b//c"),
            ("GET", "/" + "x" * 40_000, "/" + "x" * 40_000),
        ]:
            assert (await wire.request(method, target)).body == f"{method} {path} ".encode()
        await wire.close()


@pytest.mark.parametrize("begun", [b"", b"G", b"GET / HTTP/1.1\r\n", b"\r", b"\r\n"])
async def test_a_head_has_a_deadline(begun: bytes) -> None:
    async with serving(echo, options=FAST) as edge:
        answer = await edge.exchange(begun)
        assert status(answer) == 408 if begun.startswith(b"G") else answer == b""


async def test_a_dribbled_head_does_not_move_its_deadline() -> None:
    """Slowloris (R01)."""
    async with serving(echo, options=FAST) as edge:
        wire = await edge.connect()
        assert (await wire.request("GET", "/")).status == 200
        wire.writer.write(b"GET / HTTP/1.1\r\n")
        reading = asyncio.ensure_future(wire.reader.read())
        async with asyncio.timeout(20):
            while not reading.done():
                wire.writer.write(b"X")
                await asyncio.sleep(0.01)
        assert status(await reading) == 408
        await wire.close()


async def test_dribbled_empty_lines_do_not_move_a_deadline() -> None:
    async with serving(echo, options=FAST) as edge:
        wire = await edge.connect()
        reading = asyncio.ensure_future(wire.reader.read())
        async with asyncio.timeout(20):
            while not reading.done():
                for byte in (b"\r", b"\n"):
                    wire.writer.write(byte)
                    await asyncio.sleep(0.01)


async def test_empty_lines_before_a_request_are_ignored() -> None:
    async with serving(echo) as edge:
        wire = await edge.connect()
        await wire.send(b"\r\n\r\n" + head("GET", "/a") + b"\r\n")
        assert (await wire.receive()).body == b"GET /a "
        assert (await wire.request("GET", "/b")).body == b"GET /b "
        await wire.close()


async def test_a_client_below_the_least_rate_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """R01, R05: a byte now and then must not hold a request for ever."""
    monkeypatch.setattr("tuspy_server.edge.body.RATE_WINDOW_SECONDS", 0.1)
    ends: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/asgi":
            ends.append(await read_body(receive))
            return
        source, got = scope["extensions"][BODY_EXTENSION], b""
        try:
            while True:
                buffer = bytearray(100)
                got += bytes(buffer[: await source.readinto(memoryview(buffer))])
        except BodyStalled:
            ends.append((got, False))

    async with serving(app, options=EdgeOptions(least_bytes_per_second=100_000.0)) as edge:
        edge.crashes = 2
        for path in ("/direct", "/asgi"):
            wire = await edge.connect()
            await wire.send(head("PATCH", path, {"Content-Length": "1000000"}))
            sent = 0
            async with asyncio.timeout(20):
                while not ends:
                    sent += 1
                    await wire.send(b"x")
                    await asyncio.sleep(0.005)
            got, whole = ends.pop()
            assert not whole
            assert 0 < len(got) <= sent
            await wire.close()


async def test_a_slow_client_above_the_least_rate_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuspy_server.edge.body.RATE_WINDOW_SECONDS", 0.25)
    async with serving(echo, options=EdgeOptions(least_bytes_per_second=10.0)) as edge:
        wire = await edge.connect()
        await wire.send(head("PATCH", "/", {"Content-Length": "60"}))
        for _ in range(60):
            await wire.send(b"x")
            await asyncio.sleep(0.01)
        assert (await wire.receive()).body == b"PATCH / " + b"x" * 60
        await wire.close()


async def test_bytes_wait_in_a_buffer_that_is_not_full_only_for_a_moment() -> None:
    """A reader with a large buffer still sees what a slow client sends: progress and commits depend on it."""
    counts: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        buffer = bytearray(1 << 20)
        while True:
            counts.append(await scope["extensions"][BODY_EXTENSION].readinto(memoryview(buffer)))

    async with serving(app) as edge:
        wire = await edge.connect()
        await wire.send(head("PATCH", "/", {"Content-Length": "1000"}) + b"one")
        await until(lambda: counts == [3])
        await wire.send(b"seven")
        await until(lambda: counts == [3, 5])
        edge.crashes = 1
        await wire.close()

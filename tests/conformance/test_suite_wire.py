"""What goes over the wire: faults that no ASGI app can have are found, and `wire.py` sends and reads what it says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from conformance.message import Closed, Exchange, Malformed, Origin, Silence, request_target
from conformance.runner import run, select
from conformance.target import Options, discover
from conformance.wire import Connection, connect
from tests.conformance.broken_faults import WIRE_FAULTS
from tests.conformance.raw_front import raw_front

OPTIONS = Options(answer_seconds=1, lock_seconds=1, case_seconds=20, cleanup=False)
PATIENT = replace(OPTIONS, answer_seconds=10, case_seconds=60)
"""For who does nothing wrong, on a machine that may stand still."""


async def failed(fault: str, ids: tuple[str, ...]) -> dict[str, str]:
    async with raw_front(fault) as url:
        results = await run(await discover(url, OPTIONS if fault else PATIENT), select(ids))
    assert {result.status for result in results} <= {"passed", "failed"}
    return {result.id: result.detail for result in results if result.status == "failed"}


async def test_a_sound_front_has_no_failure() -> None:
    ids = tuple(case for cases in WIRE_FAULTS.values() for case in cases)
    assert await failed("", (*ids, "TRLR-05")) == {}


@pytest.mark.parametrize("fault", WIRE_FAULTS)
async def test_a_fault_on_the_wire_is_found(fault: str) -> None:
    assert (await failed(fault, WIRE_FAULTS[fault])).keys() == set(WIRE_FAULTS[fault])


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[tuple[Connection, list[Exchange]]]:
    """Connect to a server that does what the script says."""
    ended = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        finally:
            writer.close()
            ended.set()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        exchanges: list[Exchange] = []
        connection = await connect(Origin("http", "127.0.0.1", server.sockets[0].getsockname()[1]), exchanges, 5)
        yield connection, exchanges
        connection.transport.abort()
        await ended.wait()


def answering(data: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()

    return script


async def test_heads_go_out_as_given() -> None:
    seen = bytearray()

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        seen.extend(await reader.read())

    async with scripted(script) as (connection, _):
        connection.send_head("PATCH", "/a/../b", [("X", "1"), ("x", "2 "), ("Transfer-Encoding", "chunked")])
        await connection.send_chunk(b"hello")
        await connection.end_chunks([("Upload-Checksum", "sha1 AAAA")])
        connection.half_close()
        assert await connection.wait_closed(5)
    assert bytes(seen) == (
        b"PATCH /a/../b HTTP/1.1\r\nX: 1\r\nx: 2 \r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\nUpload-Checksum: sha1 AAAA\r\n\r\n"
    )


async def test_interim_and_pipelined_responses_are_read_one_by_one() -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nA: 1\r\na: 2\r\n\r\nHTTP/1.1 404 Not Found\r\n"
    async with scripted(answering(data + b"Content-Length: 2\r\n\r\nno")) as (connection, exchanges):
        connection.send_head("PATCH", "/", [])
        connection.send_head("GET", "/", [])
        assert (await connection.receive(5, interim=True)).status == 100
        first = await connection.receive(5)
        assert (first.status, first.get("A"), first.values("a")) == (204, "1, 2", ["1", "2"])
        assert [interim.status for interim in first.interim] == [100]
        second = await connection.receive(5)
        assert (second.status, second.body) == (404, b"no")
        assert exchanges[1].response.endswith("\n\nno")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", Closed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", Closed),
        (b"nonsense\r\n\r\n", Malformed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Malformed),
    ],
)
async def test_a_response_that_is_none(data: bytes, error: type[Exception]) -> None:
    async with scripted(answering(data)) as (connection, _):
        connection.send_head("GET", "/", [])
        with pytest.raises(error):
            await connection.receive(5)


async def test_silence_has_a_deadline() -> None:
    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with scripted(script) as (connection, exchanges):
        connection.send_head("GET", "/", [])
        with pytest.raises(Silence):
            await connection.receive(0.05)
        assert exchanges[0].response == "(nothing for 0.05 s)"


async def test_a_reset_is_a_reset() -> None:
    errors: list[type[BaseException]] = []

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        except ConnectionError as error:
            errors.append(type(error))

    async with scripted(script) as (connection, _):
        connection.send_head("PATCH", "/", [("Content-Length", "5")])
        await connection.send(b"he")
        await asyncio.sleep(0.02)
        connection.reset()
    assert errors == [ConnectionResetError]


async def test_a_response_before_a_reset_is_read_all_the_same() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with scripted(script) as (connection, _):
        connection.send_head("PATCH", "/", [("Content-Length", str(1 << 24))])
        sender = asyncio.ensure_future(connection.send(bytes(1 << 24)))
        assert (await connection.receive(5)).status == 409
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)


async def test_credentials_are_not_shown() -> None:
    async with scripted(answering(b"HTTP/1.1 204 No Content\r\n\r\n")) as (connection, exchanges):
        connection.send_head("GET", "/", [("Authorization", "Bearer secret"), ("X", "1")], b"body")
        await connection.receive(5)
    assert exchanges[0].request == "GET / HTTP/1.1\nAuthorization: ...\nX: 1"
    assert exchanges[0].events == ["with it, in one write: b'body'"]


async def test_nobody_listens() -> None:
    with pytest.raises(Closed):
        await connect(Origin("http", "127.0.0.1", 1), [], 1)


@pytest.mark.parametrize(
    ("url", "target"),
    [("http://h/a/../b%2f?c=1#d", "/a/../b%2f?c=1"), ("http://h", "/"), ("http://h?x", "/?x"), ("http://h:1/a", "/a")],
)
def test_request_targets_stay_as_written(url: str, target: str) -> None:
    assert request_target(url) == target


def test_origins() -> None:
    assert Origin.of("https://h/a").authority == "h"
    assert Origin.of("http://[::1]:81/a").authority == "[::1]:81"

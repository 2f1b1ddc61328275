"""A fast body is read in large reads; a client that pauses is still heard at once."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.edge.serving import serving, until
from tuspy_server.edge.gathering import GATHER_BYTES, Gathering
from tuspy_server.ports import BODY_EXTENSION
from tuspy_server.protocol.errors import ClientDisconnected

MIB = 1 << 20


class Reader:
    """An application that reads its body as the lifecycle does, and counts."""

    def __init__(self) -> None:
        self.count = 0
        self.done = False  # without an end of its body

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        source = scope["extensions"][BODY_EXTENSION]
        buffer = memoryview(bytearray(MIB))
        try:
            while count := await source.readinto(buffer):
                self.count += count
        except ClientDisconnected:
            self.done = True
            return
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def head(count: int) -> bytes:
    return f"PATCH / HTTP/1.1\r\nHost: h\r\nContent-Length: {count}\r\n\r\n".encode()


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the kernel was told."""
    told: list[int] = []
    gather = Gathering.gather

    def note(self: Gathering, least_bytes: int) -> None:
        gather(self, least_bytes)
        told.append(self.least_bytes)

    monkeypatch.setattr(Gathering, "gather", note)
    return told


@pytest.mark.parametrize("rest", [1, 1000, GATHER_BYTES - 1, GATHER_BYTES, 3 * GATHER_BYTES + 1])
async def test_what_came_before_a_pause_is_read(raised: list[int], rest: int) -> None:
    """N01, R01: less than the kernel gathers must not wait for more; a commit, or a HEAD, wants it."""
    reader = Reader()
    async with serving(reader) as edge:
        client = edge.socket()
        await asyncio.to_thread(client.sendall, head(64 * MIB) + bytes(16 * MIB))
        await until(lambda: reader.count == 16 * MIB)
        assert GATHER_BYTES in raised
        await asyncio.to_thread(client.sendall, bytes(rest))
        await until(lambda: reader.count == 16 * MIB + rest)
        client.close()
        await until(lambda: reader.done)
    assert reader.count == 16 * MIB + rest


@pytest.mark.parametrize("surplus", [0, 1, GATHER_BYTES // 2, 2 * GATHER_BYTES + 7])
async def test_the_end_of_a_fast_body_is_read_and_the_next_request_heard(raised: list[int], surplus: int) -> None:
    """What is left at the end is less than the kernel gathers; behind it comes a small head."""
    reader, count = Reader(), 16 * MIB + surplus
    async with serving(reader) as edge:
        client = edge.socket()
        for request in (1, 2):
            await asyncio.to_thread(client.sendall, head(count) + bytes(count))
            await until(lambda expected=request * count: reader.count == expected)  # type: ignore[misc]
            assert (await asyncio.to_thread(client.recv, 65536)).startswith(b"HTTP/1.1 204")
            assert raised[-1] == 1
        client.close()


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_what_came_before_the_client_left_is_read(raised: list[int], how: str) -> None:
    """N02: an end of the connection wakes us, however little has come."""
    reader = Reader()
    async with serving(reader) as edge:
        client = edge.socket()
        await asyncio.to_thread(client.sendall, head(64 * MIB) + bytes(16 * MIB))
        await until(lambda: reader.count == 16 * MIB)
        client.sendall(b"some")
        if how == "reset":
            await until(lambda: reader.count == 16 * MIB + 4)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        await until(lambda: reader.done)
    assert reader.count == 16 * MIB + 4

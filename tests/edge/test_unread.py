"""A client that never reads its answer is ended; one that reads slowly is not (R01, R08, I10)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest

from tests.edge.serving import Edge, serving, until
from tests.web.wire import head
from tuspy_server.edge.options import EdgeOptions
from tuspy_server.edge.unread import Unread

FAST = EdgeOptions(unread_seconds=0.2)
BLOCK = bytes(1 << 20)
BLOCKS = 64
"""More than the kernel takes for a client that does not read."""


def client_that_does_not_read(edge: Edge, request: bytes) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", edge.port))
    client.sendall(request)
    return client


@pytest.mark.parametrize("in_one", [False, True], ids=["stream", "in one"])
@pytest.mark.parametrize("user_timeout", [True, False], ids=["kernel and we", "we alone"])
async def test_a_client_that_never_reads_is_ended(
    in_one: bool, user_timeout: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not user_timeout:
        monkeypatch.delattr(socket, "TCP_USER_TIMEOUT")
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        length = (b"content-length", b"%d" % (BLOCKS * len(BLOCK)))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        if in_one:
            await send({"type": "http.response.body", "body": BLOCK * BLOCKS})
        else:
            for left in reversed(range(BLOCKS)):
                await send({"type": "http.response.body", "body": BLOCK, "more_body": left > 0})
        ended.set()

    async with serving(app, options=FAST) as edge:
        client = client_that_does_not_read(edge, head("GET", "/"))
        # That it was there is not to be seen from here: it may be over before this loop has its next turn.
        await until(ended.is_set)
        await until(lambda: edge.connections == 0)
        client.close()


async def test_a_connection_that_is_closed_under_an_unread_answer_is_ended() -> None:
    """The end of the keep-alive closes it; what waits for the client must not keep it."""
    asked = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        body = BLOCK * BLOCKS
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    options = EdgeOptions(unread_seconds=0.3)
    async with serving(app, options=options, timeout_keep_alive=0) as edge:
        client = client_that_does_not_read(edge, head("GET", "/"))
        await until(asked.is_set)
        await until(lambda: edge.connections == 0)
        client.close()


class FakeTransport:
    """Tells how much waits in it, as the test says: a real one depends on how busy the machine is."""

    def __init__(self, unread: Iterator[int]) -> None:
        self._unread = unread
        self.aborted = False

    def get_extra_info(self, name: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return next(self._unread)

    def abort(self) -> None:
        self.aborted = True


async def test_one_that_reads_slowly_goes_on_until_it_stands_still() -> None:
    looked: list[int] = []

    def counts() -> Iterator[int]:
        for count in (1000, 999, 998, 1, 1):
            looked.append(count)
            yield count

    transport = FakeTransport(counts())
    unread = Unread(asyncio.get_running_loop(), cast("asyncio.Transport", transport), 0.01)
    unread.watch()
    await until(lambda: transport.aborted)
    assert looked == [1000, 999, 998, 1, 1]


async def test_one_that_has_read_all_is_left_alone() -> None:
    transport = FakeTransport(iter([1000]))
    unread = Unread(asyncio.get_running_loop(), cast("asyncio.Transport", transport), 0.01)
    unread.watch()
    unread.clear()
    await asyncio.sleep(0.05)
    assert not transport.aborted
    unread.stop()

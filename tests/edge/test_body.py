"""One body between a connection that feeds it and a reader that drains it, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.wire import chunked
from tuspy_server.edge.body import RequestBody
from tuspy_server.edge.gathering import GATHER_BYTES
from tuspy_server.protocol.errors import ClientDisconnected


class Flow:
    """Notes what a body asks for."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    def gather(self, least_bytes: int) -> None:
        self.calls.append(f"gather {least_bytes}")

    def send_continue(self) -> None:
        self.calls.append("continue")


def body_of(count: int | None) -> tuple[RequestBody, Flow]:
    flow = Flow()
    return RequestBody(flow, count, 0.0), flow


def fill(body: RequestBody, data: bytes) -> int:
    """As a socket does: into the reader's buffer, as far as it goes."""
    target = body.target()
    if target is None:
        return body.feed(memoryview(data))
    count = min(len(target), len(data))
    target[:count] = data[:count]
    body.filled(count)
    return count


async def test_a_waiting_reader_is_filled_directly_and_gets_its_buffer_back_at_once() -> None:
    body, flow = body_of(10)
    buffer = bytearray(6)
    reading = asyncio.ensure_future(body.readinto(memoryview(buffer)))
    await asyncio.sleep(0)
    assert flow.calls == ["continue", "resume"]
    assert fill(body, b"0123") == 4
    assert fill(body, b"456789") == 2
    assert body.target() is None
    assert flow.calls[-1] == "pause"
    assert (await reading, bytes(buffer)) == (6, b"012345")
    assert body.target() is None


async def test_a_target_never_reaches_past_the_body() -> None:
    body, _ = body_of(3)
    reading = asyncio.ensure_future(body.readinto(memoryview(bytearray(10))))
    await asyncio.sleep(0)
    target = body.target()
    assert target is not None
    assert len(target) == 3
    fill(body, b"abc")
    assert await reading == 3
    assert (body.received, body.drained) == (True, True)
    assert await body.readinto(memoryview(bytearray(1))) == 0


async def test_a_full_buffer_is_no_longer_filled_though_its_reader_is_being_cancelled() -> None:
    """Found here: between a cancellation and its effect the target had no room left, which ends a connection."""
    body, _ = body_of(10)
    reading = asyncio.ensure_future(body.readinto(memoryview(bytearray(4))))
    await asyncio.sleep(0)
    reading.cancel()
    assert fill(body, b"0123456789") == 4
    assert body.target() is None
    assert body.feed(memoryview(b"456789behind")) == 6
    with pytest.raises(asyncio.CancelledError):
        await reading
    rest = bytearray()
    buffer = bytearray(3)
    while count := await body.readinto(memoryview(buffer)):
        rest += buffer[:count]
    assert rest == b"0123456789"


async def test_what_came_before_the_end_is_given_before_it_is_told() -> None:
    body, _ = body_of(10)
    body.feed(memoryview(b"abc"))
    body.lose()
    buffer = bytearray(2)
    assert await body.readinto(memoryview(buffer)) == 2
    assert await body.readinto(memoryview(buffer)) == 1
    for _ in range(2):
        with pytest.raises(ClientDisconnected):
            await body.readinto(memoryview(buffer))


async def test_tiny_chunks_are_kept_as_one_piece() -> None:
    """R02, R08: kept apart, 256 KiB of the wire took 15 MB of memory, and a call of the reader for each byte."""
    body, _ = body_of(None)
    coding = b"1\r\nX\r\n" * 2000
    assert body.feed(memoryview(coding)) == len(coding)
    assert (await body.readinto(memoryview(bytearray(4000))), body.comes_small) == (2000, True)
    body.feed(memoryview(b"2000\r\n%b\r\n" % bytes(0x2000)))
    assert not body.comes_small


async def test_a_reader_that_waits_gets_what_is_in_its_buffer_before_it_is_told() -> None:
    body, _ = body_of(10)
    buffer = bytearray(10)
    reading = asyncio.ensure_future(body.readinto(memoryview(buffer)))
    await asyncio.sleep(0)
    fill(body, b"abc")
    body.lose()
    assert (await reading, bytes(buffer[:3])) == (3, b"abc")
    with pytest.raises(ClientDisconnected):
        await body.readinto(memoryview(buffer))


async def test_a_reader_that_waits_in_vain_is_told() -> None:
    body, _ = body_of(None)
    reading = asyncio.ensure_future(body.readinto(memoryview(bytearray(1))))
    await asyncio.sleep(0)
    body.lose()
    with pytest.raises(ClientDisconnected):
        await reading


async def test_trailers_are_given_after_the_body() -> None:
    body, _ = body_of(None)
    data = chunked(b"abc")[:-2] + b"Name: value\r\n\r\n"
    assert body.feed(memoryview(data + b"next")) == len(data)
    assert body.trailers == []
    assert await body.readinto(memoryview(bytearray(10))) == 3
    assert await body.readinto(memoryview(bytearray(10))) == 0
    assert body.trailers == [(b"name", b"value")]


def _cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    for size in sizes:
        yield data[:size]
        data = data[size:]
    yield data


@given(
    st.binary(min_size=1, max_size=200),
    st.lists(st.integers(1, 50), max_size=8),
    st.lists(st.integers(1, 60), min_size=1, max_size=8),
    st.lists(st.booleans(), min_size=1, max_size=9),
    st.booleans(),
)
def test_any_interleaving_of_feeding_reading_and_cancelling_gives_the_same_bytes(
    data: bytes,
    sizes: list[int],
    buffers: list[int],
    cancels: list[bool],
    known: bool,  # drawn
) -> None:
    async def run() -> None:
        body, _ = body_of(len(data) if known else None)
        wire = data if known else chunked(*[piece for piece in _cut(data, sizes[::-1]) if piece])
        got, turn = bytearray(), 0

        async def read() -> None:
            nonlocal turn
            while True:
                turn += 1
                buffer = bytearray(buffers[turn % len(buffers)])
                reading = asyncio.ensure_future(body.readinto(memoryview(buffer)))
                await asyncio.sleep(0)
                if cancels[turn % len(cancels)] and turn < 30:
                    reading.cancel()
                try:
                    count = await reading
                except asyncio.CancelledError:
                    continue
                if not count:
                    return
                got.extend(buffer[:count])

        reader = asyncio.ensure_future(read())
        for piece in _cut(wire + b"behind", sizes):
            rest = piece
            while rest and not body.received:
                rest = rest[fill(body, rest) :]
            await asyncio.sleep(0)
        await asyncio.wait_for(reader, 20)
        assert got == data

    asyncio.run(run())


async def test_a_fast_body_is_gathered_until_its_client_pauses() -> None:
    """N01: the pause falls where a buffer has just been filled, so that no byte has come that would watch the clock."""
    body, flow = body_of(64 << 20)
    buffer = memoryview(bytearray(1 << 20))
    reading = asyncio.ensure_future(body.readinto(buffer))
    await asyncio.sleep(0)
    assert fill(body, bytes(1 << 20)) == 1 << 20
    assert await reading == 1 << 20
    assert f"gather {GATHER_BYTES}" in flow.calls
    reading = asyncio.ensure_future(body.readinto(buffer))
    async with asyncio.timeout(10):
        while flow.calls[-1] != "gather 1":  # noqa: ASYNC110  # no event tells it
            await asyncio.sleep(0.001)
    assert not reading.done()
    assert fill(body, b"x") == 1
    assert await asyncio.wait_for(reading, 10) == 1


async def test_the_last_bytes_of_a_body_are_not_gathered() -> None:
    """Less may be left than the kernel would wait for."""
    body, flow = body_of((1 << 20) + 2 * GATHER_BYTES)
    reading = asyncio.ensure_future(body.readinto(memoryview(bytearray(1 << 20))))
    await asyncio.sleep(0)
    fill(body, bytes(1 << 20))
    await reading
    assert not [call for call in flow.calls if call.startswith("gather")]

"""PATCH: where bytes go, and that what is refused leaves no byte behind."""

from __future__ import annotations

import gzip
import random

import pytest

from tests.web.conftest import ON_BOTH_CLASSES, Serve
from tests.web.served import Served
from tests.web.wire import BODY, Wire, chunked, head

pytestmark = ON_BOTH_CLASSES

UNKNOWN = f"/files/{'0' * 32}"


async def test_a_patch_appends_and_the_connection_goes_on(server: Served) -> None:
    """CORE-PATCH-01."""
    target = await server.create(11)
    wire = await Wire.connect(server.port)
    for offset, body in ((0, b"hello"), (5, b" world")):
        reply = await wire.request("PATCH", target, {**BODY, "Upload-Offset": str(offset)}, body)
        assert (reply.status, reply["Upload-Offset"], reply.body) == (204, str(offset + len(body)), b"")
        assert "Content-Length" not in reply
        assert "Transfer-Encoding" not in reply
        assert await server.offset(target) == offset + len(body)
    await wire.close()
    assert await server.content(target) == b"hello world"


@pytest.mark.parametrize("offset", [4, 6, 0, 11, 2**62])
async def test_another_offset_is_409_with_the_true_one(server: Served, offset: int) -> None:
    """CORE-PATCH-02, CORE-PATCH-25."""
    target = await server.create(10, b"hello")
    before = server.snapshot()
    reply = await server.patch(target, offset, b"xx")
    assert (reply.status, reply["Upload-Offset"]) == (409, "5")
    assert server.snapshot() == before


async def test_a_zero_length_patch_changes_nothing(server: Served) -> None:
    """CORE-PATCH-10."""
    target = await server.create(10, b"hello")
    reply = await server.patch(target, 5)
    assert (reply.status, reply["Upload-Offset"]) == (204, "5")


async def test_a_finished_upload_takes_no_byte_more(server: Served) -> None:
    """CORE-PATCH-11."""
    target = await server.create(5, b"hello")
    before = server.snapshot()
    empty = await server.patch(target, 5)
    assert (empty.status, empty["Upload-Offset"]) == (204, "5")
    assert (await server.patch(target, 5, b"!")).status == 413
    assert server.snapshot() == before


async def test_more_than_remains_is_413_before_a_byte_is_stored(server: Served) -> None:
    """CORE-PATCH-12."""
    target = await server.create(10, b"hello")
    before = server.snapshot()
    assert (await server.patch(target, 5, b"world!")).status == 413
    assert server.snapshot() == before


async def test_a_chunked_body_that_runs_over_is_413_and_its_surplus_never_stored(server: Served) -> None:
    """CORE-PATCH-13."""
    target = await server.create(10, b"hello")
    fields = {**BODY, "Upload-Offset": "5", "Transfer-Encoding": "chunked"}
    assert (await server.request("PATCH", target, fields, chunked(b"wor", b"ld!"))).status == 413
    assert await server.offset(target) <= 10
    assert len(await server.content(target)) <= 10


async def test_a_chunked_body_counts_what_it_decodes_to(server: Served) -> None:
    """CORE-PATCH-14."""
    target = await server.create(10)
    fields = {**BODY, "Upload-Offset": "0", "Transfer-Encoding": "chunked"}
    reply = await server.request("PATCH", target, fields, chunked(b"hel", b"lo"))
    assert (reply.status, reply["Upload-Offset"]) == (204, "5")


@pytest.mark.parametrize("sizes", [[1] * 100, [1, 65_536, 3, 1_048_577, 70_001], [0, 5, 0, 7, 0]])
async def test_the_content_is_the_bodies_one_after_the_other(server: Served, sizes: list[int]) -> None:
    """CORE-PATCH-15."""
    chance = random.Random(15)
    bodies = [chance.randbytes(size) for size in sizes]
    target = await server.create(sum(sizes))
    wire = await Wire.connect(server.port)
    offset = 0
    for body in bodies:
        reply = await wire.request("PATCH", target, {**BODY, "Upload-Offset": str(offset)}, body)
        offset += len(body)
        assert (reply.status, reply["Upload-Offset"]) == (204, str(offset))
    await wire.close()
    assert await server.content(target) == b"".join(bodies)


async def test_one_patch_may_carry_the_whole_file(server: Served) -> None:
    """CORE-PATCH-16."""
    body = random.Random(16).randbytes(16 << 20)
    target = await server.create(len(body))
    assert (await server.patch(target, 0, body)).status == 204
    assert await server.content(target) == body


async def test_a_body_that_stalls_is_ended_and_what_came_is_kept(serve: Serve) -> None:
    """CORE-PATCH-22: 503 and not 408, which tus-js-client does not retry."""
    server = await serve(body_idle_seconds=0.3)
    target = await server.create(10)
    wire = await Wire.connect(server.port)
    await wire.send(head("PATCH", target, {**BODY, "Upload-Offset": "0", "Content-Length": "10"}) + b"hello")
    reply = await wire.receive("PATCH")
    await wire.close()
    assert (reply.status, reply["Retry-After"], reply["Connection"]) == (503, "1", "close")
    assert await server.offset(target) == 5
    assert (await server.patch(target, 5, b"world")).status == 204


async def test_no_body_is_asked_for_that_would_be_refused(server: Served) -> None:
    """CORE-PATCH-27, CORE-PATCH-28: 100 Continue only where the body is wanted."""
    target = await server.create(5)
    wire = await Wire.connect(server.port)
    fields = {**BODY, "Expect": "100-continue", "Content-Length": "5"}
    await wire.send(head("PATCH", target, {**fields, "Upload-Offset": "0"}))
    assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    await wire.send(b"hello")
    assert (await wire.receive("PATCH")).status == 204
    await wire.close()
    for path, offset, status in ((target, "0", b"409"), (UNKNOWN, "0", b"404")):
        wire = await Wire.connect(server.port)
        await wire.send(head("PATCH", path, {**fields, "Upload-Offset": offset}))
        assert (await wire.reader.readuntil(b"\r\n")).split(b" ")[1] == status
        await wire.close()


async def test_content_codings_are_not_undone(server: Served) -> None:
    """CORE-PATCH-29: offsets count bytes on the wire."""
    body = gzip.compress(b"hello" * 100)
    target = await server.create(len(body))
    assert (await server.patch(target, 0, body, {"Content-Encoding": "gzip"})).status == 204
    assert await server.content(target) == body


async def test_two_patches_at_once_never_mix(server: Served) -> None:
    """CORE-PATCH-23, CORE-PATCH-24: the newest wins, the other is told to ask again."""
    target = await server.create(10)
    first = await Wire.connect(server.port)
    await first.send(head("PATCH", target, {**BODY, "Upload-Offset": "0", "Content-Length": "10"}) + b"aaa")
    while (offset := await server.offset(target)) < 3:
        pass
    reply = await server.patch(target, offset, b"bbbbbbb")
    assert reply.status == 204
    await first.send(b"aaaaaaa")
    assert (await first.receive("PATCH")).status == 423
    await first.close()
    assert await server.content(target) == b"aaabbbbbbb"


async def test_an_early_refusal_is_readable_however_long_the_body(server: Served) -> None:
    """CORE-PATCH-26, N08: the answer comes while the client still writes."""
    target = await server.create(10)
    wire = await Wire.connect(server.port)
    await wire.send(
        head("PATCH", target, {**BODY, "Upload-Offset": "5", "Content-Length": str(50 << 20)}) + b"x" * 4096
    )
    assert (await wire.receive("PATCH")).status == 409
    await wire.close()
    assert await server.offset(target) == 0

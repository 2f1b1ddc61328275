"""Uploads whose length is told later."""

from __future__ import annotations

import pytest

from tests.web.conftest import Serve
from tests.web.served import Served
from tests.web.wire import BODY, chunked


async def test_the_length_is_deferred_until_it_is_told(server: Served) -> None:
    """DEFER-01, DEFER-02, DEFER-03."""
    target = await server.create(None)
    for offset in (0, 3):
        looked = await server.look(target)
        assert (looked["Upload-Defer-Length"], looked["Upload-Offset"]) == ("1", str(offset))
        assert "Upload-Length" not in looked
        assert (await server.patch(target, offset, b"abc")).status == 204
    assert (await server.patch(target, 6, b"def", {"Upload-Length": "10"})).status == 204
    looked = await server.look(target)
    assert (looked["Upload-Length"], looked["Upload-Offset"]) == ("10", "9")
    assert "Upload-Defer-Length" not in looked
    assert (await server.patch(target, 9, b"!")).status == 204
    assert await server.content(target) == b"abcabcdef!"


async def test_a_known_length_may_be_repeated_and_not_changed(server: Served) -> None:
    """DEFER-04, DEFER-05."""
    for target in (await server.create(10), await server.create(None)):
        assert (await server.patch(target, 0, b"abc", {"Upload-Length": "10"})).status == 204
        before = server.snapshot()
        for other in ("11", "9", "3"):
            assert (await server.patch(target, 3, b"def", {"Upload-Length": other})).status == 400
        assert server.snapshot() == before
        assert (await server.patch(target, 3, b"def", {"Upload-Length": "10"})).status == 204


async def test_a_length_that_cannot_be_is_refused(server: Served) -> None:
    """DEFER-06: below the offset, below the body, and beside a wrong offset."""
    target = await server.create(None)
    assert (await server.patch(target, 0, b"0123456789")).status == 204
    before = server.snapshot()
    assert (await server.patch(target, 10, b"", {"Upload-Length": "5"})).status == 400
    assert (await server.patch(target, 10, b"0123456789", {"Upload-Length": "15"})).status == 413
    assert (await server.patch(target, 5, b"", {"Upload-Length": "20"})).status == 409
    assert server.snapshot() == before


async def test_a_chunked_body_past_the_length_that_it_declares_stays_below_it(server: Served) -> None:
    """DEFER-06."""
    target = await server.create(None)
    fields = {"Upload-Length": "5", "Transfer-Encoding": "chunked"}
    assert (await server.patch(target, 0, chunked(b"0123", b"456789"), fields)).status == 413
    assert await server.offset(target) <= 5
    assert len(await server.content(target)) <= 5


async def test_tus_max_size_holds_for_what_is_told_later(serve: Serve) -> None:
    """DEFER-07."""
    server = await serve(max_size=10)
    target = await server.create(None)
    assert (await server.patch(target, 0, b"abc", {"Upload-Length": "11"})).status == 413
    assert (await server.patch(target, 0, b"0123456789!")).status == 413
    assert await server.offset(target) == 0
    streamed = await server.patch(target, 0, chunked(b"0123456789", b"!"), {"Transfer-Encoding": "chunked"})
    assert streamed.status == 413
    assert await server.offset(target) <= 10


async def test_an_empty_patch_may_tell_that_all_has_come(server: Served) -> None:
    """DEFER-08."""
    target = await server.create(None)
    assert (await server.patch(target, 0, b"hello")).status == 204
    reply = await server.patch(target, 5, b"", {"Upload-Length": "5"})
    assert (reply.status, reply["Upload-Offset"]) == (204, "5")
    assert "Upload-Expires" not in reply
    assert (await server.request("GET", target)).body == b"hello"


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"Upload-Defer-Length": "2"}, id="DEFER-09 2"),
        pytest.param({"Upload-Defer-Length": "true"}, id="DEFER-09 true"),
        pytest.param({"Upload-Defer-Length": "0"}, id="DEFER-09 0"),
        pytest.param({"Upload-Defer-Length": ""}, id="DEFER-09 empty"),
        pytest.param({"Upload-Defer-Length": "1", "Upload-Length": "5"}, id="DEFER-10"),
    ],
)
async def test_another_value_creates_nothing(server: Served, fields: dict[str, str]) -> None:
    before = server.snapshot()
    assert (await server.post(fields)).status == 400
    assert server.snapshot() == before


async def test_the_first_bytes_may_come_with_the_post(server: Served) -> None:
    """CWU-07."""
    reply = await server.post({"Upload-Defer-Length": "1", **BODY}, b"hello")
    assert (reply.status, reply["Upload-Offset"]) == (201, "5")
    assert (await server.look(reply["Location"]))["Upload-Defer-Length"] == "1"

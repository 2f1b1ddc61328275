"""Expiration and termination: what is gone stays gone."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest

from tests.web.conftest import Serve
from tests.web.served import Served, upload_id
from tests.web.wire import BODY, TUS, Reply, Wire, head

UNKNOWN = f"/files/{'0' * 32}"
IMF_FIXDATE = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT"


async def test_every_answer_about_an_unfinished_upload_tells_when_it_expires(server: Served) -> None:
    """EXP-01, EXP-02, EXP-03, EXP-04."""
    created = await server.post({"Upload-Length": "10"})
    target = created["Location"]
    for reply in (created, await server.patch(target, 0, b"hello"), await server.look(target)):
        assert re.fullmatch(IMF_FIXDATE, reply["Upload-Expires"])
        left = parsedate_to_datetime(reply["Upload-Expires"]) - datetime.now(UTC)
        assert timedelta(days=6.9) < left <= timedelta(days=7)


async def test_a_finished_upload_does_not_expire(server: Served) -> None:
    """EXP-07."""
    target = await server.create(5)
    assert "Upload-Expires" not in await server.patch(target, 0, b"hello")
    assert "Upload-Expires" not in await server.look(target)
    assert "Upload-Expires" not in await server.post({"Upload-Length": "5", **BODY}, b"hello")


async def until_gone(ask: Callable[[], Awaitable[Reply]]) -> Reply:
    while (reply := await ask()).status not in (404, 410):
        pass
    return reply


@pytest.mark.parametrize("sweep_interval_seconds", [0.02, 3600], ids=["swept", "not yet swept"])
async def test_an_expired_upload_is_410_and_takes_nothing(serve: Serve, sweep_interval_seconds: float) -> None:
    """EXP-05, EXP-06, EXP-07: whether the sweeper has come by or not."""
    server = await serve(expires_seconds=0.2, sweep_interval_seconds=sweep_interval_seconds)
    done, target = await server.create(5, b"hello"), await server.create(10, b"hello")
    gone = await until_gone(lambda: server.look(target))
    assert gone.status == 410
    assert "Upload-Offset" not in gone
    refused = await server.patch(target, 5, b"world")
    assert (refused.status, "Upload-Offset" in refused) == (410, False)
    assert (await server.request("DELETE", target, TUS)).status == 410
    assert (await server.request("GET", target)).status == 410
    assert b"world" not in await server.content(target)
    assert await server.offset(done) == 5


async def test_the_sweeper_removes_the_bytes_too(serve: Serve) -> None:
    """EXP-05: and 410 becomes 404 when the row is forgotten."""
    server = await serve(expires_seconds=0.1, sweep_interval_seconds=0.02, gone_seconds=0)
    target = await server.create(10, b"hello")
    await until_gone(lambda: server.look(target))
    while (await server.look(target)).status != 404:
        pass
    assert not [key for key in server.snapshot() if upload_id(target) in key]


@pytest.mark.parametrize("length", [10, 5], ids=["TERM-01 unfinished", "TERM-03 finished"])
async def test_a_terminated_upload_is_gone_with_its_bytes(server: Served, length: int) -> None:
    """TERM-02, TERM-05: 204 exactly, without a body."""
    target = await server.create(length, b"hello")
    reply = await server.request("DELETE", target, TUS)
    assert (reply.status, reply.body, "Content-Length" in reply) == (204, b"", False)
    for gone in (
        await server.look(target),
        await server.patch(target, 5, b"world"),
        await server.request("DELETE", target, TUS),
        await server.request("GET", target),
    ):
        assert gone.status == 410
        assert "Upload-Offset" not in gone
    assert not [key for key in server.snapshot() if upload_id(target) in key]


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE", "GET"])
async def test_what_was_never_created_is_404(server: Served, method: str) -> None:
    """CORE-HEAD-05, CORE-PATCH-05, TERM-02."""
    before = server.snapshot()
    reply = await server.request(method, UNKNOWN, {**BODY, "Upload-Offset": "0"}, b"x" if method == "PATCH" else b"")
    assert reply.status == 404
    assert "Upload-Offset" not in reply
    assert server.snapshot() == before


async def test_delete_ends_a_body_that_is_on_its_way(server: Served) -> None:
    """TERM-04: which does not bring the upload back."""
    target = await server.create(10)
    wire = await Wire.connect(server.port)
    await wire.send(head("PATCH", target, {**BODY, "Upload-Offset": "0", "Content-Length": "10"}) + b"hello")
    while await server.offset(target) < 5:
        pass
    assert (await server.request("DELETE", target, TUS)).status == 204
    assert (await wire.receive("PATCH")).status == 410
    await wire.close()
    assert (await server.look(target)).status == 410
    assert not [key for key in server.snapshot() if upload_id(target) in key]

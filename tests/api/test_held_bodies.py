"""I10: bodies that come slowly hold memory, and must not keep it from everybody else."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.asking import JSON
from tests.api.conftest import ON_SQLITE, ServeApi
from tests.web.wire import Wire, head
from tuspy_server.web.api import reading

pytestmark = ON_SQLITE

LARGE = 1_000_000
FIELDS = {**JSON, "Content-Length": str(LARGE)}


async def test_who_asks_for_little_is_served_beside_those_that_hold_all(
    serve_api: ServeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "HELD_BYTES", 100_000)
    api = await serve_api()
    slow = [await Wire.connect(api.served.port) for _ in range(2)]
    for wire, count in zip(slow, (60_000, 39_990), strict=True):
        await wire.send(head("POST", "/api/jobs", FIELDS) + b" " * count)
    assert (await api.make(1))["totalCount"] == 1
    await slow[0].send(b" " * 60_000)
    assert (await slow[0].receive("POST")).status == 503
    for wire in slow:
        await wire.close()


async def test_a_large_body_does_not_trickle(serve_api: ServeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LEAST_BYTES_PER_SECOND", 1e12)
    api = await serve_api(body_idle_seconds=0.5)
    wire = await Wire.connect(api.served.port)
    await wire.send(head("POST", "/api/jobs", FIELDS) + b" " * 100_000)
    answered = asyncio.ensure_future(wire.receive("POST"))
    async with asyncio.timeout(20):
        while not answered.done():
            await wire.send(b" ")
            await asyncio.wait({answered}, timeout=0.05)
    assert (await answered).status == 503
    await wire.close()

"""What holds only under our own HTTP protocol class: stock uvicorn drops bytes, and mixes trailers with headers."""

from __future__ import annotations

import random

import pytest

from tests.web.served import Served
from tests.web.wire import BODY, TUS, Wire, head
from tuspy_server.edge.connection import EdgeConnection

pytestmark = pytest.mark.parametrize("http", [EdgeConnection], indirect=True)


@pytest.mark.parametrize(
    ("announced", "sent"),
    [pytest.param(1000, 400, id="CORE-PATCH-17"), pytest.param(20 << 20, (6 << 20) + 1, id="CORE-PATCH-18")],
)
async def test_every_byte_before_a_cut_counts(server: Served, announced: int, sent: int) -> None:
    body = random.Random(17).randbytes(announced)
    target = await server.create(announced)
    wire = await Wire.connect(server.port)
    fields = {**BODY, "Upload-Offset": "0", "Content-Length": str(announced)}
    await wire.send(head("PATCH", target, fields) + body[:sent])
    await wire.close()
    while (offset := await server.offset(target)) < sent:
        pass
    assert offset == sent
    assert (await server.patch(target, sent, body[sent:])).status == 204
    assert await server.content(target) == body


@pytest.mark.parametrize(
    "trailer",
    ["Upload-Offset: 3", "Upload-Length: 7", "Authorization: Bearer x", "X-HTTP-Method-Override: DELETE", "a" * 99],
)
async def test_trailers_are_no_headers(server: Served, trailer: str) -> None:
    """TRLR-04: nor do they spoil the connection."""
    target = await server.create(10)
    wire = await Wire.connect(server.port)
    fields = {**BODY, "Upload-Offset": "0", "Transfer-Encoding": "chunked"}
    body = f"5\r\nhello\r\n0\r\n{trailer}\r\n\r\n".encode()
    if ":" not in trailer:
        assert (await wire.request("PATCH", target, fields, body)).status == 400
    else:
        assert (await wire.request("PATCH", target, fields, body)).status == 204
        assert (await wire.request("HEAD", target, TUS))["Upload-Length"] == "10"
    await wire.close()

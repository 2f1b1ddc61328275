"""HEAD: the offset, and nothing that a cache may keep."""

from __future__ import annotations

from tests.web.conftest import ON_BOTH_CLASSES
from tests.web.served import Served
from tests.web.wire import TUS, Wire

pytestmark = ON_BOTH_CLASSES

UNKNOWN = f"/files/{'0' * 32}"


async def test_head_tells_how_far_an_upload_is(server: Served) -> None:
    """CORE-HEAD-01, CORE-HEAD-02, CORE-HEAD-03, CORE-HEAD-07."""
    target = await server.create(10)
    for offset, body in ((0, b"hello"), (5, b"world")):
        reply = await server.look(target)
        assert (reply.status, reply["Upload-Offset"], reply["Upload-Length"]) == (200, str(offset), "10")
        assert "Upload-Defer-Length" not in reply
        assert (await server.patch(target, offset, body)).status == 204
    assert (await server.look(target))["Upload-Offset"] == "10"


async def test_head_is_not_to_be_kept(server: Served) -> None:
    """CORE-HEAD-04, CORE-HEAD-05: errors neither, since 404 and 410 may be kept by heuristics."""
    target = await server.create()
    assert (await server.look(target))["Cache-Control"] == "no-store"
    missing = await server.look(UNKNOWN)
    assert (missing.status, missing["Cache-Control"]) == (404, "no-store")
    assert "Upload-Offset" not in missing


async def test_no_answer_to_head_has_a_body(server: Served) -> None:
    """CORE-HEAD-06: or the next answer on the connection would be lost."""
    target = await server.create(5, b"hello")
    wire = await Wire.connect(server.port)
    for path, fields, status in (
        (target, TUS, 200),
        (target, {}, 200),
        (UNKNOWN, TUS, 404),
        (target, {"Tus-Resumable": "9.9.9"}, 412),
        ("/files/", TUS, 405),
    ):
        assert (await wire.request("HEAD", path, fields)).status == status
    assert (await wire.request("OPTIONS", "/files/")).status == 204
    await wire.close()


async def test_a_reported_offset_is_usable_at_once(server: Served) -> None:
    """CORE-HEAD-08."""
    target = await server.create(10, b"abc")
    wire = await Wire.connect(server.port)
    for _ in range(7):
        offset = (await wire.request("HEAD", target, TUS))["Upload-Offset"]
        fields = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": offset}
        assert (await wire.request("PATCH", target, fields, b"x")).status == 204
    await wire.close()
    assert await server.content(target) == b"abcxxxxxxx"


async def test_head_while_a_body_is_on_its_way_tells_what_has_come(server: Served) -> None:
    """CORE-HEAD-09: and does not disturb it."""
    target = await server.create(10)
    wire = await Wire.connect(server.port)
    await wire.send(
        f"PATCH {target} HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Length: 10\r\n"
        "Content-Type: application/offset+octet-stream\r\n\r\nhello".encode()
    )
    offsets: list[int] = []
    while not offsets or offsets[-1] < 5:
        offsets.append(await server.offset(target))
    assert offsets == sorted(offsets)
    assert offsets[-1] == 5
    await wire.send(b"world")
    assert (await wire.receive("PATCH")).status == 204
    await wire.close()
    assert await server.offset(target) == 10

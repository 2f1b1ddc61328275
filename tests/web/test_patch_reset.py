"""A connection that is cut in the middle of its body."""

from __future__ import annotations

from tests.web.served import Served
from tests.web.wire import BODY, Wire, head


async def test_what_came_before_a_reset_is_truthful_and_the_rest_goes_on(server: Served) -> None:
    """CORE-PATCH-19, CORE-PATCH-20, CORE-PATCH-21: a body cut short counts no byte that did not come."""
    target = await server.create(10)
    for fields, body in (({"Content-Length": "10"}, b"he"), ({"Transfer-Encoding": "chunked"}, b"2\r\nhe\r\n3\r\nl")):
        wire = await Wire.connect(server.port)
        await wire.send(head("PATCH", target, {**BODY, "Upload-Offset": "0", **fields}) + body)
        wire.writer.transport.abort()
        await wire.close()
        assert 0 <= await server.offset(target) <= 4
    # The newest request wins over whatever the dead connections still hold (CORE-PATCH-24).
    offset = await server.offset(target)
    while (reply := await server.patch(target, offset, b"helloworld"[offset:])).status in (409, 423):
        offset = await server.offset(target)
    assert reply.status == 204
    assert await server.content(target) == b"helloworld"

"""The body of a request as ASGI's `receive()` gives it: `ports.BodySource` on any ASGI server."""

from __future__ import annotations

from typing import Final

from starlette.types import Receive, Scope

from tuspy_server.ports import BODY_EXTENSION, BodySource
from tuspy_server.protocol.errors import ClientDisconnected


def body_source(scope: Scope, receive: Receive) -> BodySource:
    """The shortest way to a request's body that this server has."""
    direct: BodySource | None = scope.get("extensions", {}).get(BODY_EXTENSION)
    return direct or ReceiveSource(receive)


class ReceiveSource:
    """Copies each message into the buffers that it is given; keeps what did not fit. ASGI tells no trailers."""

    delivers_trailers: Final = False
    trailers: Final = ()

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = memoryview(b"")
        self._more_body = True

    async def readinto(self, buffer: memoryview) -> int:
        """See the port."""
        while not self._left:
            if not self._more_body:
                return 0
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            self._left = memoryview(message.get("body", b""))
            self._more_body = message.get("more_body", False)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

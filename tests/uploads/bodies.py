"""A request body whose bytes, end and disconnect come when a test says so: `ports.BodySource`."""

from __future__ import annotations

import asyncio

from tuspy_server.protocol.errors import ClientDisconnected


class ScriptedBody:
    """`sent` is all that the client has sent; what was received is always a prefix of it."""

    def __init__(self, content: bytes = b"", *, ended: bool = False) -> None:
        self.sent = bytearray(content)
        self.ended = ended
        self.disconnected = False
        self.taken_bytes = 0
        self.delivers_trailers = True
        self.trailers: list[tuple[bytes, bytes]] = []
        self._news: asyncio.Future[None] | None = None

    @classmethod
    def whole(cls, content: bytes) -> ScriptedBody:
        return cls(content, ended=True)

    @property
    def is_open(self) -> bool:
        return not self.ended and not self.disconnected

    def send(self, content: bytes) -> None:
        self.sent += content
        self._tell()

    def end(self) -> None:
        self.ended = True
        self._tell()

    def disconnect(self) -> None:
        self.disconnected = True
        self._tell()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def readinto(self, buffer: memoryview) -> int:
        while True:
            count = min(len(buffer), len(self.sent) - self.taken_bytes)
            if count:
                buffer[:count] = self.sent[self.taken_bytes : self.taken_bytes + count]
                self.taken_bytes += count
                return count
            if self.ended:
                return 0
            if self.disconnected:
                raise ClientDisconnected
            self._news = asyncio.get_running_loop().create_future()
            await self._news

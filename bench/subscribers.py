"""Many subscribers that each follow one upload by server-sent events, and note when its event came."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.wire import Broken

FINISHED: Final = "upload.finished"
LINE_BYTES: Final = 1 << 16
CONNECTS_AT_ONCE: Final = 64


@dataclass(slots=True)
class Subscriber:
    """One connection.

    `late_ms`: from the time in the event, which is that of the start of its transaction, to its arrival here; so a
    little more than from the commit.
    """

    port: int
    upload_id: str
    late_ms: float | None = None
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = field(default=None, repr=False)

    async def subscribe(self) -> None:
        """Until the server has answered.

        Raises:
            Broken: by something else than a stream.
        """
        self._streams = await asyncio.open_connection("127.0.0.1", self.port, limit=LINE_BYTES)
        reader, writer = self._streams
        target = f"/events?upload={self.upload_id}&type={FINISHED}"
        writer.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise Broken(f"a subscriber was answered {head[:100]!r}")

    async def wait(self) -> None:
        """For the event."""
        if self._streams is None:
            raise RuntimeError("it has not subscribed")
        reader = self._streams[0]
        while True:
            line = await reader.readline()
            arrived = time.time()
            if not line:
                raise Broken("a stream ended before its event")
            # In a chunked body sizes stand between the lines; they never begin so.
            if line.startswith(b"data:"):
                event = json.loads(line[5:])
                if event["type"] == FINISHED and event["subject"] == self.upload_id:
                    happened = dt.datetime.fromisoformat(event["time"]).timestamp()
                    self.late_ms = 1000 * (arrived - happened)
                    return

    async def close(self) -> None:
        """Leave."""
        if self._streams is not None:
            self._streams[1].close()
            with contextlib.suppress(OSError):
                await self._streams[1].wait_closed()


async def subscribe_all(subscribers: Sequence[Subscriber]) -> None:
    """Some at a time: a thousand connections at one instant are not what is measured."""
    turns = asyncio.Semaphore(CONNECTS_AT_ONCE)

    async def one(subscriber: Subscriber) -> None:
        async with turns:
            await subscriber.subscribe()

    await asyncio.gather(*(one(subscriber) for subscriber in subscribers))

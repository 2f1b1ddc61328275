"""Many subscribers that each follow one upload by server-sent events, and note when its event came."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Sequence
from typing import Final

from bench.wire import Broken

FINISHED: Final = "upload.finished"
END_OF_HEAD: Final = re.compile(rb"\r\n\r\n")
EVENT: Final = re.compile(rb"event: upload\.finished\ndata: .*\n")
CONNECTS_AT_ONCE: Final = 64


class Subscriber(asyncio.Protocol):
    """One connection. What comes is kept with the time of its arrival, and read once all of it is there, so that
    the times of others do not wait for one's parsing.

    Attributes:
        upload_id: what it follows.
        arrived_at: when the event came, in seconds since the epoch.
    """

    def __init__(self, port: int, upload_id: str) -> None:
        self.upload_id = upload_id
        self.arrived_at = 0.0
        self._port = port
        self._come: list[tuple[float, bytes]] = []
        self._changed = asyncio.Event()
        self._transport: asyncio.WriteTransport | None = None
        self._is_over = False

    async def subscribe(self) -> None:
        """Until the server has answered.

        Raises:
            Broken: by something else than a stream.
        """
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._port)
        if self._transport is None:
            raise RuntimeError("a connection has a transport")
        target = f"/events?upload={self.upload_id}&type={FINISHED}"
        self._transport.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode())
        head = await self._until(END_OF_HEAD)
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise Broken(f"a subscriber was answered {head[:100]!r}")

    async def arrival(self) -> None:
        """Of the event."""
        await self._until(EVENT)

    def read(self) -> None:
        """When it came.

        Raises:
            Broken: it is another one.
        """
        before = b""
        for arrived, data in self._come:
            text = before + data
            # The time of what has made the line whole.
            for line in text.split(b"\n")[:-1]:
                # In a chunked body sizes stand between the lines; they never begin so.
                if line.startswith(b"data:"):
                    event = json.loads(line[5:])
                    if event["type"] == FINISHED and event["subject"] == self.upload_id:
                        self.arrived_at = arrived
                        return
            before = text.rpartition(b"\n")[2]
        raise Broken("an event is not what was asked for")

    def close(self) -> None:
        """Leave."""
        if self._transport is not None:
            self._transport.abort()

    async def _until(self, mark: re.Pattern[bytes]) -> bytes:
        while not mark.search(come := b"".join(data for _, data in self._come)):
            if self._is_over:
                raise Broken("a stream ended before its event")
            self._changed.clear()
            await self._changed.wait()
        return come

    # --- asyncio.Protocol ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        if not isinstance(transport, asyncio.WriteTransport):
            raise TypeError("a connection can be written to")
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._come.append((time.time(), data))
        self._changed.set()

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio."""
        self._is_over = True
        self._changed.set()


async def subscribe_all(subscribers: Sequence[Subscriber]) -> None:
    """Some at a time: a thousand connections at one instant are not what is measured."""
    turns = asyncio.Semaphore(CONNECTS_AT_ONCE)

    async def one(subscriber: Subscriber) -> None:
        async with turns:
            await subscriber.subscribe()

    await asyncio.gather(*(one(subscriber) for subscriber in subscribers))


async def wait_all(subscribers: Sequence[Subscriber]) -> None:
    """For the events of all. Nothing is read while some are still under way: see `Subscriber`."""
    await asyncio.gather(*(subscriber.arrival() for subscriber in subscribers))
    for subscriber in subscribers:
        subscriber.read()

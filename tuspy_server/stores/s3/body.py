"""A request body made of pages, sent by aiohttp as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_writer import StreamWriter

_OWN_WRITE_BYTES: Final = 16 << 10
_TICKS: Final = 4


class PagesBody(aiohttp.Payload):
    """Views in their order, never joined nor copied here; sent once.

    The event loop's transport keeps the views that the socket has not taken yet. Whoever gives pages back must know
    that it does not: after every call that did not end well, `abandon` breaks the connection, so that a page's next
    content can never be sent as the rest of this body.

    Attributes:
        sent: the store may have the whole body.
    """

    _autoclose = True

    def __init__(self, views: Sequence[memoryview]) -> None:
        super().__init__(views, content_type=None)
        self._views = views
        self._size = self._total = sum(map(len, views))
        self._transport: asyncio.Transport | None = None
        self.sent = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Part of aiohttp's interface; bodies are bytes."""
        raise NotImplementedError

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send all views. aiohttp repeats a PUT by itself where a kept connection turns out dead: not with this body,
        because repetitions are counted, and some calls must not be repeated."""
        if self._transport is not None:
            raise ConnectionResetError("the body has been sent before")
        if not isinstance(writer, StreamWriter):
            raise TypeError("the writer of another aiohttp")
        # Kept, because aiohttp forgets it when it closes a connection; and closing sends what is held to the last byte.
        self._transport = writer.transport
        if self._total > _OWN_WRITE_BYTES:
            writer.send_headers()  # else aiohttp joins them with the first view
        last = len(self._views) - 1
        for number, view in enumerate(self._views):
            if number == last:
                self.sent = True
            await writer.write(view)
        self.sent = True

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """As `write`: the length is the views' own."""
        await self.write(writer)

    @property
    def is_held(self) -> bool:
        """Whether the transport may still hold views."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return transport is not None
        return not self.sent or transport.get_write_buffer_size() > 0

    async def abandon(self) -> None:
        """Break the connection and return when no view is held any more; also while being cancelled."""
        if self._transport is None:
            return
        self._transport.abort()
        cancelled: asyncio.CancelledError | None = None
        for _ in range(_TICKS):  # the buffers go in the loop's next round, those under TLS a few later
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

"""The open streams of one process, whatever carries them: how many there may be, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.types import Scope, Send

from tuspy_server.access import Grant
from tuspy_server.events.feed import Feed
from tuspy_server.protocol.errors import Draining, Forbidden, JobNotFound, TryLater, UploadNotFound
from tuspy_server.web.authority import Authority
from tuspy_server.web.frames import Frames
from tuspy_server.web.host import host_is_stopping
from tuspy_server.web.interests import Wish
from tuspy_server.web.origins import Origins
from tuspy_server.web.rechecks import Rechecks
from tuspy_server.web.stream import MOST_FOLLOWED, Stream

FOLLOWED_EACH: Final = 10
"""Subscriptions of a connection on an average: of all connections that may be, together."""

HOST_SECONDS: Final = 0.5
"""Between two looks whether the host stops."""

Exists = Callable[[str, Grant], Awaitable[bool]]


class TooManyStreams(TryLater):
    """503: as many streams as the settings allow are open, or follow as much as they may together."""

    code = "too_many_streams"


class Realtime:
    """All that streams share.

    Attributes:
        feed: where events come from.
        frames: how they are told.
        authority: who may follow them.
        origins: pages that may.
        heartbeat_seconds: most silence of a stream.
    """

    def __init__(
        self,
        feed: Feed,
        frames: Frames,
        authority: Authority,
        *,
        origins: Origins,
        upload_exists: Exists,
        job_exists: Exists,
        heartbeat_seconds: float,
        most_streams: int,
        rechecks: Rechecks | None = None,
    ) -> None:
        """`upload_exists`, `job_exists`: whether there is one of this id within the grant."""
        self.feed = feed
        self.frames = frames
        self.authority = authority
        self.origins = origins
        self.heartbeat_seconds = heartbeat_seconds
        self.rechecks = rechecks or Rechecks()
        self._upload_exists = upload_exists
        self._job_exists = job_exists
        self._most_streams = most_streams
        self._streams: dict[Stream, None] = {}
        self._is_draining = False
        self._watching: asyncio.Task[None] | None = None

    def open(self, scope: Scope, send: Send) -> Stream:
        """A new stream, which follows nothing yet; the caller closes it.

        Raises:
            Forbidden: the page may not (403). TooManyStreams, Draining: 503.
        """
        if not self.origins.allow(scope):
            raise Forbidden
        if self._is_draining:
            raise Draining
        if len(self._streams) >= self._most_streams:
            for idle in [stream for stream in self._streams if stream.is_idle]:
                idle.drain()
            raise TooManyStreams
        stream = Stream(self, scope, send)
        self._streams[stream] = None
        if self._watching is None or self._watching.done():
            self._watching = asyncio.get_running_loop().create_task(self._watch_host())
        return stream

    def close_stream(self, stream: Stream) -> None:
        """It has ended."""
        stream.close()
        self._streams.pop(stream, None)

    def __len__(self) -> int:
        """Open streams."""
        return len(self._streams)

    def must_have_room(self) -> None:
        """For one subscription more.

        Raises:
            TooManyStreams: all streams together follow as much as they may.
        """
        if len(self.feed.hub) >= max(MOST_FOLLOWED, FOLLOWED_EACH * self._most_streams):
            raise TooManyStreams

    async def must_exist(self, wish: Wish, grant: Grant) -> None:
        """What it names, within the grant.

        Raises:
            UploadNotFound, JobNotFound: there is none, or it is somebody else's.
        """
        if wish.upload_id is not None and not await self._upload_exists(wish.upload_id, grant):
            raise UploadNotFound
        if wish.job_id is not None and not await self._job_exists(wish.job_id, grant):
            raise JobNotFound

    def drain(self) -> None:
        """End all streams, open no more: their clients come back, to another node or another process."""
        self._is_draining = True
        for stream in self._streams:
            stream.drain()

    async def close(self) -> None:
        """After `drain`."""
        self.drain()
        await self.rechecks.close()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})

    async def _watch_host(self) -> None:
        while self._streams and not host_is_stopping():  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(HOST_SECONDS)
        if self._streams:
            self.drain()

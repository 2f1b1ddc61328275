"""`GET /events`: server-sent events.

Encoded here rather than by sse-starlette, whose response runs four tasks a connection and polls for the server's end;
this one runs two, and is told. What an idle reader costs is in docs/decisions/0017.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

import structlog
from starlette.types import Receive, Scope, Send

from tuspy_server.protocol.errors import ClientDisconnected, Headers, TryLater, TusError
from tuspy_server.web.answers import Answer, encode, refuse
from tuspy_server.web.interests import wish_of_query
from tuspy_server.web.origins import header
from tuspy_server.web.realtime import Realtime
from tuspy_server.web.stream import Stream

log = structlog.get_logger("tuspy_server.web")

ALLOWED: Final = "GET, OPTIONS"
KEY: Final = "events"
EVENT_STREAM: Final = "text/event-stream"
HEADERS: Final[Headers] = (
    ("Content-Type", f"{EVENT_STREAM}; charset=utf-8"),
    ("Cache-Control", "no-store"),
    ("X-Accel-Buffering", "no"),
)
HEARTBEAT: Final = b":\n\n"
RETRY_MILLISECONDS: Final = (500, 2500)
"""Clients come back after a time between these, so that a restart does not bring all of them at once."""

TROUBLE_MILLISECONDS: Final = 5000


class EventStreams:
    """ASGI app of the one path."""

    def __init__(self, realtime: Realtime) -> None:
        self._realtime = realtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request: refuse it, or stream until one side ends it."""
        method: str = scope["method"]
        further = self._realtime.origins.cors.raw_headers(header(scope, b"origin"), preflight=method == "OPTIONS")
        if method == "OPTIONS":
            await Answer(status=204, headers=(("Allow", ALLOWED),)).send(send, receive, further)
            return
        if method != "GET":
            await Answer(status=405, headers=(("Allow", ALLOWED),)).send(send, receive, further)
            return
        stream: Stream | None = None
        try:
            stream = self._realtime.open(scope, send)
            stream.write_now = _writer(send)
            wish = wish_of_query(scope["query_string"]).going_on(header(scope, b"last-event-id"))
            await stream.follow(KEY, wish)
        except BaseException as error:  # a defect, too: the client gets fixed text, the log gets the rest
            if stream is not None:
                self._realtime.close_stream(stream)
            if not isinstance(error, Exception):  # a host that cancels its requests
                raise
            if not isinstance(error, TusError):
                log.exception("stream.crashed")
                error = TusError("internal error")
            await _refusal(error, scope).send(send, receive, further)
            return
        start = {"type": "http.response.start", "status": 200, "headers": [*encode(HEADERS), *further]}
        leaving = asyncio.get_running_loop().create_task(_client_left(receive))
        leaving.add_done_callback(lambda _: stream.wake.set())
        try:
            await stream.send(start)
            await self._stream(stream, leaving)
        except ClientDisconnected:
            pass
        finally:
            self._realtime.close_stream(stream)
            leaving.cancel()
            await asyncio.wait({leaving})

    async def _stream(self, stream: Stream, leaving: asyncio.Task[None]) -> None:
        await _write(stream, b"retry: %d\n\n" % random.randint(*RETRY_MILLISECONDS))
        while not (leaving.done() or stream.is_draining or stream.is_revoked):
            stream.wake.clear()
            if stream.is_ready:
                frames = await stream.read(KEY)
                if frames:
                    await _write(stream, b"".join(frame.server_sent for frame in frames))
            elif not await stream.pause(self._realtime.heartbeat_seconds):
                await _write(stream, HEARTBEAT)
        if not leaving.done():
            await stream.send({"type": "http.response.body", "body": b""})


def _refusal(error: TusError, scope: Scope) -> Answer:
    """A browser's EventSource comes back after the end of a stream, but never after a status other than 200: to trouble
    that passes it is told the end of one."""
    if isinstance(error, TryLater) and EVENT_STREAM in (header(scope, b"accept") or ""):
        body = f"retry: {TROUBLE_MILLISECONDS}\n: {error.code}\n\n"
        return Answer(status=200, headers=HEADERS, body=body.encode())
    return refuse(error, scope["method"])


def _writer(send: Send) -> Callable[[bytes], bool]:
    """What writes a part of the body without a task, where nothing stands between this and our own HTTP class: a
    thousand readers are told so in a fraction of the time that it takes to wake their tasks."""
    write: Callable[[bytes], bool] | None = getattr(getattr(send, "__self__", None), "send_now", None)
    return write if write is not None else lambda _: False


async def _write(stream: Stream, body: bytes) -> None:
    await stream.send({"type": "http.response.body", "body": body, "more_body": True})


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

"""All that serves streams of events, put together: `/events` and `/ws`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.types import Receive, Scope, Send

from tuspy_server.access import Grant
from tuspy_server.events.feed import Feed
from tuspy_server.events.hub import Hub
from tuspy_server.events.progress import ProgressMeter
from tuspy_server.ports import EventLog, JobStore, ProgressBus, UploadStore
from tuspy_server.protocol.errors import NotFound, TusError
from tuspy_server.settings import Settings
from tuspy_server.web.answers import refuse
from tuspy_server.web.authority import Authority
from tuspy_server.web.cors import Cors
from tuspy_server.web.endpoint import route_path
from tuspy_server.web.frames import Frames
from tuspy_server.web.origins import Origins
from tuspy_server.web.realtime import Realtime
from tuspy_server.web.sse import EventStreams
from tuspy_server.web.websocket import EventSockets, deny

EVENTS: Final = "/events"
SOCKETS: Final = "/ws"
PREFIXES: Final = ("events", "ws")


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """ASGI app of both.

    Attributes:
        feed: to be advanced when events have been numbered.
        progress: to be told of commits.
        realtime: the open ones.
    """

    feed: Feed
    progress: ProgressMeter
    realtime: Realtime
    events: EventStreams
    sockets: EventSockets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or one WebSocket."""
        path = route_path(scope)
        if scope["type"] == "websocket" and path == SOCKETS:
            await self.sockets(scope, receive, send)
        elif scope["type"] == "http" and path == EVENTS:
            await self.events(scope, receive, send)
        else:
            await refuse_stream(NotFound(), scope, receive, send)

    def drain(self) -> None:
        """End all of them; no new ones."""
        self.realtime.drain()

    async def close(self) -> None:
        """After `drain`."""
        self.progress.close()
        await self.realtime.close()


async def refuse_stream(error: TusError, scope: Scope, receive: Receive, send: Send) -> None:
    """Whatever it would have been."""
    if scope["type"] == "websocket":
        await deny(error, scope, receive, send)
    else:
        await refuse(error, scope["method"]).send(send, receive)


def make_streams(
    settings: Settings,
    authority: Authority,
    *,
    log: EventLog,
    uploads: UploadStore,
    jobs: JobStore | None,
    bus: ProgressBus | None,
) -> Streams:
    """Join them; no I/O. `bus`: where other nodes are told of progress; None where there are none."""
    hub = Hub(bus)
    feed = Feed(log, hub)

    async def upload_exists(upload_id: str, grant: Grant) -> bool:
        upload = await uploads.get(upload_id)
        return upload is not None and grant.reaches(upload.tenant)

    async def job_exists(job_id: str, grant: Grant) -> bool:
        return jobs is not None and await jobs.job(job_id, grant.tenant) is not None

    realtime = Realtime(
        feed,
        Frames(settings.cloudevents_source),
        authority,
        origins=Origins(Cors(settings.cors_origins, settings.cors_credentials), settings.public_url),
        upload_exists=upload_exists,
        job_exists=job_exists,
        heartbeat_seconds=settings.stream_heartbeat_seconds,
        most_streams=settings.stream_most,
    )
    listeners = (hub.progressed,) if bus is None else (hub.progressed, bus.publish)
    return Streams(
        feed=feed,
        progress=ProgressMeter(*listeners),
        realtime=realtime,
        events=EventStreams(realtime),
        sockets=EventSockets(realtime),
    )

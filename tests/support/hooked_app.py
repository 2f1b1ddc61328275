"""An application as a user writes it: Starlette, a mounted `TusServer` and a hook, on a uvicorn of its own."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from tests.support.events import EVENTS_VARIABLE, record
from tuspy_server import Event, Settings, TusServer
from tuspy_server.logs import configure

STALL_VARIABLE: Final = "TEST_STALL"
"""`task` or `thread`: hooks of that kind never return, once they have recorded their event."""

settings = Settings()
tus = TusServer(settings)


async def stall_in_task(event: Event) -> None:
    record(event)
    await asyncio.Event().wait()


def stall_in_thread(event: Event) -> None:
    record(event)
    time.sleep(3600)


match os.environ.get(STALL_VARIABLE):
    case "task":
        tus.on("upload.finished")(stall_in_task)
    case "thread":
        tus.on("upload.finished")(stall_in_thread)
    case _ if EVENTS_VARIABLE in os.environ:
        tus.on("upload.finished")(record)


async def readyz(request: Request) -> PlainTextResponse:
    await tus.check()
    return PlainTextResponse("ok\n")


app = Starlette(routes=[Route("/readyz", readyz), Mount("/files", tus)], lifespan=tus.lifespan)

if __name__ == "__main__":
    configure(settings)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        timeout_graceful_shutdown=int(settings.drain_seconds),
    )

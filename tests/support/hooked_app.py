"""An application as a user writes it: Starlette, a mounted `TusServer` and a hook, on a uvicorn of its own."""

from __future__ import annotations

import math

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from tests.support.events import add_hook
from tuspy_server import Settings, TusServer
from tuspy_server.logs import configure

settings = Settings()
tus = TusServer(settings)
add_hook(tus)


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
        timeout_graceful_shutdown=math.ceil(settings.drain_seconds),
    )

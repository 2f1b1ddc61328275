"""The whole site: uploads at their path, and what operators and load balancers ask."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tuspy_server.web.metrics import CONTENT_TYPE
from tuspy_server.web.streams import SOCKETS

CHECK_SECONDS: Final = 1.0
"""How long the outcome of a check is told."""


class Site:
    """ASGI app: requests below `path` go to the uploads, with or without its last slash, all others to the routes."""

    def __init__(
        self,
        path: str,
        uploads: ASGIApp,
        *,
        check: Callable[[], Awaitable[None]],
        metrics: Callable[[], Awaitable[bytes]],
        lifespan: Callable[[object], AbstractAsyncContextManager[None]],
        sections: Mapping[str, ASGIApp] | None = None,
    ) -> None:
        """`path` begins and ends with a slash. `check` raises where the server is not ready. `sections`: apps by the
        first segment of their paths, which they see whole."""
        self._mount = path.rstrip("/")
        self._uploads = uploads
        self._sections = dict(sections or {})
        self._check = check
        self._checking = asyncio.Lock()
        self._checked_at = -math.inf
        self._trouble: str | None = None
        self._metrics = metrics
        self._routes = Starlette(
            routes=[
                Route("/", self._index),
                Route("/livez", self._livez),
                Route("/readyz", self._readyz),
                Route("/metrics", self._render_metrics),
            ],
            exception_handlers={404: self._elsewhere, 405: self._elsewhere},
            lifespan=lifespan,
        )
        # Starlette's redirect is absolute, to whatever host the request names (fault X17).
        self._routes.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection or the lifespan."""
        if scope["type"] in ("http", "websocket"):
            root: str = scope.get("root_path", "")
            path: str = scope["path"]
            below = path[len(root) :] if root and path.startswith(root) else path
            is_upload = scope["type"] == "http" and (below == self._mount or below.startswith(f"{self._mount}/"))
            if is_upload:
                await self._uploads({**scope, "root_path": root + self._mount}, receive, send)
                return
            section = self._sections.get(below.split("/", 2)[1] if below[:1] == "/" else "")
            if section is not None and (scope["type"] == "http" or below == SOCKETS):
                await section(scope, receive, send)
                return
        await self._routes(scope, receive, send)

    async def _index(self, request: Request) -> Response:
        return PlainTextResponse(f"tuspy-server takes tus uploads at {self._mount}/\n")

    async def _elsewhere(self, request: Request, error: Exception) -> Response:
        """A client with the wrong URL is told the right one."""
        if not isinstance(error, HTTPException):
            raise error
        text = f"{error.detail}: tuspy-server takes tus uploads at {self._mount}/\n"
        return PlainTextResponse(text, status_code=error.status_code, headers=error.headers)

    async def _livez(self, request: Request) -> Response:
        return PlainTextResponse("ok\n", headers={"Cache-Control": "no-store"})

    async def _readyz(self, request: Request) -> Response:
        # A check writes and syncs, and anybody may ask: one answer serves all who ask within a second.
        async with self._checking:
            if time.monotonic() - self._checked_at > CHECK_SECONDS:
                self._trouble = await self._find_trouble()
                self._checked_at = time.monotonic()
        if self._trouble is not None:
            text = f"not ready: {self._trouble}\n"
            return PlainTextResponse(text, status_code=503, headers={"Cache-Control": "no-store"})
        return PlainTextResponse("ok\n", headers={"Cache-Control": "no-store"})

    async def _find_trouble(self) -> str | None:
        try:
            await self._check()
        except Exception as error:  # whatever it is, the server is not ready, and the cause's name is no secret
            return type(error).__name__
        return None

    async def _render_metrics(self, request: Request) -> Response:
        return Response(await self._metrics(), media_type=CONTENT_TYPE)

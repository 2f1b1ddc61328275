"""The API's ASGI edge: a request to its route, what that raises to a problem, with the headers of every answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import structlog
from starlette.types import Receive, Scope, Send

from tuspy_server.jobs.wishes import FileRefused
from tuspy_server.protocol.core import ALL_METHODS
from tuspy_server.protocol.errors import ClientDisconnected, MethodNotAllowed, NotFound, TusError
from tuspy_server.protocol.fields import RequestHead
from tuspy_server.web.answers import Answer
from tuspy_server.web.api.problems import InvalidBody, problem
from tuspy_server.web.api.reading import query_of
from tuspy_server.web.api.routes import Call, Route
from tuspy_server.web.body import body_source
from tuspy_server.web.cors import Cors
from tuspy_server.web.metrics import Metrics
from tuspy_server.web.request_id import identify

log = structlog.get_logger("tuspy_server.web")

PREFIXES: Final = ("api", "commands", "queries")
"""First segments of its paths."""

CLIENT_LEFT: Final = 499


class ApiEndpoint:
    """ASGI app of everything below `PREFIXES`, and of the refusals there."""

    def __init__(self, routes: Sequence[Route], *, cors: Cors, metrics: Metrics, max_header_bytes: int) -> None:
        self.routes = tuple(routes)
        self._cors = cors
        self._metrics = metrics
        self._max_header_bytes = max_header_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        started = time.perf_counter()
        self._metrics.request_began()
        request_id, origin = identify(scope)
        method = scope["method"] if scope["method"] in ALL_METHODS else "other"
        status = 500
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                answer = await self._answer(scope, receive)
                status = answer.status
                common = (
                    (b"x-request-id", request_id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    *self._cors.raw_headers(origin, preflight=scope["method"] == "OPTIONS"),
                )
                await answer.send(send, receive, common)
            except ClientDisconnected:
                status = CLIENT_LEFT
            finally:
                seconds = time.perf_counter() - started
                self._metrics.request_ended(method, status, seconds)
                log.info("request.finished", method=method, status=status, duration_ms=round(seconds * 1000, 1))

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        method = scope["method"]
        try:
            head = RequestHead.from_raw(method, scope["headers"], self._max_header_bytes)
            root = scope.get("root_path", "")
            path = scope["path"].removeprefix(root)
            found = [(route, match) for route in self.routes if (match := route.pattern.fullmatch(path))]
            if not found:
                if method == "OPTIONS":  # a 404 would hide the real answer from a browser
                    return Answer(status=204)
                raise NotFound
            allowed = ("OPTIONS", *(name for route, _ in found for name in route.methods))
            if method == "OPTIONS":
                return Answer(status=204, headers=(("Allow", ", ".join(allowed)),))
            for route, match in found:
                if method in route.methods:
                    query = query_of(scope, route.known_query)
                    call = Call(scope, head, body_source(scope, receive), root, match.groupdict(), query)
                    return await route.handler(call)
            raise MethodNotAllowed(allowed)
        except (TusError, InvalidBody, FileRefused) as error:
            return problem(error, method)
        except ClientDisconnected:
            raise
        except Exception:  # a defect: the client gets fixed text, the log gets the rest
            log.exception("request.crashed")
            return problem(TusError("internal error"), method)

"""What hooks are told of a request, from ASGI."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote

from starlette.types import Scope

from tuspy_server.access import EVERYTHING, Grant, RequestContext


def request_context(
    scope: Scope, *, upload_id: str | None = None, job_id: str | None = None, grant: Grant = EVERYTHING
) -> RequestContext:
    """The request of an `http` or `websocket` scope, about that upload or job."""
    client = scope.get("client")
    query = scope.get("query_string", b"").decode("latin-1")
    raw_path = scope.get("raw_path")  # optional in ASGI
    path = quote(scope["path"]) if raw_path is None else raw_path.decode("latin-1")
    return RequestContext(
        method=scope.get("method", "GET"),
        path=scope["path"],
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        query=dict(parse_qsl(query, keep_blank_values=True)) if query else {},
        uri=f"{path}?{query}" if query else path,
        client=client[0] if client else None,
        grant=grant,
        upload_id=upload_id,
        job_id=job_id,
    )

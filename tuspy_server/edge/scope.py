"""What ASGI is told of a request."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl

from tuspy_server.edge.body import RequestBody
from tuspy_server.edge.head import ParsedHead
from tuspy_server.ports import BODY_EXTENSION


class Scopes:
    """Makes the scopes of one connection's requests; each is the application's own."""

    def __init__(self, config: Config, app_state: dict[str, Any], transport: asyncio.Transport) -> None:
        self._app_state = app_state
        self._asgi_version = config.asgi_version
        self._root_path = config.root_path
        self._raw_root_path = config.root_path.encode("ascii")
        self._client = get_remote_addr(transport)
        self._server = get_local_addr(transport)
        self._scheme = "https" if is_ssl(transport) else "http"

    def scope(self, head: ParsedHead, body: RequestBody) -> dict[str, Any]:
        """See ASGI; the body is offered without `receive`, too."""
        return {
            "type": "http",
            "asgi": {"version": self._asgi_version, "spec_version": "2.3"},
            "http_version": head.http_version,
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "method": head.method,
            "root_path": self._root_path,
            "path": self._root_path + head.path,
            "raw_path": self._raw_root_path + head.raw_path,
            "query_string": head.query_string,
            "headers": head.headers,
            "state": self._app_state.copy(),
            "extensions": {BODY_EXTENSION: body},
        }

"""Servers for the tests of the web edge."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from structlog.typing import EventDict
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.web.served import HttpClass, Served, listen, settings
from tuspy_server import TusServer
from tuspy_server.edge.connection import EdgeConnection

ON_BOTH_CLASSES = pytest.mark.parametrize(
    "http", [pytest.param(HttpToolsProtocol, id="stock"), pytest.param(EdgeConnection, id="ours")], indirect=True
)
"""For tests of what is on the wire: under uvicorn as it comes, and under the class that `tuspy-server serve` brings."""

Serve: TypeAlias = Callable[..., Awaitable[Served]]


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[EventDict]]:
    """What is logged, with the request's id. Unconfigured, structlog draws each traceback with rich, for seconds."""
    with capture_logs(processors=[merge_contextvars]) as captured:
        yield captured


@pytest.fixture
def http(request: pytest.FixtureRequest) -> HttpClass:
    """What reads and writes the sockets: what most hosts have, unless a test names another one."""
    http: HttpClass = getattr(request, "param", HttpToolsProtocol)
    return http


@pytest.fixture
async def serve(tmp_path: Path, http: HttpClass) -> AsyncIterator[Serve]:
    """Starts a whole site with these settings."""
    async with AsyncExitStack() as stack:

        async def start(**changes: Any) -> Served:
            tus = TusServer(settings(tmp_path / "data", **changes))
            port = await stack.enter_async_context(listen(tus.app, http=http))
            stack.callback(tus.drain)
            return Served(port, tus, tus.settings.path)

        yield start


@pytest.fixture
async def server(serve: Serve) -> Served:
    """A whole site with default settings."""
    return await serve()

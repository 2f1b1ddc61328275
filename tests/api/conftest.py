"""The whole site on each of the databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.api.asking import TOKEN, Api
from tests.web.conftest import logs
from tests.web.served import Served, listen, settings
from tuspy_server import TusServer

__all__ = ["logs"]

ServeApi = Callable[..., Awaitable[Api]]
ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
"""For tests of what no database has a part in."""


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings of a database: each of them."""
    if request.param == "sqlite":
        return {}
    return {"database_url": request.getfixturevalue("postgres_dsn")}


@pytest.fixture
async def serve_api(tmp_path: Path, database: dict[str, Any]) -> AsyncIterator[ServeApi]:
    """Starts a site; `prepare` is given its `TusServer` before."""
    async with AsyncExitStack() as stack:

        async def start(prepare: Callable[[TusServer], object] = bool, **changes: Any) -> Api:
            wanted = {"api_token": TOKEN, **database, **changes}
            tus = TusServer(settings(tmp_path / "data", **wanted))
            prepare(tus)
            port = await stack.enter_async_context(listen(tus.app))
            return Api(Served(port, tus))

        yield start


@pytest.fixture
async def api(serve_api: ServeApi) -> Api:
    return await serve_api()

"""A uvicorn that has changed under our class is found at start-up, not by clients."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tuspy_server.edge.connection import EdgeConnection
from tuspy_server.edge.options import EdgeOptions
from tuspy_server.edge.selftest import self_test


async def test_it_passes_on_the_uvicorn_that_is_installed() -> None:
    assert await self_test() is None
    assert await self_test(functools.partial(EdgeConnection, options=EdgeOptions())) is None
    assert asyncio.all_tasks() == {asyncio.current_task()}


# What is broken on purpose leaves its connections open.
BROKEN = [
    pytest.mark.asyncio(loop_factories=["asyncio"]),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


def broken(test: Any) -> Any:
    return functools.reduce(lambda marked, mark: mark(marked), BROKEN, test)


class NewConstructor(EdgeConnection):
    def __init__(self, config: Any, server_state: Any, app_state: Any) -> None:
        super().__init__(config, server_state, app_state)


class NoShutdown(EdgeConnection):
    def shutdown(self) -> None: ...


class Uncounted(EdgeConnection):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server_state.connections.clear()


class LosesBytes(EdgeConnection):
    def buffer_updated(self, nbytes: int) -> None:
        super().buffer_updated(nbytes - 1)


class NoDate(EdgeConnection):
    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        return []


@broken
@pytest.mark.parametrize("http", [NewConstructor, NoShutdown, Uncounted, LosesBytes, NoDate, HttpToolsProtocol])
async def test_a_class_that_does_not_fit_is_named_as_such(http: Any) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    assert await self_test(http)


@broken
@pytest.mark.parametrize("attribute", ["asgi_version", "timeout_keep_alive", "root_path", "ws_protocol_class"])
async def test_a_setting_that_uvicorn_no_longer_has_is_found(monkeypatch: pytest.MonkeyPatch, attribute: str) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    load = uvicorn.Config.load

    def without(config: Any) -> None:
        load(config)
        if attribute in vars(config):
            delattr(config, attribute)
        else:
            monkeypatch.delattr(uvicorn.Config, attribute)

    monkeypatch.setattr(uvicorn.Config, "load", without)
    assert await self_test()

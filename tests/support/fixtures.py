"""Fixtures for tests with real processes; a conftest imports the ones that its folder uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, Protocol

import pytest

from tests.support.process import CLI, ServerProcess


class MakeServer(Protocol):
    """Makes a server that is not started yet."""

    def __call__(
        self, *, program: tuple[str, ...] = CLI, data: Path | None = None, **settings: object
    ) -> ServerProcess: ...


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[MakeServer]:
    servers: list[ServerProcess] = []

    def make(*, program: tuple[str, ...] = CLI, data: Path | None = None, **settings: object) -> ServerProcess:
        server = ServerProcess(tmp_path / f"server-{len(servers)}", program=program, settings=settings)
        if data is not None:
            server.data = data
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.close()
        print(f"--- {server.log_path}\n{server.log_tail()}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One running server for all tests of a module that leave it running."""
    server = ServerProcess(tmp_path_factory.mktemp("server"))
    try:
        yield server.start()
    finally:
        server.close()
        print(f"--- {server.log_path}\n{server.log_tail()}")


def need(what: str) -> NoReturn:
    """This machine lacks something that the test needs: skip it here, but never where it counts."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"this test needs {what}, and CI has to have it")
    pytest.skip(f"needs {what}")

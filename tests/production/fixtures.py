"""Servers on a database and a bucket of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.production.pair import Pair, ProductionServer
from tests.support.process import CLI
from tests.support.strict_s3.remote import StrictProcess


class MakeNode(Protocol):
    """Makes a server on `pair` that is not started yet."""

    def __call__(self, *, program: tuple[str, ...] = CLI, **settings: object) -> ProductionServer: ...


@pytest.fixture
def pair(postgres_dsn: str, strict_process: StrictProcess) -> Pair:
    """A new database, and a new bucket of `gateway` behind the strict layer."""
    return Pair(postgres_dsn, strict_process.bucket)


@pytest.fixture
def make_node(pair: Pair, tmp_path: Path) -> Iterator[MakeNode]:
    servers: list[ProductionServer] = []

    def make(*, program: tuple[str, ...] = CLI, **settings: object) -> ProductionServer:
        server = ProductionServer(tmp_path / f"node-{len(servers)}", pair, program=program, settings=settings)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.close()
        print(f"--- {server.log_path}\n{server.log_tail()}")

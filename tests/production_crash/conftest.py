from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.production_crash.production import Node, Production
from tests.support.strict_s3.remote import StrictProcess
from trial.gateways import Gateway
from trial.postgres import PostgresServer

_numbers = itertools.count(1)

IN_SHORT = ("test_behind_nginx", "test_failpoints", "test_moves")
"""Modules of which `make test` runs what is not marked itself; the others wait for `make test-long` as a whole."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real processes and real deadlines: minutes, all together."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.stem not in IN_SHORT:
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session")
def shared_strict(rclone: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictProcess]:
    """One strict layer for all tests here, each with a prefix of its own."""
    strict = StrictProcess(rclone.make_bucket("production"), tmp_path_factory.mktemp("strict"))
    try:
        yield strict.start()
    finally:
        strict.stop()


@pytest.fixture
def production(
    rclone: Gateway, shared_strict: StrictProcess, postgres_dsn: str, tmp_path: Path
) -> Iterator[Production]:
    made = Production(
        folder=tmp_path,
        dsn=postgres_dsn,
        strict=shared_strict,
        objects=rclone.folder / "objects" / shared_strict.bucket.name,
        prefix=f"t{next(_numbers)}/",
    )
    try:
        yield made
    finally:
        made.close()
        shared_strict.heal()


@pytest.fixture(scope="module")
def node_settings() -> dict[str, object]:
    """Of the two nodes; a module may have its own."""
    return {"commit_interval_seconds": 0.05}


@pytest.fixture(scope="module")
def pair_of_nodes(
    node_settings: dict[str, object],
    rclone: Gateway,
    shared_strict: StrictProcess,
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Production]:
    """Two running nodes for all tests of a module that leave them running."""
    name = f"pair_{next(_numbers)}"
    postgres_server.create_database(name)
    made = Production(
        folder=tmp_path_factory.mktemp("pair"),
        dsn=postgres_server.dsn(name),
        strict=shared_strict,
        objects=rclone.folder / "objects" / shared_strict.bucket.name,
        prefix=f"p{next(_numbers)}/",
    )
    try:
        for _ in range(2):
            made.node(**node_settings).launch()
        for node in made.nodes:
            node.wait_ready()
        yield made
    finally:
        made.close()


@pytest.fixture
def pair(pair_of_nodes: Production, shared_strict: StrictProcess) -> Iterator[Production]:
    """The two, with a storage that is well again afterwards."""
    yield pair_of_nodes
    shared_strict.heal()
    for node in pair_of_nodes.nodes:
        print(f"--- {node.log_path}\n{node.log_tail()}")


@pytest.fixture
def nodes(pair: Production) -> tuple[Node, Node]:
    first, second = pair.nodes
    return first, second

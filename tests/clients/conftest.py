"""Each client meets the embedded store with both HTTP classes, and PostgreSQL with a bucket with ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.production.pair import Pair, ProductionServer, strict_pair
from tests.support.fixtures import MakeServer
from tests.support.process import CLI, UPLOAD_ID, ServerProcess
from tests.support.s3 import client
from trial.gateways import Bucket, Gateway
from trial.postgres import PostgresServer

PRODUCTION = "production"


class BucketServer(ProductionServer):
    """Knows what lies in its bucket, as `ServerProcess` knows its folder."""

    @property
    def files(self) -> set[str]:
        return asyncio.run(_uploads_in(self.pair.bucket))


async def _uploads_in(bucket: Bucket) -> set[str]:
    async with client(bucket) as s3:
        listed = await s3.list_objects_v2(Bucket=bucket.name)
        unfinished = await s3.list_multipart_uploads(Bucket=bucket.name)
    rows = [*listed.get("Contents", ()), *unfinished.get("Uploads", ())]
    return {found[0] for row in rows if (found := UPLOAD_ID.search(row["Key"]))}


@pytest.fixture(scope="module")
def production(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """One database and one bucket behind the strict layer, for all production servers of a module."""
    rclone: Gateway = request.getfixturevalue("rclone")
    with strict_pair(postgres_server, rclone, tmp_path_factory.mktemp("strict")) as (pair, _):
        yield pair


@pytest.fixture(scope="module", params=["own", "stock", PRODUCTION])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One running server for all tests of a module that leave it running, with each of the HTTP classes and stores."""
    folder = tmp_path_factory.mktemp("server")
    if request.param == PRODUCTION:
        server: ServerProcess = BucketServer(folder, request.getfixturevalue("production"))
    else:
        server = ServerProcess(folder, settings={"http": request.param})
    try:
        yield server.start()
    finally:
        server.close()
        print(f"--- {server.log_path}\n{server.log_tail()}")


@pytest.fixture(params=["embedded", PRODUCTION])
def make_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeServer]:
    """As that of `tests.support.fixtures`, with each of the stores."""
    pair: Pair | None = request.getfixturevalue("production") if request.param == PRODUCTION else None
    servers: list[ServerProcess] = []

    def make(*, program: tuple[str, ...] = CLI, data: Path | None = None, **settings: object) -> ServerProcess:
        folder = tmp_path / f"server-{len(servers)}"
        if pair is None:
            server = ServerProcess(folder, program=program, settings=settings)
        else:
            server = BucketServer(folder, pair, program=program, settings=settings)
        if data is not None:
            server.data = data
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.close()
        print(f"--- {server.log_path}\n{server.log_tail()}")


LONG_IN_PRODUCTION = (
    "test_ten_uploads_at_once[production]",
    "test_a_stream_of_unknown_length[production]",
    "test_a_restart_in_the_middle_is_ridden_out[production-kill-chunks]",
    "test_a_restart_in_the_middle_is_ridden_out[production-terminate-",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Some of what takes longest, and shows what shorter ones show, waits for `make test-long`."""
    for item in items:
        if item.name.startswith(LONG_IN_PRODUCTION):
            item.add_marker(pytest.mark.long)

"""Fixtures with a real PostgreSQL and real S3 gateways: one of each a session, a corner of it for each test."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.nginx import Nginx
from tests.support.pgbouncer import PgBouncer
from tests.support.strict_s3 import StrictS3
from tests.support.strict_s3.remote import StrictProcess
from trial import lifeline
from trial.gateways import Bucket, Gateway, Moto, Rclone
from trial.postgres import PostgresServer

_numbers = itertools.count(1)

ON_RCLONE = pytest.mark.parametrize("gateway", ["rclone"], indirect=True)
"""For a test that one gateway is enough for; moto is slow with large objects."""


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """PostgreSQL 18, unsafe and fast. A test that stops it starts it again; one that kills it makes its own."""
    # Not below pytest's own folder, which only its owner may enter: as root the server runs as somebody else.
    with tempfile.TemporaryDirectory(prefix="tuspy-postgres-") as folder:
        lifeline.remove_at_end(Path(folder))
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder) / "server", fsync=False)
        try:
            yield server.start()
        finally:
            server.stop()


class MakeDatabase(Protocol):
    """Gives one more empty database, by its DSN."""

    def __call__(self) -> str: ...


@pytest.fixture(scope="session")
def empty_databases() -> list[str]:
    """Made for earlier tests, and emptied: to make one anew takes ten times as long."""
    return []


@pytest.fixture
def make_database(postgres_server: PostgresServer, empty_databases: list[str]) -> Iterator[MakeDatabase]:
    """Empty databases for this test alone, so that no lock, session or NOTIFY of another test is met in them."""
    taken: list[str] = []

    def make() -> str:
        name = empty_databases.pop() if empty_databases else None
        if name is None:
            name = f"test_{next(_numbers)}"
            postgres_server.create_database(name)
        taken.append(name)
        return postgres_server.dsn(name)

    yield make
    for name in taken:
        postgres_server.empty_database(name)
        empty_databases.append(name)


@pytest.fixture
def postgres_dsn(make_database: MakeDatabase) -> str:
    """An empty database."""
    return make_database()


@pytest.fixture(scope="session")
def pgbouncer(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    """PgBouncer in transaction mode, in front of `postgres_server`."""
    with tempfile.TemporaryDirectory(prefix="tuspy-pgbouncer-") as folder:
        lifeline.remove_at_end(Path(folder))
        Path(folder).chmod(0o755)
        pooler = PgBouncer(Path(folder), postgres_server.port)
        try:
            yield pooler.start()
        finally:
            pooler.stop()


@pytest.fixture
def pooled_dsn(postgres_dsn: str, pgbouncer: PgBouncer) -> str:
    """The database of `postgres_dsn`, through PgBouncer."""
    return pgbouncer.dsn(postgres_dsn.rpartition("/")[2])


class MakeNginx(Protocol):
    """Starts an nginx with this in its server block, and this before that block."""

    def __call__(self, server: str, *, http: str = "") -> Nginx: ...


@pytest.fixture
def make_nginx(tmp_path: Path) -> Iterator[MakeNginx]:
    """nginx, for one test."""
    with ExitStack() as stack:

        def make(server: str, *, http: str = "") -> Nginx:
            folder = tmp_path / f"nginx-{next(_numbers)}"
            folder.mkdir()
            nginx = Nginx(folder, server, http=http)
            stack.callback(nginx.stop)
            return nginx.start()

        yield make


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """`rclone serve s3` on a folder."""
    yield from _running(Rclone(tmp_path_factory.mktemp("rclone")))


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """moto's server."""
    yield from _running(Moto(tmp_path_factory.mktemp("moto")))


@pytest.fixture(params=["rclone", "moto"])
def gateway(request: pytest.FixtureRequest) -> Gateway:
    """Each of the gateways; `@pytest.mark.parametrize("gateway", ["rclone"], indirect=True)` asks for one."""
    gateway: Gateway = request.getfixturevalue(request.param)
    return gateway


@pytest.fixture
def s3_bucket(gateway: Gateway) -> Bucket:
    """A new and empty bucket of the test's own, behind each of the gateways."""
    return gateway.make_bucket(f"test-{next(_numbers)}")


@pytest.fixture
async def strict_s3(s3_bucket: Bucket) -> AsyncIterator[StrictS3]:
    """The strict layer in front of that bucket, in the test's own loop."""
    async with StrictS3(s3_bucket) as strict:
        yield strict


@pytest.fixture
def strict_process(s3_bucket: Bucket, tmp_path: Path) -> Iterator[StrictProcess]:
    """The strict layer in front of that bucket, in a process of its own."""
    strict = StrictProcess(s3_bucket, tmp_path)
    try:
        yield strict.start()
    finally:
        strict.stop()


def _running(gateway: Gateway) -> Iterator[Gateway]:
    try:
        yield gateway.start()
    finally:
        gateway.stop()

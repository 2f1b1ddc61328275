"""How many SQL statements a request costs, as PostgreSQL itself logs them."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.production.pair import Pair, ProductionServer
from tests.support.client import TusUpload, make_bytes
from tests.support.process import MEBIBYTE, wait_for
from tests.support.strict_s3.remote import StrictProcess
from trial import lifeline
from trial.gateways import Gateway
from trial.postgres import PostgresServer
from tuspy_server.stores.postgres.schema import statements

REQUESTS = {"create", "get", "claim", "commit", "complete", "assembly", "tried", "finish", "terminate", "fail"}
"""Those of requests. Others are of the heart, the relay and the sweeper: they come by time, once for many uploads, or,
as the deletion of pieces, after the answer."""

EXECUTED = re.compile(r"^@counted@ LOG:  (?:execute \S+|statement): (.*?)(?=^@)", re.MULTILINE | re.DOTALL)


class Statements:
    """Those of the database `counted`, by their names, in the order of the log."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._names = {_plain(text): name for name, text in statements().items()}
        self._read = 0
        self.skip()

    def skip(self) -> None:
        self._read = self._log.stat().st_size

    def named(self) -> Counter[str]:
        with self._log.open("rb") as log:
            log.seek(self._read)
            # The end of one line is the beginning of the next one.
            text = log.read().decode() + "@"
        found = Counter(self._names.get(_plain(match[1]), "") for match in EXECUTED.finditer(text))
        return Counter({name: found[name] for name in found if name in REQUESTS})

    @property
    def transactions(self) -> int:
        """Those that somebody has begun by a statement of its own."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            return sum(b"BEGIN" in line for line in log.readlines() if line.startswith(b"@counted@"))


def _plain(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def talkative_postgres() -> Iterator[PostgresServer]:
    with tempfile.TemporaryDirectory(prefix="tuspy-postgres-") as folder:
        lifeline.remove_at_end(Path(folder))
        Path(folder).chmod(0o755)
        settings = {"log_statement": "all", "log_line_prefix": "@%d@ "}
        server = PostgresServer(Path(folder) / "server", fsync=False, settings=settings)
        try:
            yield server.start()
        finally:
            server.stop()


@pytest.fixture
def gateway(rclone: Gateway) -> Gateway:
    """One is enough."""
    return rclone


@pytest.fixture
def node(
    talkative_postgres: PostgresServer, strict_process: StrictProcess, tmp_path: Path
) -> Iterator[ProductionServer]:
    pair = Pair(talkative_postgres.ensure_database("counted"), strict_process.bucket)
    # Long enough that neither the sweeper nor a look for what others left comes in between.
    settings = {"sweep_interval_seconds": 1000, "node_seconds": 1000, "commit_interval_seconds": 60}
    node = ProductionServer(tmp_path / "node", pair, settings=settings)
    try:
        yield node.start()
    finally:
        node.close()


def test_a_small_upload_is_three_statements(node: ProductionServer, talkative_postgres: PostgresServer) -> None:
    """POST 1, HEAD 1, PATCH 2: the finish has its event in the same statement. No BEGIN, no COMMIT."""
    content = make_bytes(1024, seed=1)
    # The first requests of a process prepare its statements.
    TusUpload.create(node.url, 1024).finish(content)
    counted = Statements(talkative_postgres.log_path)

    upload = TusUpload.create(node.url, 1024)
    assert counted.named() == {"create": 1}
    counted.skip()
    upload.head()
    assert counted.named() == {"get": 1}
    counted.skip()
    upload.patch(content[:1000])
    wait_for(lambda: counted.named() == {"claim": 1, "commit": 1}, "a PATCH that leaves something: claim and commit")
    counted.skip()
    upload.patch(content[1000:])
    assert counted.named() == {"claim": 1, "finish": 1}
    counted.skip()
    upload.head()
    assert counted.named() == {"get": 1}
    assert counted.transactions == 0


def test_parts_cost_no_more_statements_than_commits(node: ProductionServer, talkative_postgres: PostgresServer) -> None:
    """A body of several parts: claim, commits as its parts land, `completing` with a look at what there is, finish."""
    content = make_bytes(20 * MEBIBYTE, seed=2)
    counted = Statements(talkative_postgres.log_path)
    upload = TusUpload.create(node.url, len(content))
    upload.patch(content)
    named = counted.named()
    assert named.pop("commit", 0) <= 3
    assert named == {"create": 1, "claim": 1, "complete": 1, "assembly": 1, "finish": 1, "get": 1}

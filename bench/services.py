"""What a server stands on for one measurement: an S3 endpoint of its own, and an empty database of PostgreSQL's."""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self
from urllib.parse import quote

import psutil

from bench.process import Running, tree_of, usage_of
from bench.results import S3Count
from bench.site import BUCKET, Server
from bench.wire import Broken
from trial.postgres import PostgresServer
from trial.processes import ServerTrouble

DATABASE: Final = "bench"
COMMITTED: Final = """
SELECT id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS committed_at FROM uploads WHERE id = ANY ($1)
"""
CONTROL_SECONDS: Final = 30.0
APART: Final = "tmp/"
"""Where ours keeps pieces; no peer has such a prefix."""

SETTLE_SECONDS: Final = 20.0
SETTLE_STEP_SECONDS: Final = 0.02

S3_SINK: Final = Server(
    name="s3 sink",
    version="",
    note="",
    command=lambda site: (sys.executable, "-m", "bench.s3_sink", str(site.port)),
)


class S3Object(NamedTuple):
    """As the sink describes it."""

    length: int
    kept: bool
    """Whether its bytes can be read back."""
    pieces: list[tuple[int, str, str]]
    """Length, first and last bytes (hex) of the parts that it was made of, in order."""


class S3:
    """The running sink."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self.url = f"http://127.0.0.1:{running.port}"

    def begin(self, latency_ms: float) -> None:
        """Count from here on; each call takes so long."""
        self._get(f"/-/start?latency_ms={latency_ms}")

    def counts(self) -> dict[str, S3Count]:
        """By operation."""
        return {name: S3Count(**row) for name, row in json.loads(self._get("/-/counts")).items()}

    def objects(self) -> dict[str, S3Object]:
        """All that are stored."""
        return {name: S3Object(**row) for name, row in json.loads(self._get("/-/objects")).items()}

    def settle(self) -> None:
        """Wait until what the server keeps apart during uploads is deleted: that is a part of what they cost.

        Raises:
            Broken: it is not.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        while int(self._get(f"/-/left?prefix={quote(APART)}")):
            if time.monotonic() > deadline:
                raise Broken(f"objects below {APART} are left after {SETTLE_SECONDS:g} s")
            time.sleep(SETTLE_STEP_SECONDS)

    def read(self, key: str) -> bytes:
        """Of an object that is kept; it counts."""
        return self._get(f"/{BUCKET}/{key}")

    def cpu_seconds(self) -> float:
        """Up to now."""
        return self._running.usage().cpu_seconds

    def _get(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._running.port, timeout=CONTROL_SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise Broken(f"the S3 sink says {response.status} to {path}")
        return body


class Postgres:
    """One server for a whole run; each measurement has an empty database in it."""

    def __init__(self, folder: Path) -> None:
        """`folder`: for its data; others must be able to enter it, as PostgreSQL does not run as root."""
        self._server = PostgresServer(folder, settings={"track_commit_timestamp": "on"})

    def __enter__(self) -> Self:
        try:
            self._server.start()
            self._server.create_database(DATABASE)
        except ServerTrouble as error:
            raise Broken(str(error)) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def database(self, *, log_statements: bool = False) -> str:
        """URL of an empty one; what the last one left is on the disk when it is returned."""
        self._server.empty_database(DATABASE)
        logged = "SET log_statement = 'all'" if log_statements else "RESET log_statement"
        self._server.run(f"ALTER DATABASE {DATABASE} {logged}", "CHECKPOINT")
        return self._server.dsn(DATABASE)

    def run(self, *statements: str) -> None:
        """In the database."""
        self._server.run(*statements, database=DATABASE)

    def committed_at(self, upload_ids: Sequence[str]) -> dict[str, float]:
        """When the last change of each upload's row was committed (seconds since the epoch), as PostgreSQL notes it:
        before it syncs the commit to the disk."""
        rows = self._server.read(COMMITTED, list(upload_ids), database=DATABASE)
        return {row["id"]: row["committed_at"] for row in rows}

    @property
    def log_path(self) -> Path:
        """Where statements are logged."""
        return self._server.log_path

    def cpu_seconds(self) -> float:
        """Of all its processes, up to now, those that have ended too."""
        return usage_of(tree_of(psutil.Process(self._server.pid))).cpu_seconds


@dataclass(frozen=True, slots=True)
class Services:
    """Of one measurement; None: this server needs none."""

    s3: S3 | None
    postgres: Postgres | None
    database_url: str = ""

    @property
    def cpu_seconds(self) -> tuple[float, float]:
        """Of the S3 sink and of PostgreSQL, up to now."""
        return self.s3.cpu_seconds() if self.s3 else 0.0, self.postgres.cpu_seconds() if self.postgres else 0.0


@contextlib.contextmanager
def services(
    server: Server, folder: Path, postgres: Postgres | None, *, log_statements: bool = False
) -> Iterator[Services]:
    """Those that the server needs, until the end of the `with`.

    Raises:
        Broken: it needs a database, and there is none.
    """
    database, url = None, ""
    if server.postgres:
        if postgres is None:
            raise Broken("PostgreSQL does not run here")
        database, url = postgres, postgres.database(log_statements=log_statements)
    with contextlib.ExitStack() as stack:
        s3 = S3(stack.enter_context(Running(S3_SINK, folder / "s3"))) if server.store == "s3" else None
        yield Services(s3, database, url)

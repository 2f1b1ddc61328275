"""The servers of the trial themselves: they start again on what they have, and end with their starter."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import psutil
import pytest

from tests.support.client import make_bytes, request
from tests.support.process import REPOSITORY, wait_for
from tests.support.s3 import client
from tests.support.servers import MakeNginx
from trial.gateways import Bucket, Gateway, Rclone
from trial.postgres import PostgresServer, Stop
from trial.processes import Child, ServerTrouble, free_port

OCTETS = {"Content-Type": "application/offset+octet-stream"}
START_ALL = """
import sys
from pathlib import Path
from trial.gateways import Rclone
from trial.postgres import PostgresServer

folder = Path(sys.argv[1])
print(PostgresServer(folder / "postgres").start().pid, Rclone(folder / "rclone").start().pid, flush=True)
{then}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="tuspy-trial-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """One that a test may kill, if it starts it again."""
    with TemporaryDirectory(prefix="tuspy-trial-") as made, ExitStack() as stack:
        Path(made).chmod(0o755)
        server = PostgresServer(Path(made) / "postgres")
        stack.callback(server.stop)
        yield server.start()


async def _value(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn, timeout=30)
    try:
        return await connection.fetchval(query, timeout=30)
    finally:
        await connection.close()


@pytest.mark.parametrize("how", [*Stop, None], ids=lambda how: "killed" if how is None else how.name)
async def test_committed_rows_survive_every_end_of_postgres(own_postgres: PostgresServer, how: Stop | None) -> None:
    own_postgres.run("DROP TABLE IF EXISTS kept", "CREATE TABLE kept AS SELECT 7 AS number")
    if how is None:
        own_postgres.kill()
    else:
        own_postgres.stop(how)
    own_postgres.start()
    assert await _value(own_postgres.dsn(), "SELECT number FROM kept") == 7


async def test_postgres_starts_again_while_the_sessions_of_a_killed_one_go(own_postgres: PostgresServer) -> None:
    sessions = [await asyncpg.connect(own_postgres.dsn(), timeout=30) for _ in range(20)]
    own_postgres.kill()
    own_postgres.start()
    assert await _value(own_postgres.dsn(), "SELECT 7") == 7
    for session in sessions:
        session.terminate()


async def test_dsns_lead_to_a_schema_over_tcp_and_over_the_socket(own_postgres: PostgresServer) -> None:
    own_postgres.run("CREATE SCHEMA IF NOT EXISTS apart")
    for socket in (False, True):
        assert await _value(own_postgres.dsn(schema="apart", socket=socket), "SELECT current_schema()") == "apart"


def test_a_server_that_cannot_start_says_why_by_its_log(own_postgres: PostgresServer, folder: Path) -> None:
    with pytest.raises(ServerTrouble, match="Address already in use"):
        PostgresServer(folder / "second", port=own_postgres.port).start(seconds=2)


@pytest.mark.parametrize("end", ["kill", "exit"])
def test_servers_end_with_their_starter(folder: Path, end: str) -> None:
    program = START_ALL.format(then="sys.stdin.read()" if end == "kill" else "")
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        pids = [int(pid) for pid in starter.stdout.readline().split()]
        if end == "kill":
            assert all(psutil.pid_exists(pid) for pid in pids)
            starter.send_signal(signal.SIGKILL)
        starter.wait(30)
        assert len(pids) == 2
        wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids), "the servers end", 20)


def test_make_serve_s3_keeps_uploads_across_a_restart_and_ends_as_a_whole(folder: Path) -> None:
    """The server's own end is in order, by either signal; afterwards nothing of the three runs. A second one on
    the same folder is refused."""
    port, body = free_port(), make_bytes(9 << 20, seed=1)
    command = [sys.executable, "-m", "trial", "--port", str(port), "--data", str(folder / "data")]
    location = ""
    for number in (signal.SIGINT, signal.SIGTERM):
        trial = Child(command, folder / "log", folder=REPOSITORY)
        try:
            trial.wait_until(lambda: _is_ready(port))
            children = psutil.Process(trial.pid).children(recursive=True)
            if not location:
                second = subprocess.run(
                    [*command, "--port", str(free_port())], cwd=REPOSITORY, capture_output=True, text=True, check=False
                )
                refusal = f"serve-s3: another make serve-s3 uses the folder {folder / 'data'}: "
                assert (second.returncode, second.stderr.startswith(refusal)) == (1, True), second
                assert second.stderr.count("\n") == 1
                made = request(
                    "POST", f"http://127.0.0.1:{port}/files/", OCTETS | {"Upload-Length": str(len(body))}, body
                )
                assert made.status == 201, made
                location = made.fields["location"]
            assert request("GET", location, tus=False).body == body
        finally:
            code = trial.end(number)
        assert (code, len(children) >= 3) == (0, True), trial.log_tail()
        wait_for(lambda: not any(child.is_running() for child in children), "all three have ended")  # noqa: B023


def _is_ready(port: int) -> bool:
    try:
        return request("GET", f"http://127.0.0.1:{port}/readyz", tus=False).status == 200
    except OSError:
        return False


async def test_each_test_gets_an_empty_database_without_strange_sessions(postgres_dsn: str) -> None:
    tables = (
        "SELECT count(*) FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
    )
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    assert await _value(postgres_dsn, tables) == 0
    assert await _value(postgres_dsn, sessions) == 1
    # Left behind for the next round: a table, a schema, and a session that holds a lock.
    left = await asyncpg.connect(postgres_dsn, timeout=30)
    await left.execute("CREATE TABLE left_over (); CREATE SCHEMA left_over; SELECT pg_advisory_lock(1)")
    left.terminate()


test_and_so_does_the_next = test_each_test_gets_an_empty_database_without_strange_sessions


async def test_pgbouncer_pools_transactions(pooled_dsn: str, postgres_dsn: str) -> None:
    """Two clients take turns on one session of the server, and prepared statements are not kept for them."""
    connections = [await asyncpg.connect(pooled_dsn, timeout=30, statement_cache_size=0) for _ in range(2)]
    try:
        pids = {await connection.fetchval("SELECT pg_backend_pid()") for connection in connections}
        assert len(pids) == 1
        assert await connections[0].fetchval("SELECT current_database()") == postgres_dsn.rpartition("/")[2]
    finally:
        for connection in connections:
            await connection.close()


def test_nginx_passes_on_and_has_its_own_words(make_nginx: MakeNginx) -> None:
    behind = make_nginx('location / { return 503 "behind"; }')
    front = make_nginx(
        f"location / {{ proxy_pass {behind.origin}; proxy_intercept_errors on; error_page 503 = @busy; }}"
        'location @busy { return 423 "in front"; }'
    )
    assert request("GET", f"{behind.origin}/x").status == 503
    answer = request("GET", f"{front.origin}/x")
    assert (answer.status, answer.body) == (423, b"in front")
    behind.stop()
    assert request("GET", f"{front.origin}/x").status == 502


async def test_a_bucket_takes_and_gives_an_object(s3_bucket: Bucket) -> None:
    async with client(s3_bucket) as s3:
        assert "Contents" not in await s3.list_objects_v2(Bucket=s3_bucket.name)
        await s3.put_object(Bucket=s3_bucket.name, Key="a/b", Body=b"body")
        answer = await s3.get_object(Bucket=s3_bucket.name, Key="a/b")
        assert await answer["Body"].read() == b"body"


async def test_files_of_rclone_survive_its_end(tmp_path: Path) -> None:
    gateway: Gateway = Rclone(tmp_path)
    try:
        bucket = gateway.start().make_bucket("kept")
        async with client(bucket) as s3:
            await s3.put_object(Bucket="kept", Key="a", Body=b"body")
        gateway.kill()
        gateway.start()
        async with client(bucket) as s3:
            assert (await s3.head_object(Bucket="kept", Key="a"))["ContentLength"] == 4
    finally:
        gateway.stop()

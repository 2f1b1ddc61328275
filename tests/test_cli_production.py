"""`tuspy-server` on PostgreSQL and a bucket, as a person at a terminal meets it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.production.fixtures import MakeNode, make_node, pair
from tests.production.pair import Pair, ProductionServer
from tests.support import cli
from tests.support.cli import Result
from tests.support.client import TusUpload, request
from tests.support.process import REPOSITORY
from tests.support.strict_s3.remote import StrictProcess
from trial.gateways import Gateway
from trial.postgres import PostgresServer
from trial.processes import free_port

__all__ = ["make_node", "pair"]

SECRET = "hush-hush"
WITHOUT_EXTRA = (
    "import sys; sys.modules['aiobotocore'] = None\n"
    "from tuspy_server.cli import main; main(sys.argv[1:])"
)  # fmt: skip


def run(pair: Pair, folder: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> Result:
    """A command that has the settings of the pair as variables; `variables` go over them."""
    settings = {f"TUSPY_{name.upper()}": value for name, value in pair.settings.items()}
    # The trial's PostgreSQL asks for no password; one is given, and must be seen nowhere.
    settings["TUSPY_DATABASE_URL"] = pair.database_url.replace("postgres@", f"postgres:{SECRET}@")
    result = cli.run(folder, *arguments, variables={**settings, **pair.variables, **(variables or {})})
    assert SECRET not in result.stdout + result.stderr
    return result


def complaint(result: Result) -> str:
    """What stands on stderr beside logs: one line, without a traceback."""
    assert (result.status, result.stdout) == (1, "")
    [line] = [line for line in result.stderr.splitlines() if not line.startswith("{")]
    return line


def findings(result: Result) -> list[tuple[str, str]]:
    words = (line.split() for line in result.stdout.splitlines())
    return [(found, subject) for found, subject, *_ in words]


def make_expired(postgres: PostgresServer, pair: Pair) -> None:
    """Every unfinished upload is past its expiry."""
    database = pair.database_url.rpartition("/")[2]
    postgres.run("UPDATE uploads SET expires_at = now() - interval '1 day'", database=database)


@pytest.fixture
def gateway(rclone: Gateway) -> Gateway:
    """One is enough."""
    return rclone


@pytest.fixture
def node(make_node: MakeNode) -> ProductionServer:
    return make_node().start()


# --- migrate ----------------------------------------------------------------------------------------------------------


def test_migrate_says_the_version_before_and_after(pair: Pair, tmp_path: Path) -> None:
    where = "PostgreSQL " + pair.database_url.rpartition("@")[2]
    first = run(pair, tmp_path, "migrate")
    assert (first.status, first.stderr) == (0, "")
    assert first.stdout.startswith(f"{where}: schema version 0 before, ")
    newest = first.stdout.split()[-2]
    again = run(pair, tmp_path, "migrate")
    assert again.stdout == f"{where}: schema version {newest} before, {newest} now (nothing to do)\n"
    assert list(tmp_path.glob("data")) == []


def test_migrate_needs_a_database(tmp_path: Path) -> None:
    result = cli.run(tmp_path, "migrate")
    assert result.status == 2
    assert result.complaint.startswith("tuspy-server: there is no --database-url")
    assert "migrate" in cli.run(tmp_path, "--help").stdout
    assert "--database-url" in cli.run(tmp_path, "migrate", "--help").stdout


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_tries_all_and_leaves_nothing(pair: Pair, tmp_path: Path, strict_process: StrictProcess) -> None:
    """An unmigrated database is a doubt, not a failure, and is not migrated by a look. I8."""
    arguments = ("check", "--port", str(free_port()))
    result = run(pair, tmp_path, *arguments)
    assert result.status == 0, result.stdout
    expected = [("ok", "settings"), ("warn", "database"), ("ok", "listen"), ("ok", "bucket")]
    assert findings(result)[: len(expected)] == expected
    assert findings(result)[-1] == ("ok", "address")
    assert {"space", "folder", "storage"}.isdisjoint(subject for _, subject in findings(result))
    assert "schema version 0 of" in result.stdout
    run(pair, tmp_path, "migrate")
    assert ("ok", "database") in findings(run(pair, tmp_path, *arguments))
    assert list(tmp_path.glob("data")) == []
    written = {row.key for row in strict_process.log if row.operation in {"PutObject", "CreateMultipartUpload"}}
    assert written
    assert all(key.startswith("tmp/probe/") for key in written)


def test_check_warns_of_what_the_store_cannot_do(pair: Pair, tmp_path: Path, strict_process: StrictProcess) -> None:
    """S19: the server does without; the operator knows."""
    strict_process.rules(ignores_conditions=True)
    result = run(pair, tmp_path, "check", "--port", "0")
    assert result.status == 0
    assert "warn  bucket    The store ignores If-None-Match" in result.stdout


@pytest.mark.long
def test_check_holds_the_buckets_rule_against_the_expiry(
    pair: Pair, tmp_path: Path, strict_process: StrictProcess
) -> None:
    """S10: a rule that aborts unfinished uploads before they expire loses acknowledged bytes."""
    strict_process.expire_multiparts_after(14)
    week, month = ("--expires-cap-seconds", str(8 * 86_400)), ("--expires-cap-seconds", str(30 * 86_400))
    assert run(pair, tmp_path, "check", "--port", "0", *week).status == 0
    result = run(pair, tmp_path, "check", "--port", "0", *month)
    assert result.status == 1
    assert "FAIL  bucket    The bucket's lifecycle aborts unfinished multipart uploads after 14 days" in result.stdout


@pytest.mark.long
def test_check_goes_on_to_the_end_after_trouble(pair: Pair, tmp_path: Path) -> None:
    """No database, and no such bucket: both are found in one run."""
    away = {"TUSPY_DATABASE_URL": f"postgresql://x:{SECRET}@127.0.0.1:1/none", "TUSPY_S3_BUCKET": "no-such-bucket"}
    result = run(pair, tmp_path, "check", "--port", "0", variables=away)
    assert (result.status, result.stderr) == (1, "")
    assert {subject for found, subject in findings(result) if found == "FAIL"} == {"database", "bucket"}
    assert "NoSuchBucket" in result.stdout
    assert findings(result)[-1] == ("ok", "address")


def test_check_and_health_beside_a_running_server(pair: Pair, node: ProductionServer, tmp_path: Path) -> None:
    result = run(pair, tmp_path, "check", "--port", str(node.port))
    assert result.status == 0, result.stdout
    assert result.stdout.splitlines()[-1] == f"ok    server    {node.origin}/readyz: ready"
    assert run(pair, tmp_path, "health", "--port", str(node.port)).status == 0


# --- sweep ------------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_sweep_beside_a_server(
    pair: Pair, make_node: MakeNode, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """The rows are everybody's: no folder is needed, and none made. `--dry-run` changes nothing."""
    node = make_node(sweep_interval_seconds=1000).start()
    upload = TusUpload.create(node.url, 1000)
    upload.patch(b"some")
    make_expired(postgres_server, pair)
    listed = run(pair, tmp_path, "sweep", "--dry-run")
    assert listed.status == 0
    assert listed.stdout.splitlines()[1].split()[:3] == [upload.id, "4", "1000"]
    assert listed.stdout.endswith("1 unfinished upload past their expiry, nothing changed\n")
    assert run(pair, tmp_path, "sweep", "--dry-run").stdout == listed.stdout
    swept = run(pair, tmp_path, "sweep")
    assert (swept.status, swept.stderr) == (0, "")
    assert swept.stdout.splitlines()[-1].startswith("1 unfinished upload expired, 1 cleaned up")
    assert request("HEAD", upload.url).status == 410
    assert list(tmp_path.glob("data")) == []


def test_a_dry_run_does_not_migrate(pair: Pair, tmp_path: Path) -> None:
    result = run(pair, tmp_path, "sweep", "--dry-run")
    assert complaint(result).startswith("tuspy-server: the database has not been migrated yet")


# --- serve ------------------------------------------------------------------------------------------------------------


def test_the_banner_says_where_the_data_is(pair: Pair, make_node: MakeNode) -> None:
    url = pair.database_url.replace("postgres@", f"postgres:{SECRET}@")
    node = make_node(database_url=url, s3_prefix="below/").start()
    text = node.log_path.read_text()
    place = (
        f"PostgreSQL {url.rpartition('@')[2]}, bucket {pair.bucket.name} at {pair.bucket.endpoint_url}, below below/"
    )
    assert f"  data in    {place}\n" in text
    assert SECRET not in text
    assert not node.data.exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        pytest.param(
            {"TUSPY_DATABASE_URL": f"postgresql://x:{SECRET}@127.0.0.1:1/none"},
            "127.0.0.1:1 is not available",
            id="away",
        ),
        pytest.param(
            {"TUSPY_DATABASE_URL": "{server}/no_such"},
            'database: database "no_such" does not exist',
            id="no-database",
            marks=pytest.mark.long,
        ),
        pytest.param(
            {"TUSPY_DATABASE_URL": "{guarded}"},
            'database: password authentication failed for user "guarded"',
            id="password",
        ),
        pytest.param(
            {"TUSPY_DATABASE_URL": "{server}/postgres?sslmode=what"},
            "database: `sslmode` parameter must be",
            id="sslmode",
            marks=pytest.mark.long,
        ),
        pytest.param(
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            "no credentials for the bucket were found",
            id="no-credentials",
            marks=pytest.mark.long,
        ),
        pytest.param(
            {"TUSPY_S3_ENDPOINT_URL": "http://127.0.0.1:1"},
            "PutObject answered ConnectionFailed",
            id="no-store",
            marks=pytest.mark.long,
        ),
        pytest.param({"TUSPY_S3_BUCKET": "no-such-bucket"}, "NoSuchBucket", id="no-bucket", marks=pytest.mark.long),
        pytest.param({"AWS_SECRET_ACCESS_KEY": SECRET}, "SignatureDoesNotMatch", id="wrong-credentials"),
    ],
)
def test_a_start_that_fails_is_one_line(
    pair: Pair,
    guarded: str,
    tmp_path: Path,
    wrong: dict[str, str],
    words: str,
) -> None:
    """No traceback, no password, no server that answers all with 503."""
    server = pair.database_url.rpartition("/")[0]
    variables = {name: value.format(server=server, guarded=guarded) for name, value in wrong.items()}
    line = complaint(run(pair, tmp_path, "serve", "--port", "0", variables=variables))
    assert line.startswith("tuspy-server: ")
    assert words in line


@pytest.fixture
def guarded(postgres_server: PostgresServer, pair: Pair) -> str:
    """A user who is asked for a password, with a wrong one."""
    postgres_server.run(
        "DO $$ BEGIN CREATE ROLE guarded LOGIN PASSWORD 'right'; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    rules = postgres_server.data / "pg_hba.conf"
    rule = "host all guarded 127.0.0.1/32 scram-sha-256\n"
    if not rules.read_text().startswith(rule):
        rules.write_text(rule + rules.read_text())
        postgres_server.run("SELECT pg_reload_conf()")
    return pair.database_url.replace("postgres@", f"guarded:{SECRET}@")


@pytest.mark.long
@pytest.mark.parametrize("command", ["serve", "check", "sweep"])
def test_without_the_extra_the_line_names_it(pair: Pair, tmp_path: Path, command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRA, command, *pair.flags, *(() if command == "sweep" else ("--port", "0"))],
        cwd=tmp_path,
        env=cli.environment(**pair.variables, PYTHONPATH=str(REPOSITORY)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    [line] = [line for line in (done.stdout + done.stderr).splitlines() if "tuspy-server[s3]" in line]
    assert "s3_bucket needs aiobotocore" in line
    assert "Traceback" not in done.stderr

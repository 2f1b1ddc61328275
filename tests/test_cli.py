"""`tuspy-server` as a person at a terminal meets it: real processes, their output and exit status."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.cli import environment, run
from tests.support.fixtures import MakeServer, make_server
from tests.support.process import ServerProcess
from trial.processes import free_port
from tuspy_server.cli.flags import GROUPS, size_text
from tuspy_server.settings import Settings
from tuspy_server.version import VERSION

__all__ = ["make_server"]


@pytest.fixture
def server(make_server: MakeServer) -> ServerProcess:
    return make_server().start()


def make_expired_upload(server: ServerProcess) -> str:
    """An unfinished upload whose expiry is long past, in the folder of a server that does not run."""
    upload_id = "0123456789abcdef" * 2
    with closing(sqlite3.connect(server.data / "tuspy.sqlite3")) as database, database:
        database.execute(
            "INSERT INTO uploads (id, status, upload_offset, upload_length, created_at, expires_at)"
            " VALUES (?, 'uploading', 0, 1000, 1, 2)",
            (upload_id,),
        )
    return upload_id


def statuses(server: ServerProcess) -> dict[str, str]:
    with closing(sqlite3.connect(server.data / "tuspy.sqlite3")) as database:
        return dict(database.execute("SELECT id, status FROM uploads").fetchall())


def test_version(tmp_path: Path) -> None:
    """`--version` says the name and the number, and nothing else."""
    result = run(tmp_path, "--version")
    assert (result.status, result.stdout) == (0, f"tuspy-server {VERSION}\n")


def test_help_shows_every_setting_under_a_heading(tmp_path: Path) -> None:
    """A stranger finds each setting with its meaning and default, and each command."""
    text = run(tmp_path, "--help").stdout
    for field in Settings.model_fields:
        assert f"--{field.replace('_', '-')}" in text
    for word in (
        *GROUPS,
        "serve",
        "sweep",
        "check",
        "health",
        "config",
        "[default: 64MiB]",
        "7 days",
        "TUSPY_MAX_SIZE",
    ):
        assert word in text
    assert "--empty-" not in text


def test_every_setting_has_one_heading() -> None:
    """A new setting cannot be forgotten by the help."""
    grouped = [field for fields in GROUPS.values() for field in fields]
    assert sorted(grouped) == sorted(Settings.model_fields)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--port", "x"), "tuspy-server: --port x: must be a whole number"),
        (("serve", "--max-size", "-1"), "tuspy-server: --max-size -1: must be a size such as 5GB or 64MiB"),
        (("swep",), "tuspy-server: swep is no command; did you mean sweep?"),
        (("--port", "1", "check"), "tuspy-server: the command comes before its flags: tuspy-server check"),
        (("--s3-bucket", "x"), "tuspy-server: --s3-bucket x: is too short (at least 3 characters)"),
        (("--durability", "paper"), 'tuspy-server: Invalid value "paper" for --durability. Choose from: "disk", "proc'),
        (("--prot", "1"), "tuspy-server: Unknown option: --prot. Did you mean --port?"),
        (("sweep", "--port"), "tuspy-server: "),
        (("--config", "none.toml"), "tuspy-server: none.toml: No such file or directory"),
        (("health", "ftp://example.org"), "tuspy-server: ftp://example.org is no URL"),
        (("health", "--port", "0"), "tuspy-server: port 0 is a different one at each start"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(arguments: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    """Nothing starts, nothing is made, and the line says what to change."""
    result = run(tmp_path, *arguments)
    assert result.complaint.startswith(complaint)
    assert (result.status, result.stdout, list(tmp_path.iterdir())) == (2, "", [])


def test_ctrl_c_while_it_is_imported_ends_it_without_a_word(tmp_path: Path) -> None:
    """Half a second in which a KeyboardInterrupt was a traceback, or was lost and the server went on."""
    program = """
import signal, sys

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "tuspy_server.cli.commands":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from tuspy_server.cli import main
main()
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_unknown_variable_stops_the_start(tmp_path: Path) -> None:
    """A misspelt variable is not a default that nobody notices."""
    result = run(tmp_path, variables={"TUSPY_MAXSIZE": "1GB"})
    assert result.status == 2
    assert "TUSPY_MAXSIZE" in result.complaint
    assert "TUSPY_MAX_SIZE" in result.complaint


def test_config_show_reads_back(tmp_path: Path) -> None:
    """What it prints is TOML that gives the same settings again, with the origin of each value beside it."""
    (tmp_path / "tuspy-server.toml").write_text('max_size = "5GB"\ndata = "a \\" b"')
    variables = {
        "TUSPY_CORS_ORIGINS": "https://a.example,https://b.example",
        # of a Service `tuspy-server` in Kubernetes: no settings, and no typos either
        "TUSPY_SERVER_SERVICE_HOST": "10.0.0.1",
        "TUSPY_SERVER_SERVICE_PORT_HTTP": "80",
        "TUSPY_SERVER_PORT": "tcp://10.0.0.1:80",
        "TUSPY_SERVER_PORT_80_TCP_ADDR": "10.0.0.1",
        "TUSPY_PORT": "tcp://10.0.0.2:80",  # of a Service `tuspy`
    }
    result = run(tmp_path, "config", "show", "--port", "1234", variables=variables)
    assert result.status == 0
    shown = tomllib.loads(result.stdout)
    assert shown["cors_origins"] == ["https://a.example", "https://b.example"]
    assert (shown["port"], shown["max_size"], shown["data"]) == (1234, "5GB", 'a " b')
    assert re.search(r"^port = 1234 +# --port$", result.stdout, re.MULTILINE)
    assert re.search(r"^max_size = \"5GB\" +# tuspy-server.toml$", result.stdout, re.MULTILINE)
    assert re.search(r"^cors_origins = .* # TUSPY_CORS_ORIGINS$", result.stdout, re.MULTILINE)
    assert re.search(r"^host = \"127.0.0.1\" +# default$", result.stdout, re.MULTILINE)

    (tmp_path / "again.toml").write_text(result.stdout)
    again = run(tmp_path, "config", "show", "--config", "again.toml")
    assert tomllib.loads(again.stdout) == shown


@pytest.mark.parametrize("size", [0, 1, 1000, 1024, 1025, 5 * 10**9, 64 << 20, (1 << 63) - 1])
def test_size_text_reads_back(size: int) -> None:
    """A shown size is exact, never rounded."""
    assert Settings.model_validate({"max_metadata_bytes": size_text(size)}).max_metadata_bytes == size


def test_health_follows_the_server(server: ServerProcess, tmp_path: Path) -> None:
    """0 while it is ready, asked by settings or by URL; 1 when nothing answers."""
    assert run(tmp_path, "health", "--port", str(server.port)).status == 0
    assert run(tmp_path, "health", server.origin).status == 0
    assert run(tmp_path, "health", f"{server.origin}/livez").status == 0
    assert run(tmp_path, "health", f"{server.origin}/nowhere").status == 1
    through_all_addresses = {
        "TUSPY_HOST": "0.0.0.0",
        "TUSPY_PORT": str(server.port),
        "http_proxy": "http://127.0.0.1:9",
    }
    assert run(tmp_path, "health", variables=through_all_addresses).status == 0
    assert server.terminate() == 0
    result = run(tmp_path, "health", server.origin)
    assert result.status == 1
    assert "no answer" in result.complaint


def test_second_server_is_refused_with_the_way_out(server: ServerProcess, tmp_path: Path) -> None:
    """One process a folder: the second one says so in one line that names Postgres, and leaves the first alone."""
    result = run(tmp_path, "--data", str(server.data), "--port", str(free_port()))
    assert result.status == 1
    assert str(server.data) in result.complaint
    assert "PostgreSQL" in result.complaint
    assert run(tmp_path, "health", server.origin).status == 0


def test_taken_port_is_one_line(server: ServerProcess, tmp_path: Path) -> None:
    """The line names the address; no data folder is made."""
    result = run(tmp_path, "--data", "new", "--port", str(server.port))
    assert result.complaint == (
        f"tuspy-server: cannot listen on 127.0.0.1:{server.port}: another process listens there; "
        "name another port by --port"
    )
    assert (result.status, list(tmp_path.glob("new"))) == (1, [])


def test_unusable_folder_is_one_line(tmp_path: Path) -> None:
    """A data folder below a file cannot be made."""
    (tmp_path / "file").write_text("")
    result = run(tmp_path, "--data", "file/data", "--port", "0")
    assert result.status == 1
    assert result.complaint.startswith("tuspy-server: file/data: Not a directory")


def test_sweep_lists_then_removes(make_server: MakeServer, tmp_path: Path) -> None:
    """`--dry-run` names the upload and changes nothing; the real pass expires it; the next one finds nothing."""
    server = make_server().start()
    server.terminate()
    upload_id = make_expired_upload(server)

    listed = run(tmp_path, "sweep", "--dry-run", "--data", str(server.data))
    assert listed.status == 0
    row = next(line for line in listed.stdout.splitlines() if line.startswith(upload_id))
    assert row.split() == [upload_id, "0", "1000", "1970-01-01T00:00:00Z"]
    assert "1 unfinished upload past" in listed.stdout
    assert statuses(server) == {upload_id: "uploading"}

    swept = run(tmp_path, "sweep", "--data", str(server.data))
    assert (swept.status, swept.stdout.splitlines()[-1].split(",")[0]) == (0, "1 unfinished upload expired")
    assert statuses(server) == {upload_id: "expired"}
    assert run(tmp_path, "sweep", "--data", str(server.data)).stdout.startswith("0 unfinished uploads expired")


def test_sweep_beside_a_running_server(server: ServerProcess, tmp_path: Path) -> None:
    """The server sweeps by itself, so a second pass is refused; a dry run looks on."""
    refused = run(tmp_path, "sweep", "--data", str(server.data))
    assert refused.status == 1
    assert "sweeps it by itself" in refused.complaint
    looked = run(tmp_path, "sweep", "--dry-run", "--data", str(server.data))
    assert (looked.status, looked.stdout) == (0, "0 unfinished uploads past their expiry, nothing changed\n")


def test_sweep_makes_no_folder(tmp_path: Path) -> None:
    """A misspelt folder is said to be missing, and is so still."""
    result = run(tmp_path, "sweep", "--data", "none")
    assert (result.status, result.complaint) == (1, "tuspy-server: there is no data folder none")
    assert list(tmp_path.iterdir()) == []


def test_check_of_a_good_place(tmp_path: Path) -> None:
    """Everything is tried, each finding is a line, and the probe leaves nothing behind."""
    result = run(tmp_path, "check", "--port", str(free_port()))
    assert result.status == 0
    subjects = [line.split()[:2] for line in result.stdout.splitlines()]
    assert subjects == [
        ["ok", word] for word in ("settings", "folder", "database", "storage", "rows", "space", "address")
    ]
    assert [path for path in (tmp_path / "data" / "files").rglob("*") if path.is_file()] == []


def test_check_says_what_is_wrong(server: ServerProcess, tmp_path: Path) -> None:
    """An unusable folder and a taken port are both found in one run."""
    (tmp_path / "file").write_text("")
    result = run(tmp_path, "check", "--data", "file/data", "--port", str(server.port))
    assert result.status == 1
    failed = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("FAIL")]
    assert failed[0] == "stores"
    assert failed[-1] == "address"


def test_check_beside_a_running_server(server: ServerProcess, tmp_path: Path) -> None:
    """It says that the folder is held, and tries what it can without disturbing."""
    result = run(tmp_path, "check", "--data", str(server.data), "--port", str(server.port))
    assert result.status == 0
    assert "held by a running server" in result.stdout
    assert f"{server.origin}/readyz: ready" in result.stdout


def test_damaged_database_is_one_line(make_server: MakeServer, tmp_path: Path) -> None:
    """Neither the server nor the check shows a traceback for it."""
    server = make_server()
    server.data.mkdir(parents=True)
    (server.data / "tuspy.sqlite3").write_bytes(b"this is no database" * 1000)
    result = run(tmp_path, "--data", str(server.data), "--port", "0")
    assert result.status == 1
    assert result.complaint.startswith("tuspy-server: database: file is not a database")
    assert "FAIL  stores    database:" in run(tmp_path, "check", "--data", str(server.data), "--port", "0").stdout

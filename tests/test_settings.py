"""`Settings` alone, and the three sources that the command line lays over one another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from tuspy_server.cli.sources import WrongSettings, load
from tuspy_server.settings import Settings
from tuspy_server.settings.kinds import CENTURY_SECONDS


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith("TUSPY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults_serve_files_on_the_loopback() -> None:
    """Without any setting the server listens where the README says, and nowhere else."""
    settings = Settings()
    assert (settings.host, settings.port, settings.path, settings.data) == ("127.0.0.1", 8080, "/files/", Path("data"))


def test_sizes_take_units() -> None:
    """`5GB` is decimal, `64MiB` is binary, a bare number is bytes."""
    settings = Settings.model_validate({"max_size": "5GB", "pool_bytes": "64MiB", "max_metadata_bytes": "100"})
    assert (settings.max_size, settings.pool_bytes, settings.max_metadata_bytes) == (5 * 10**9, 64 << 20, 100)


@pytest.mark.parametrize(
    ("given", "path"),
    [("files", "/files/"), ("/files", "/files/"), ("//a//b/", "/a/b/"), ("/tus.v1/up-load_2/", "/tus.v1/up-load_2/")],
)
def test_path_gets_its_slashes(given: str, path: str) -> None:
    """However it is written, the path begins and ends with one slash."""
    assert Settings(path=given).path == path


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("path", "/", "not the root"),
        ("path", "/a/../b/", "letters"),
        ("path", "/files/{id}/", "letters"),
        ("path", "/a%2Fb/", "letters"),
        ("path", "/metrics/", "the server uses itself"),
        ("public_url", "upload.example.org", "must be an origin"),
        ("public_url", "https://upload.example.org/files", "must be an origin"),
        ("trusted_proxies", ["10.0.0.0/8", "proxy"], "addresses or networks"),
        ("cors_origins", "https://app.example.org/path", "without a path"),
        ("cors_origins", [1], "valid string"),
        ("api_hosts", "upload.example.org,*.example.org", "without a port"),
        ("api_hosts", "upload.example.org:443", "without a port"),
        ("data", "", "must name a folder"),
        ("data", "a\0b", "control characters"),
        ("host", "", "at least 1 character"),
        ("host", "localhost\r\nx: y", "control characters"),
        ("port", 65536, "65535"),
        ("max_size", 0, "greater than 0"),
        ("max_size", 1 << 63, "9223372036854775807"),
        ("drain_seconds", "inf", "finite"),
        ("expires_seconds", "nan", "finite"),
        ("gone_seconds", CENTURY_SECONDS + 1, "less than or equal"),
        ("durability", "paper", "'disk' or 'process'"),
        ("no_such_thing", 1, "Extra inputs"),
    ],
)
def test_wrong_value_is_refused(field: str, value: object, problem: str) -> None:
    """A value that could not work later does not get in."""
    with pytest.raises(ValidationError, match=problem):
        Settings.model_validate({field: value})


def test_credentials_need_named_origins() -> None:
    """A browser would refuse the pair of credentials and `*`; so do we, before it happens."""
    with pytest.raises(ValidationError, match="cors_credentials needs a list of origins"):
        Settings(cors_credentials=True)
    assert Settings(cors_credentials=True, cors_origins=("https://a.example",)).cors_credentials


def test_cap_is_not_below_the_idle_lifetime() -> None:
    """The absolute cap would otherwise end every upload before its expiry."""
    with pytest.raises(ValidationError, match="expires_cap_seconds must not be below"):
        Settings(expires_seconds=100, expires_cap_seconds=99)


def test_settings_are_frozen() -> None:
    """Nobody changes a running server by accident."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]  # that it is refused is the point


def test_lists_read_from_variables_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable holds a list as text with commas, spaces or none around them, not as JSON."""
    monkeypatch.setenv("TUSPY_CORS_ORIGINS", "https://a.example, https://b.example:8443,")
    monkeypatch.setenv("TUSPY_TRUSTED_PROXIES", "10.0.0.0/8,::1")
    settings = Settings()
    assert settings.cors_origins == ("https://a.example", "https://b.example:8443")
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1")


def test_keywords_go_over_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """In an application a keyword is what a flag is on the command line; an empty variable is none."""
    monkeypatch.setenv("TUSPY_PORT", "1000")
    monkeypatch.setenv("TUSPY_HOST", "")
    assert (Settings().port, Settings(port=2000).port, Settings().host) == (1000, 2000, "127.0.0.1")


def test_application_reads_no_file(tmp_path: Path) -> None:
    """A file that lies in the working directory is the command line's, not an application's."""
    (tmp_path / "tuspy-server.toml").write_text("port = 1")
    assert Settings().port == 8080


def test_flags_over_environment_over_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each source is hidden by the one above it, value by value, and each value knows its origin."""
    (tmp_path / "tuspy-server.toml").write_text('port = 1\npath = "toml"\nmax_size = "1GB"\ncors_origins = ["*"]')
    monkeypatch.setenv("TUSPY_PORT", "2")
    monkeypatch.setenv("TUSPY_PATH", "environment")
    loaded = load({"port": "3"})
    assert (loaded.settings.port, loaded.settings.path, loaded.settings.max_size) == (3, "/environment/", 10**9)
    origins = {field: given.origin for field, given in loaded.given.items()}
    assert origins == {
        "port": "--port",
        "path": "TUSPY_PATH",
        "max_size": "tuspy-server.toml",
        "cors_origins": "tuspy-server.toml",
    }


def test_file_is_the_flags_then_the_variables_then_the_usual_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`--config` hides `TUSPY_CONFIG`, which hides `./tuspy-server.toml`; they are not merged."""
    for port, name in ((1, "tuspy-server.toml"), (2, "variable.toml"), (3, "flag.toml")):
        (tmp_path / name).write_text(f"port = {port}")
    assert load({}).settings.port == 1
    monkeypatch.setenv("TUSPY_CONFIG", "variable.toml")
    assert load({}).settings.port == 2
    assert load({}, Path("flag.toml")).settings.port == 3


@pytest.mark.parametrize(
    ("flags", "variables", "toml", "complaint"),
    [
        ({"port": "x"}, {}, "", "--port x: must be a whole number"),
        ({"port": "70000"}, {}, "", "--port 70000: must be at most 65535"),
        ({}, {"TUSPY_MAX_SIZE": "3q"}, "", "TUSPY_MAX_SIZE=3q: must be a size such as 5GB or 64MiB"),
        ({}, {"tuspy_port": "x"}, "", "tuspy_port=x: must be a whole number"),
        ({}, {}, "port = 1.5", "port = 1.5 in tuspy-server.toml: must be a whole number"),
        ({}, {}, 'cors_origins = "x"', "cors_origins = x in tuspy-server.toml: each must be * or an origin"),
        ({}, {}, "cors_origins = 7", "cors_origins = 7 in tuspy-server.toml: must be a list of texts"),
        ({}, {"TUSPY_PROT": "1"}, "", "TUSPY_PROT is set in the environment, but there is no such setting; did you"),
        ({}, {"TUSPY_SERVER_PORT": "9000"}, "", "TUSPY_SERVER_PORT is set in the environment, but there is no such"),
        ({}, {}, "max-size = 1", "max-size in tuspy-server.toml: there is no such setting; did you mean max_size?"),
        ({}, {}, "[server]\nport = 1", "server in tuspy-server.toml: there is no such setting"),
        ({}, {}, "port =", "tuspy-server.toml is not TOML: Invalid value"),
        (
            {"cors_credentials": True},
            {"TUSPY_CORS_ORIGINS": "*"},
            "",
            "--cors-credentials needs a list of origins in TUSPY_CORS_ORIGINS, not *",
        ),
        ({"port": "1\x1b[31m\n"}, {}, "", r"--port 1\x1b[31m\n: "),
        ({"port": "1" * 500}, {}, "", f"--port {'1' * 80}…: "),
    ],
)
def test_wrong_setting_is_named_as_it_was_given(
    flags: dict[str, object],
    variables: dict[str, str],
    toml: str,
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """One line with the flag, variable or key, its value, and what is wrong."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if toml:
        (tmp_path / "tuspy-server.toml").write_text(toml)
    with pytest.raises(WrongSettings) as caught:
        load(flags)
    assert str(caught.value).startswith(complaint)
    assert str(caught.value).isprintable()


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    """A missing file, a folder, and bytes that are no UTF-8."""
    (tmp_path / "latin").write_bytes(b'path = "\xe4"')
    for name, problem in (("none.toml", "No such file"), (".", "Is a directory"), ("latin", "is not TOML")):
        with pytest.raises(WrongSettings, match=problem):
            load({}, Path(name))

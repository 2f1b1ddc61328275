"""Webhooks as they are written: in code, TOML, variables and flags; and that their secrets stay secret."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.events.webhooks.making import NEW, OLD
from tuspy_server.cli.showing import settings_as_toml, shown_secret
from tuspy_server.cli.sources import WrongSettings, load
from tuspy_server.events.webhooks.endpoint import Format
from tuspy_server.model import EventType
from tuspy_server.settings import Settings, Webhook

URL = "https://app.example.org/hook"
PLAIN = {"name": "app", "url": URL, "secrets": [NEW, OLD]}


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith("TUSPY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def settings(**changes: Any) -> Settings:
    return Settings.model_validate({"webhooks": [{**PLAIN, **changes}]})


def test_all_ways_of_writing_come_to_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    in_code = Settings(webhooks=(Webhook.model_validate(PLAIN),)).endpoints
    by_flag = load({"webhooks": [json.dumps(PLAIN)]}).settings.endpoints
    monkeypatch.setenv("TUSPY_WEBHOOKS", json.dumps([PLAIN], indent=2))
    by_variable, by_variable_in_code = load({}).settings.endpoints, Settings().endpoints
    monkeypatch.delenv("TUSPY_WEBHOOKS")
    file = tmp_path / "some.toml"
    file.write_text(f'[[webhooks]]\nname = "app"\nurl = "{URL}"\nsecrets = ["{NEW}", "{OLD}"]\n')
    by_file = load({}, file).settings.endpoints
    assert in_code == by_flag == by_variable == by_variable_in_code == by_file
    [endpoint] = in_code
    assert (endpoint.name, endpoint.url, endpoint.secrets) == ("app", URL, (NEW, OLD))
    assert endpoint.types == frozenset(EventType)
    assert (endpoint.at_once, endpoint.call_seconds, endpoint.allow_private) == (16, 15, False)


def test_one_webhook_needs_a_url_and_a_secret_alone() -> None:
    [endpoint] = Settings.model_validate({"webhook_url": URL, "webhook_secret": NEW}).endpoints
    assert (endpoint.name, endpoint.url, endpoint.secrets) == ("default", URL, (NEW,))


def test_what_an_endpoint_does_not_say_the_settings_do() -> None:
    values = {"webhook_at_once": 3, "webhook_seconds": 7, "webhook_allow_private": True}
    [plain] = Settings.model_validate({"webhooks": [PLAIN], **values}).endpoints
    assert (plain.at_once, plain.call_seconds, plain.allow_private) == (3, 7, True)
    own = {**PLAIN, "at_once": 1, "seconds": 2, "allow_private": False}
    [endpoint] = Settings.model_validate({"webhooks": [own], **values}).endpoints
    assert (endpoint.at_once, endpoint.call_seconds, endpoint.allow_private) == (1, 2, False)


def test_tusds_format_has_the_types_that_tusd_has() -> None:
    [endpoint] = settings(format="tusd").endpoints
    assert endpoint.format is Format.TUSD
    assert endpoint.types == {EventType.CREATED, EventType.FINISHED, EventType.TERMINATED}
    with pytest.raises(ValidationError, match=r"upload\.expired"):
        settings(format="tusd", types=["upload.expired"])


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {"url": url}
            for url in ("", "app.example.org", "ftp://app.example.org/", "https://", "https:///x", "file:///x")
        ),
        *({"url": url} for url in ("https://ada:lovelace@app.example.org/", "https://ada@app.example.org/")),
        *({"url": url} for url in ("https://a.example/#x", "https://a.example:0/", "https://a.example:99999/")),
        *({"url": url} for url in ("https://a.example/\r\nX: y", "https://a.example\\@b.example/", "https://[::1/")),
        *(
            {"url": url}
            for url in ("http://app.example.org/", "https://127.0.0.1/", "https://[::1]/", "https://10.1.2.3/")
        ),
        *({"url": url} for url in ("https://localhost/", "https://169.254.169.254/", "https://[::ffff:10.0.0.1]/")),
        *({"secrets": [secret]} for secret in ("", "whsec_", "secret", NEW.removeprefix("whsec_"), "whsec_c2hvcnQ=")),
        *({"secrets": [secret]} for secret in ("whsec_!!!!", "whsec_" + "A" * 400)),
        {"secrets": [NEW] * 9},
        *({"name": name} for name in ("", "a b", "a/b", "x" * 65, "a:b")),
        *({"headers": {name: "x"}} for name in ("Host", "content-type", "Webhook-Id", "Content-Length", "a b", "")),
        *({"headers": {"X-Key": value}} for value in ("a\r\nb", "", " a", "ü")),
        {"types": ["upload.done"]},
        {"processing": True, "types": ["upload.created"]},
        {"at_once": 0},
        {"seconds": 0},
        {"format": "xml"},
        {"unknown": 1},
    ],
)
def test_what_cannot_work_is_refused_at_the_start(changes: dict[str, Any]) -> None:
    """X11, I11; and no message holds a secret."""
    with pytest.raises(ValidationError) as caught:
        settings(**changes)
    assert NEW not in str(caught.value)
    assert "lovelace" not in str(caught.value)


def test_private_addresses_where_they_are_allowed() -> None:
    [endpoint] = settings(url="http://127.0.0.1:9000/", allow_private=True).endpoints
    assert endpoint.allow_private


@pytest.mark.parametrize(
    "values",
    [
        {"webhooks": [PLAIN, PLAIN]},
        {"webhooks": [{**PLAIN, "name": "default"}], "webhook_url": URL},
        {"hook_url": "no url"},
        {"hook_url": URL, "hook_kinds": "post-finish"},
        {"webhook_url": "https://127.0.0.1/"},
        {"webhooks": "{"},
        {"webhooks": 7},
        {"webhooks": ["[7]"]},
        {"webhook_days": 0},
    ],
)
def test_settings_that_contradict_each_other_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhooks", [json.dumps({**PLAIN, "at_once": 0})]),
        ("webhooks", [f'{{"name": "{NEW}"']),
        ("webhooks", [json.dumps({**PLAIN, "secrets": ["whsec_hidden"]})]),
        ("webhook_secret", "whsec_hidden"),
        ("webhook_url", "https://ada:hidden@app.example.org/"),
        ("hook_secret", "hidden"),
        ("api_token", "hidden\n"),
    ],
)
def test_an_operators_mistake_is_told_without_the_secret(name: str, value: object) -> None:
    """X19: one line that names the flag."""
    with pytest.raises(WrongSettings) as caught:
        load({name: value})
    assert f"--{name.replace('_', '-')}" in str(caught.value)
    for secret in ("hidden", NEW, OLD):
        assert secret not in str(caught.value)


def test_the_place_of_a_mistake_is_told() -> None:
    with pytest.raises(WrongSettings, match=r"--webhooks\[1\]\.at_once: must be at least 1"):
        load({"webhooks": [json.dumps(PLAIN), json.dumps({**PLAIN, "name": "b", "at_once": 0})]})


def test_secrets_are_not_shown() -> None:
    """X19: neither by `config` nor by a representation; hosts are, so that an operator can check them."""
    loaded = load(
        {
            "webhooks": [json.dumps({**PLAIN, "url": f"{URL}?key=hidden", "headers": {"X-Key": "hidden"}})],
            "webhook_url": f"{URL}/hidden",
            "webhook_secret": NEW,
            "hook_url": "http://127.0.0.1:9000/hidden",
            "hook_secret": OLD,
            "api_token": "hidden",
        }
    )
    for shown in (settings_as_toml(loaded), repr(loaded.settings), str(loaded.settings.endpoints)):
        assert "hidden" not in shown
        assert "whsec_" not in shown
    assert "https://app.example.org/***" in settings_as_toml(loaded)


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("https://u:hidden@app.example.org/hidden", "https://app.example.org/***"),
        ("HTTPS://app.example.org/hidden", "HTTPS://app.example.org/***"),
        ("https://app.example.org?key=hidden", "https://app.example.org/***"),
        ("https://app.example.org/", "https://app.example.org/"),
        ("https://app.example.org", "https://app.example.org"),
        (
            "postgresql://u:hidden@db.example.org/name?sslmode=require",
            "postgresql://***@db.example.org/name?sslmode=require",
        ),
        (
            "postgresql://db.example.org/name?user=u&password=hidden&a=b",
            "postgresql://db.example.org/name?user=u&password=***&a=b",
        ),
        ("postgresql://u:hid/den@db.example.org/name", "postgresql://***@db.example.org/name"),
        ("hidden://hidden", "***"),
        ("hidden", "***"),
    ],
)
def test_what_is_shown_of_a_secret(secret: str, shown: str) -> None:
    """X19: however a URL is written, and a token that looks like one."""
    assert shown_secret(secret) == shown


def test_the_source_of_events_is_the_public_url_where_there_is_one() -> None:
    assert Settings().cloudevents_source == "/tuspy-server"
    assert Settings(public_url="https://up.example.org").cloudevents_source == "https://up.example.org"
    assert Settings(public_url="https://up.example.org", event_source="urn:x").cloudevents_source == "urn:x"

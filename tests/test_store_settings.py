"""Settings of the production pair: which fit together, and which values they take."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tuspy_server.cli.showing import toml_value
from tuspy_server.settings import Settings

DATABASE = "postgresql://somebody:hush@db.example.org/uploads"
PAIR: dict[str, Any] = {"database_url": DATABASE, "s3_bucket": "uploads"}


def test_the_pair_is_taken() -> None:
    settings = Settings(**PAIR, workers=4, s3_key="{tenant}/{date}/{id}", s3_prefix="a/b/", download="redirect")
    assert settings.workers == 4


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"s3_bucket": "uploads"}, "s3_bucket needs database_url"),
        ({"workers": 2}, "workers above 1 need database_url and s3_bucket"),
        ({"workers": 2, "database_url": DATABASE}, "workers above 1 need database_url and s3_bucket"),
        ({"database_listen_url": DATABASE}, "database_listen_url needs database_url"),
        ({"database_url": "mysql://db/uploads"}, "must be a URL such as postgresql://"),
        ({"database_url": "postgresql://a:b@db:port/uploads"}, "a number between 1 and 65535 as its port"),
        ({"database_url": "postgresql://a:b@db:1,other:99999/uploads"}, "a number between 1 and 65535 as its port"),
        ({"download": "redirect"}, "download redirect needs s3_bucket"),
        ({**PAIR, "s3_endpoint_url": "https://key:secret@s3.example.org"}, "without credentials"),
        ({**PAIR, "s3_endpoint_url": "s3.example.org"}, "must be a URL such as https://"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Settings(**wrong)


@pytest.mark.parametrize("prefix", ["/uploads", "a//b/", "../", "a/./b", "ü/", "a b/", "a?b"])
def test_a_prefix_leads_nowhere_else(prefix: str) -> None:
    """X01."""
    with pytest.raises(ValidationError, match="must be a path"):
        Settings(**PAIR, s3_prefix=prefix)


@pytest.mark.parametrize(
    "template",
    ["", "file", "{id}{name}", "/{id}", "{id}/", "a//{id}", "../{id}", "tmp/{id}", "{id!r}", "{id:9}", "{{id}}"],
)
def test_a_key_is_unique_and_leads_nowhere_else(template: str) -> None:
    """X01, I2: two uploads never share an object."""
    with pytest.raises(ValidationError):
        Settings(**PAIR, s3_key=template)


def test_a_password_is_in_no_representation() -> None:
    """X19: settings are logged and shown."""
    settings = Settings(**PAIR)
    assert "hush" not in repr(settings)
    assert "hush" not in str(settings.model_dump())
    assert toml_value(settings.database_url) == '"postgresql://***@db.example.org/uploads"'

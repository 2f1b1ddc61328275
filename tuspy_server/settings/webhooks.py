"""Webhooks as an operator writes them."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from tuspy_server.events.webhooks.addresses import is_public_host
from tuspy_server.events.webhooks.tusd import NAMES
from tuspy_server.model import EventType
from tuspy_server.settings.kinds import Seconds

RESERVED_HEADERS: Final = frozenset(
    {"host", "content-type", "content-length", "transfer-encoding", "connection", "hook-name"}
)
LEAST_SECRET_BYTES: Final = 16
MOST_SECRET_BYTES: Final = 128


def check_url(url: str) -> str:
    """A URL that webhooks can be sent to; the error never holds it, since it may be a secret itself."""
    try:
        parts = urlsplit(url)
        host, port, named = parts.hostname, parts.port, parts.username is not None or parts.password is not None
    except ValueError as error:
        raise ValueError("must be a URL such as https://app.example.org/hook") from error
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or re.search(r"[\s\\]", url):
        raise ValueError("must be a URL such as https://app.example.org/hook")
    if named:
        raise ValueError("must not carry a name and password; headers can")
    if parts.fragment or port == 0:
        raise ValueError("must have no fragment and no port 0")
    return url


def check_secret(secret: SecretStr) -> SecretStr:
    """A secret of Standard Webhooks."""
    text = secret.get_secret_value()
    try:
        key = base64.b64decode(
            text.removeprefix("whsec_") + "=" * (-len(text.removeprefix("whsec_")) % 4), validate=True
        )
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith("whsec_") or not LEAST_SECRET_BYTES <= len(key) <= MOST_SECRET_BYTES:
        raise ValueError(
            f"must be whsec_ and base64 of {LEAST_SECRET_BYTES} to {MOST_SECRET_BYTES} random bytes, "
            "such as echo whsec_$(openssl rand -base64 32) gives"
        )
    return secret


class Webhook(BaseModel):
    """An endpoint that gets events.

    Attributes:
        name: deliveries are remembered by it.
        url: https; http too where `allow_private` is set.
        types: such as `upload.finished`; empty for all that its format knows.
        secrets: `whsec_…`; each makes a signature, the newest first, so that a receiver can change.
        format: `cloudevents`, or `tusd`: bodies as of tusd's HTTP hooks.
        processing: a finished upload counts as processed only when this endpoint has taken it.
        at_once: most calls at once; None for `webhook_at_once`.
        seconds: deadline of one call; None for `webhook_seconds`.
        headers: that every call carries.
        allow_private: whether its address may be private; None for `webhook_allow_private`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    url: SecretStr
    types: tuple[EventType, ...] = ()
    secrets: tuple[SecretStr, ...] = Field(default=(), max_length=8)
    format: Literal["cloudevents", "tusd"] = "cloudevents"
    processing: bool = False
    at_once: int | None = Field(default=None, ge=1, le=1000)
    seconds: Seconds | None = Field(default=None, gt=0)
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)
    allow_private: bool | None = None

    @field_validator("url")
    @classmethod
    def _url_is_one(cls, url: SecretStr) -> SecretStr:
        check_url(url.get_secret_value())
        return url

    @field_validator("secrets")
    @classmethod
    def _secrets_are_strong(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        return tuple(check_secret(secret) for secret in secrets)

    @field_validator("headers")
    @classmethod
    def _headers_are_free(cls, headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, value in headers.items():
            reserved = name.lower() in RESERVED_HEADERS or name.lower().startswith("webhook-")
            if reserved or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                raise ValueError("must be headers other than those of every call")
            if not re.fullmatch(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", value.get_secret_value()):
                raise ValueError("must have values of printable ASCII")
        return headers

    @model_validator(mode="after")
    def _types_fit(self) -> Self:
        unknown = [str(item) for item in self.types if item not in NAMES] if self.format == "tusd" else []
        if unknown:
            raise ValueError(f"the format tusd has no word for {', '.join(unknown)}")
        if self.processing and EventType.FINISHED not in self.wanted:
            raise ValueError(f"processing needs the type {EventType.FINISHED}")
        return self

    @property
    def wanted(self) -> frozenset[EventType]:
        """The types that it gets."""
        return frozenset(self.types) or frozenset(NAMES if self.format == "tusd" else EventType)


def check_reach(url: str, *, allow_private: bool) -> None:
    """What can be said of an address before it is called (faults X11, X12); the connection checks it again.

    Raises:
        ValueError: it is closed to webhooks.
    """
    if allow_private:
        return
    parts = urlsplit(url)
    if parts.scheme != "https":
        raise ValueError(
            "must be https, unless allow_private (--webhook-allow-private) says that it is one of your own network"
        )
    if not is_public_host(parts.hostname or ""):
        raise ValueError("must have a public address, unless allow_private (--webhook-allow-private) is set")


def _from_json(value: object) -> object:
    """One text, or several: each the JSON of one webhook, or of a list of them."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        return value
    webhooks: list[object] = []
    for text in texts:
        if not isinstance(text, str):
            webhooks.append(text)
            continue
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError('must be JSON such as {"name": "app", "url": "https://app.example.org/hook"}') from error
        webhooks.extend(found if isinstance(found, list) else [found])
    return tuple(webhooks)


Webhooks = Annotated[tuple[Webhook, ...], NoDecode, BeforeValidator(_from_json)]
"""TOML tables `[[webhooks]]`, JSON in a variable, repeated JSON on the command line, or `Webhook(…)` in code."""

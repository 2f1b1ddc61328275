"""Where the server is, and where its embedded store."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tuspy_server.settings.kinds import ENVIRONMENT_PREFIX, Texts

SITE_PATHS: Final = frozenset({"livez", "readyz", "metrics", "events", "ws", "api", "commands", "queries"})
"""First segments that the site uses itself."""

JSON_FIELDS: Final = frozenset({"webhooks"})
"""A variable may hold its JSON over several lines."""


class PlaceSettings(BaseSettings):
    """Addresses, and how values are read at all."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # it may be a secret
    )

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    path: str = Field(default="/files/", description="Path of the creation URL.")
    data: Path = Field(
        default=Path("data"), description="Folder of the embedded store: SQLite database and uploaded files."
    )
    public_url: str | None = Field(
        default=None,
        description="Origin that clients see, such as https://upload.example.org; Location is then absolute.",
    )
    trusted_proxies: Texts = Field(
        default=(), description="Addresses or networks whose Forwarded and X-Forwarded-* headers are believed."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Keywords, then environment: no file is read, unless the command line does."""
        return (init_settings, env_settings)

    @field_validator("*", mode="before")
    @classmethod
    def _texts_are_printable(cls, value: object, info: ValidationInfo) -> object:
        if info.field_name in JSON_FIELDS:
            return value
        texts = value if isinstance(value, (list, tuple)) else (value,)
        if any(isinstance(text, str) and not text.isprintable() for text in texts):
            raise ValueError("must not have control characters")
        return value

    @field_validator("data", mode="before")
    @classmethod
    def _data_is_named(cls, data: object) -> object:
        # Path("") is the working directory, which is hardly what an empty variable in a start script was to say.
        if data == "":
            raise ValueError("must name a folder")
        return data

    @field_validator("path")
    @classmethod
    def _path_is_plain(cls, path: str) -> str:
        segments = [segment for segment in path.split("/") if segment]
        plain = all(re.fullmatch(r"[A-Za-z0-9_~.-]+", segment) and segment.strip(".") for segment in segments)
        if not segments or not plain:
            raise ValueError("must be a path of letters, digits, - and _ such as /files/, not the root")
        if segments[0] in SITE_PATHS:
            raise ValueError(f"must not start with /{segments[0]}, which the server uses itself")
        return f"/{'/'.join(segments)}/"

    @field_validator("public_url")
    @classmethod
    def _public_url_is_an_origin(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and bool(parts.netloc) and url.isascii()
        if not is_web or parts.path.strip("/") or parts.query or parts.username is not None:
            raise ValueError("must be an origin such as https://upload.example.org")
        return f"{parts.scheme}://{parts.netloc}"

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ipaddress.ip_network(proxy, strict=False)
            except ValueError as error:
                raise ValueError("must be addresses or networks such as 10.0.0.0/8") from error
        return proxies

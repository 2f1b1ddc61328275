"""Settings: all that an operator can set, in one frozen model.

Every field is a flag (`--max-size`), an environment variable (`TUSPY_MAX_SIZE`) and a key of the TOML file
(`max_size`); `tuspy_server.cli.sources` lays them over one another. In an application, `Settings(data="…")` takes
keywords over the environment and reads no file.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ByteSize, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

DAY_SECONDS: Final = 86_400.0
ENVIRONMENT_PREFIX: Final = "TUSPY_"


CENTURY_SECONDS: Final = 3_155_760_000.0
MOST_BYTES: Final = 2**63 - 1

SITE_PATHS: Final = frozenset({"livez", "readyz", "metrics"})
"""First segments that the site uses itself."""


def _split_at_commas(value: object) -> object:
    parts = (value,) if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        return value
    texts = [text.strip() for part in parts for text in part.split(",")]
    return tuple(text for text in texts if text)


Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_at_commas)]
"""Several texts: a TOML array, a repeated flag, or one text with commas, which is all that a variable can hold."""

Seconds = Annotated[float, Field(le=CENTURY_SECONDS, allow_inf_nan=False)]
"""A duration; its ceiling keeps every instant that is reckoned with it a valid one."""


class Settings(BaseSettings):
    """All that an operator can set. Sizes take units (`5GB`, `64MiB`); times are in seconds."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    # where
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

    # limits
    max_size: ByteSize | None = Field(
        default=None, gt=0, le=MOST_BYTES, description="Largest upload (Tus-Max-Size); unset for no limit."
    )
    max_metadata_bytes: ByteSize = Field(default=ByteSize(8192), ge=0, description="Largest Upload-Metadata value.")
    max_header_bytes: ByteSize = Field(
        default=ByteSize(32768), ge=1024, description="Largest sum of all request headers."
    )
    checksum_max_bytes: ByteSize = Field(
        default=ByteSize(64 << 20), ge=1, description="Largest body of a request with Upload-Checksum."
    )
    pool_bytes: ByteSize = Field(
        default=ByteSize(128 << 20), ge=1 << 20, description="Most memory for bodies on their way."
    )

    # lifetimes
    expires_seconds: Seconds = Field(
        default=7 * DAY_SECONDS,
        ge=0,
        description="Unfinished uploads expire this long after their last byte; 0 for never.",
    )
    expires_cap_seconds: Seconds = Field(
        default=30 * DAY_SECONDS, gt=0, description="Unfinished uploads expire this long after creation at the latest."
    )
    gone_seconds: Seconds = Field(
        default=DAY_SECONDS, ge=0, description="How long a removed upload answers 410 before 404."
    )
    event_seconds: Seconds = Field(default=7 * DAY_SECONDS, ge=0, description="How long delivered events are kept.")
    sweep_interval_seconds: Seconds = Field(default=60.0, gt=0, description="Time between sweeps for expired uploads.")

    # the body path
    durability: Literal["disk", "process"] = Field(
        default="disk",
        description="disk: survives a power cut (fdatasync before a byte counts); process: survives kill -9 only.",
    )
    commit_interval_seconds: Seconds = Field(
        default=0.25, gt=0, description="How often a running body's offset is committed."
    )
    head_wait_seconds: Seconds = Field(
        default=1.0, ge=0, description="How long HEAD waits for a running body to be committed."
    )
    body_idle_seconds: Seconds = Field(
        default=30.0, gt=0, description="A body that brings no byte for this long is ended."
    )
    storage_seconds: Seconds = Field(
        default=60.0, gt=0, description="Deadline of one call to the storage or the database."
    )
    drain_seconds: Seconds = Field(default=10.0, gt=0, description="Deadline of a shutdown after SIGTERM.")

    http: Literal["own", "stock"] = Field(
        default="own",
        description="own: our HTTP class, fast and strict; stock: uvicorn's, which keeps fewer bytes of a broken body.",
    )
    head_seconds: Seconds = Field(default=15.0, gt=0, description="Deadline of a request's head (own HTTP class).")
    body_least_bytes_per_second: int = Field(
        default=128, ge=0, description="A body slower than this over half a minute is ended (own HTTP class)."
    )

    # downloads and browsers
    download: Literal["serve", "off"] = Field(default="serve", description="Whether GET serves finished uploads.")
    cors_origins: Texts = Field(default=("*",), description="Origins that browsers may upload from; * for all.")
    cors_credentials: bool = Field(default=False, description="Whether browsers may send cookies; not together with *.")

    # hooks
    hook_seconds: Seconds = Field(default=60.0, gt=0, description="Deadline of one call of a Python hook.")
    hook_attempts: int = Field(
        default=20, ge=1, description="Calls of a failing hook before its event is given up as dead."
    )

    # logs
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto", description="auto: console on a terminal, else JSON."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level logged."
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
    def _texts_are_printable(cls, value: object) -> object:
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

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            parts = urlsplit(origin)
            if origin != "*" and (not parts.scheme or not parts.netloc or parts.path or parts.query):
                raise ValueError("each must be * or an origin such as https://app.example.org, without a path")
        return origins

    @model_validator(mode="after")
    def _no_credentials_for_everybody(self) -> Self:
        if self.cors_credentials and "*" in self.cors_origins:
            raise ValueError("cors_credentials needs a list of origins in cors_origins, not *")
        if self.expires_seconds and self.expires_cap_seconds < self.expires_seconds:
            raise ValueError("expires_cap_seconds must not be below expires_seconds")
        return self

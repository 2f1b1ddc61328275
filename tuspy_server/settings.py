"""Settings: flags over environment (`TUSPY_…`) over a TOML file, in one frozen model.

Every field is a flag (`--max-size`), an environment variable (`TUSPY_MAX_SIZE`) and a key of the TOML file
(`max_size`). In an application, `Settings(data="…")` takes keywords in the place of flags.
"""

from __future__ import annotations

import ipaddress
from contextvars import ContextVar
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import ByteSize, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

DAY_SECONDS: Final = 86_400.0

config_file: ContextVar[Path | None] = ContextVar("config_file", default=None)
"""The TOML file that `Settings()` reads in this context."""


class Settings(BaseSettings):
    """All that an operator can set. Sizes take units (`5GB`, `64MiB`); times are in seconds."""

    model_config = SettingsConfigDict(env_prefix="TUSPY_", frozen=True, extra="forbid")

    # where
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    path: str = Field("/files/", description="Path of the creation URL.")
    data: Path = Field(Path("data"), description="Folder of the embedded store: SQLite database and uploaded files.")
    public_url: str | None = Field(
        None, description="Origin that clients see, such as https://upload.example.org; Location is then absolute."
    )
    trusted_proxies: tuple[str, ...] = Field(
        (), description="Addresses or networks whose Forwarded and X-Forwarded-* headers are believed."
    )

    # limits
    max_size: ByteSize | None = Field(None, gt=0, description="Largest upload (Tus-Max-Size); unset for no limit.")
    max_metadata_bytes: ByteSize = Field(ByteSize(8192), ge=0, description="Largest Upload-Metadata value.")
    max_header_bytes: ByteSize = Field(ByteSize(32768), ge=1024, description="Largest sum of all request headers.")
    checksum_max_bytes: ByteSize = Field(
        ByteSize(64 << 20), ge=1, description="Largest body of a request with Upload-Checksum."
    )
    pool_bytes: ByteSize = Field(ByteSize(128 << 20), ge=1 << 20, description="Most memory for bodies on their way.")

    # lifetimes
    expires_seconds: float = Field(
        7 * DAY_SECONDS, ge=0, description="Unfinished uploads expire this long after their last byte; 0 for never."
    )
    expires_cap_seconds: float = Field(
        30 * DAY_SECONDS, gt=0, description="Unfinished uploads expire this long after creation at the latest."
    )
    gone_seconds: float = Field(DAY_SECONDS, ge=0, description="How long a removed upload answers 410 before 404.")
    event_seconds: float = Field(7 * DAY_SECONDS, ge=0, description="How long delivered events are kept.")
    sweep_interval_seconds: float = Field(60.0, gt=0, description="Time between sweeps for expired uploads.")

    # the body path
    durability: Literal["disk", "process"] = Field(
        "disk", description="disk: survives a power cut (fdatasync before a byte counts); process: survives kill -9 only."
    )
    commit_interval_seconds: float = Field(0.25, gt=0, description="How often a running body's offset is committed.")
    head_wait_seconds: float = Field(1.0, ge=0, description="How long HEAD waits for a running body to be committed.")
    body_idle_seconds: float = Field(30.0, gt=0, description="A body that brings no byte for this long is ended.")
    storage_seconds: float = Field(60.0, gt=0, description="Deadline of one call to the storage or the database.")
    drain_seconds: float = Field(10.0, gt=0, description="Deadline of a shutdown after SIGTERM.")

    # downloads and browsers
    download: Literal["serve", "off"] = Field("serve", description="Whether GET serves finished uploads.")
    cors_origins: tuple[str, ...] = Field(("*",), description="Origins that browsers may upload from; * for all.")
    cors_credentials: bool = Field(False, description="Whether browsers may send cookies; not together with *.")

    # hooks
    hook_seconds: float = Field(60.0, gt=0, description="Deadline of one call of a Python hook.")
    hook_attempts: int = Field(20, ge=1, description="Calls of a failing hook before its event is given up as dead.")

    # logs
    log_format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal, else JSON.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe level logged.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then the file."""
        path = config_file.get()
        if path is None:
            return (init_settings, env_settings)
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path))

    @field_validator("path")
    @classmethod
    def _path_has_slashes(cls, path: str) -> str:
        segments = [segment for segment in path.split("/") if segment]
        if not segments or any(segment in (".", "..") or not segment.isascii() for segment in segments):
            raise ValueError("must be a path such as /files/, not the root")
        return f"/{'/'.join(segments)}/"

    @field_validator("public_url")
    @classmethod
    def _public_url_is_an_origin(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
            raise ValueError("must be an origin such as https://upload.example.org")
        return f"{parts.scheme}://{parts.netloc}"

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            ipaddress.ip_network(proxy, strict=False)
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

"""Settings: all that an operator can set, in one frozen model.

Every field is a flag (`--max-size`), an environment variable (`TUSPY_MAX_SIZE`) and a key of the TOML file
(`max_size`); `tuspy_server.cli.sources` lays them over one another. In an application, `Settings(data="…")` takes
keywords over the environment and reads no file.
"""

from __future__ import annotations

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import ByteSize, Field, field_validator, model_validator

from tuspy_server.settings.api import ApiSettings
from tuspy_server.settings.kinds import DAY_SECONDS, ENVIRONMENT_PREFIX, MOST_BYTES, Seconds, Texts
from tuspy_server.settings.places import JSON_FIELDS, SITE_PATHS
from tuspy_server.settings.webhooks import Webhook

__all__ = ["DAY_SECONDS", "ENVIRONMENT_PREFIX", "JSON_FIELDS", "MOST_BYTES", "SITE_PATHS", "Settings", "Webhook"]


class Settings(ApiSettings):
    """All that an operator can set. Sizes take units (`5GB`, `64MiB`); times are in seconds."""

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
    download: Literal["serve", "redirect", "off"] = Field(
        default="serve",
        description="Whether GET serves finished uploads; redirect: by a link to the object store.",
    )
    link_seconds: Seconds = Field(default=300.0, ge=1, le=604_800, description="How long such a link is good for.")
    cors_origins: Texts = Field(default=("*",), description="Origins that browsers may upload from; * for all.")
    cors_credentials: bool = Field(default=False, description="Whether browsers may send cookies; not together with *.")

    # logs
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto", description="auto: console on a terminal, else JSON."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level logged."
    )

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
        if self.download == "redirect" and self.s3_bucket is None:
            raise ValueError("download redirect needs s3_bucket")
        if self.expires_seconds and self.expires_cap_seconds < self.expires_seconds:
            raise ValueError("expires_cap_seconds must not be below expires_seconds")
        return self

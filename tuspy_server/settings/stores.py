"""The database and the object store of a production server."""

from __future__ import annotations

import re
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import ByteSize, Field, SecretStr, field_validator, model_validator

from tuspy_server.settings.kinds import Seconds
from tuspy_server.settings.places import PlaceSettings

MOST_PORT: Final = 65_535


class StoreSettings(PlaceSettings):
    """Without any of these, rows and bytes are kept in the data folder."""

    # rows
    database_url: SecretStr | None = Field(
        default=None, description="PostgreSQL, such as postgresql://user:password@host/database; unset: SQLite."
    )
    database_listen_url: SecretStr | None = Field(
        default=None, description="The same database for LISTEN, past a pooler; unset: database_url."
    )
    database_pooling: Literal["session", "transaction"] = Field(
        default="session",
        description="transaction: database_url leads to a pooler such as PgBouncer in transaction mode.",
    )
    database_connections: int = Field(default=5, ge=2, le=1000, description="Most connections of one process.")
    database_seconds: Seconds = Field(
        default=10.0, gt=0, description="Deadline of one statement, with the wait for a connection."
    )
    node_seconds: Seconds = Field(
        default=10.0, gt=0, description="A process that has not been heard of for this long is taken for dead."
    )

    # bytes
    s3_bucket: str | None = Field(default=None, min_length=3, description="S3 bucket of the files; unset: data folder.")
    s3_endpoint_url: str | None = Field(default=None, description="S3 service other than AWS.")
    s3_region: str | None = Field(default=None, min_length=1, description="Region of the bucket.")
    s3_prefix: str = Field(default="", description="What every key begins with, such as uploads/.")
    s3_key: str = Field(
        default="{id}", description="Key of a finished upload, of {id} (which it needs), {date} and {tenant}."
    )
    s3_addressing: Literal["auto", "path", "virtual"] = Field(
        default="auto", description="Whether the bucket is named in the path or in the host."
    )
    s3_part_bytes: ByteSize | None = Field(
        default=None, ge=5 << 20, le=5 << 30, description="Size of a part; unset: by the length, from 8MiB."
    )
    s3_connections: int = Field(default=64, ge=1, le=10_000, description="Most S3 calls of one process at once.")
    s3_checksums: Literal["auto", "crc32c", "off"] = Field(
        default="auto", description="Whether the store checks a CRC32C of what it is sent."
    )
    finish_wait_seconds: Seconds = Field(
        default=25.0, ge=0, description="How long a request waits for the object of an upload to be put together."
    )

    # processes
    workers: int = Field(default=1, ge=1, le=256, description="Processes that serve; more than one needs PostgreSQL.")

    @field_validator("database_url", "database_listen_url")
    @classmethod
    def _database_is_postgresql(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and urlsplit(url.get_secret_value()).scheme not in ("postgresql", "postgres"):
            raise ValueError("must be a URL such as postgresql://user:password@host/database")
        # Several hosts may be named, each with a port.
        hosts = "" if url is None else urlsplit(url.get_secret_value()).netloc.rpartition("@")[2]
        for host in hosts.split(","):
            port = host.rpartition("]")[2].partition(":")[2]
            if port and not (port.isdecimal() and 0 < int(port) <= MOST_PORT):
                raise ValueError("must have a number between 1 and 65535 as its port")
        return url

    @field_validator("s3_endpoint_url")
    @classmethod
    def _endpoint_is_an_origin(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.username is not None:
            raise ValueError("must be a URL such as https://s3.example.org, without credentials")
        return url.rstrip("/")

    @field_validator("s3_prefix")
    @classmethod
    def _prefix_is_relative(cls, prefix: str) -> str:
        segments = prefix.split("/")
        plain = re.fullmatch(r"[A-Za-z0-9/_.=-]{0,256}", prefix) and not {".", ".."} & set(segments)
        if not plain or "" in segments[:-1]:
            raise ValueError("must be a path of letters, digits, _, =, - and ., such as uploads/")
        return prefix

    @field_validator("s3_key")
    @classmethod
    def _key_is_of_known_parts(cls, template: str) -> str:
        plain = re.sub(r"\{(id|date|tenant)\}", "x", template)
        segments = plain.split("/")
        if "{id}" not in template or not re.fullmatch(r"[A-Za-z0-9/_.=-]{1,512}", plain):
            raise ValueError(
                "must be a path of letters, digits, _, =, -, ., {id}, {date} and {tenant}, with {id} in it"
            )
        if {"", ".", ".."} & set(segments) or segments[0] == "tmp":
            raise ValueError("must have no empty segment, . or .., and not begin with tmp/, where unfinished bytes are")
        return template

    @model_validator(mode="after")
    def _stores_fit_together(self) -> Self:
        if self.s3_bucket is not None and self.database_url is None:
            raise ValueError("s3_bucket needs database_url: offsets are kept in PostgreSQL")
        if self.workers > 1 and (self.database_url is None or self.s3_bucket is None):
            raise ValueError("workers above 1 need database_url and s3_bucket: the data folder is one process's")
        if self.database_url is None and self.database_listen_url is not None:
            raise ValueError("database_listen_url needs database_url")
        return self

"""Servers that run once a session; a test that asks for one of their fixtures starts them."""

from tests.support.servers import (
    empty_databases,
    gateway,
    make_database,
    make_nginx,
    moto,
    pgbouncer,
    pooled_dsn,
    postgres_dsn,
    postgres_server,
    rclone,
    s3_bucket,
    strict_process,
    strict_s3,
)

__all__ = [
    "empty_databases",
    "gateway",
    "make_database",
    "make_nginx",
    "moto",
    "pgbouncer",
    "pooled_dsn",
    "postgres_dsn",
    "postgres_server",
    "rclone",
    "s3_bucket",
    "strict_process",
    "strict_s3",
]

"""Servers that run once a session; a test that asks for one of their fixtures starts them."""

import pytest
from hypothesis import HealthCheck, settings

from tests.support import second_run
from tests.support.ports import keep_ports_apart
from tests.support.second_run import pytest_collection_modifyitems, pytest_runtest_setup, pytest_terminal_summary
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
    "pytest_collection_modifyitems",
    "pytest_runtest_setup",
    "pytest_terminal_summary",
    "rclone",
    "s3_bucket",
    "strict_process",
    "strict_s3",
]


def pytest_configure(config: pytest.Config) -> None:
    # How fast an example is says nothing; where CI=true, Hypothesis does the same of itself.
    settings.register_profile(
        "tuspy", settings.default, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("tuspy")
    keep_ports_apart()
    second_run.pytest_configure(config)

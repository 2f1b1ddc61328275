"""Servers on PostgreSQL and a bucket: what the command line and the processes of tests need for them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.process import CLI, ServerProcess
from tests.support.strict_s3.remote import StrictProcess
from trial.gateways import Bucket, Gateway
from trial.postgres import PostgresServer

_numbers: Final = itertools.count(1)


@dataclass(frozen=True)
class Pair:
    """One database and one bucket, for any number of servers."""

    database_url: str
    bucket: Bucket

    @property
    def settings(self) -> dict[str, str]:
        return {
            "database_url": self.database_url,
            "s3_bucket": self.bucket.name,
            "s3_endpoint_url": self.bucket.endpoint_url,
            "s3_region": self.bucket.region,
            "s3_addressing": "path",
        }

    @property
    def flags(self) -> list[str]:
        return [word for name, value in self.settings.items() for word in (f"--{name.replace('_', '-')}", value)]

    @property
    def variables(self) -> dict[str, str]:
        """The credentials; and nothing is asked of the machine that the tests run on."""
        return {
            **self.bucket.environment,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }


class ProductionServer(ServerProcess):
    """One process, or one parent of workers, on a pair that others may use, too."""

    def __init__(
        self,
        folder: Path,
        pair: Pair,
        *,
        program: Sequence[str] = CLI,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(folder, program=program, settings={**pair.settings, **(settings or {})})
        self.pair = pair

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), **self.pair.variables}


@contextmanager
def strict_pair(
    postgres_server: PostgresServer, gateway: Gateway, folder: Path
) -> Iterator[tuple[Pair, StrictProcess]]:
    """A new database, and a new bucket behind the strict layer, for fixtures that live longer than one test."""
    name = f"pair_{next(_numbers)}"
    strict = StrictProcess(gateway.make_bucket(name.replace("_", "-")), folder)
    database_url = postgres_server.create_database(name)
    try:
        yield Pair(database_url, strict.start().bucket), strict
    finally:
        strict.stop()
        postgres_server.drop_database(name)

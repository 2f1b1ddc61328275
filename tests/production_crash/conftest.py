from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.production_crash.production import Production
from tests.support.strict_s3.remote import StrictProcess
from trial.gateways import Gateway

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def shared_strict(rclone: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictProcess]:
    """One strict layer for all tests here, each with a prefix of its own."""
    strict = StrictProcess(rclone.make_bucket("production"), tmp_path_factory.mktemp("strict"))
    try:
        yield strict.start()
    finally:
        strict.stop()


@pytest.fixture
def production(
    rclone: Gateway, shared_strict: StrictProcess, postgres_dsn: str, tmp_path: Path
) -> Iterator[Production]:
    made = Production(
        folder=tmp_path,
        dsn=postgres_dsn,
        strict=shared_strict,
        objects=rclone.folder / "objects" / shared_strict.bucket.name,
        prefix=f"t{next(_numbers)}/",
    )
    try:
        yield made
    finally:
        made.close()
        shared_strict.heal()

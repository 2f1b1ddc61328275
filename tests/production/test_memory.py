"""The server's memory is bounded by its settings, not by its clients, nor by its store (I10, R02)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.soak import soak
from tests.production.pair import Pair, ProductionServer
from tests.support.process import MEBIBYTE
from trial.gateways import Bucket, Gateway, Rclone

MOST_RSS_BYTES = 300 * MEBIBYTE
GIBIBYTE = 1024 * MEBIBYTE


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """Without the strict layer, which keeps whole parts in memory."""
    gateway = Rclone(tmp_path / "rclone", hashes_objects=False)
    try:
        yield gateway.start()
    finally:
        gateway.stop()


@pytest.fixture
def server(postgres_dsn: str, s3_bucket: Bucket, tmp_path: Path) -> Iterator[ProductionServer]:
    # rclone copies all parts to put an object together, some MiB a second where eight do so at once.
    server = ProductionServer(tmp_path / "server", Pair(postgres_dsn, s3_bucket), settings={"finish_wait_seconds": 600})
    try:
        yield server.start()
    finally:
        server.close()
        print(server.log_tail())


def test_eight_large_uploads_at_once(server: ProductionServer) -> None:
    """R02 (I2, I10): the smaller form."""
    report = soak(server, uploads=8, length=64 * MEBIBYTE)
    assert report.peak_rss_bytes < MOST_RSS_BYTES, report


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_eight_uploads_of_a_gibibyte_at_once(server: ProductionServer) -> None:
    """R02 (I2, I10)."""
    report = soak(server, uploads=8, length=GIBIBYTE)
    print(report)
    assert report.peak_rss_bytes < MOST_RSS_BYTES, report


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_one_upload_of_fifteen_gibibytes(server: ProductionServer) -> None:
    """R02 (I2, I10)."""
    report = soak(server, uploads=1, length=15 * GIBIBYTE)
    print(report)
    assert report.peak_rss_bytes < MOST_RSS_BYTES, report

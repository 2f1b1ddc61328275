"""The server's memory is bounded by its settings, not by its clients (I10, R02)."""

from __future__ import annotations

import pytest

from bench.soak import MOST_RSS_BYTES, soak
from tests.support.fixtures import MakeServer
from tests.support.process import MEBIBYTE


def test_eight_large_uploads_at_once(make_server: MakeServer) -> None:
    """R02 (I2, I10): the smaller form."""
    report = soak(make_server().start(), uploads=8, length=64 * MEBIBYTE)
    assert report.peak_rss_bytes < MOST_RSS_BYTES, report


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_eight_uploads_of_a_gibibyte_at_once(make_server: MakeServer) -> None:
    """R02 (I2, I10)."""
    report = soak(make_server().start(), uploads=8, length=1024 * MEBIBYTE)
    print(report)
    assert report.peak_rss_bytes < MOST_RSS_BYTES, report

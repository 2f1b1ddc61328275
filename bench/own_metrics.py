"""What our own server counted, read from its `/metrics`: the client's counts must agree with it."""

from __future__ import annotations

import http.client
import re
from typing import Final, NamedTuple

SAMPLE: Final = re.compile(r"^(\w+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


class OwnCounts(NamedTuple):
    """Counters of one server, or the difference of two readings."""

    requests: int
    received_bytes: int
    commits: int

    def __sub__(self, other: OwnCounts) -> OwnCounts:
        return OwnCounts(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))


def read_own_counts(port: int) -> OwnCounts:
    """Read them now."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    sums: dict[str, float] = {}
    for name, value in SAMPLE.findall(text):
        sums[name] = sums.get(name, 0.0) + float(value)
    return OwnCounts(
        requests=int(sums.get("tuspy_request_duration_seconds_count", 0)),
        received_bytes=int(sums["tuspy_received_bytes_total"]),
        commits=int(sums.get("tuspy_commit_duration_seconds_count", 0)),
    )

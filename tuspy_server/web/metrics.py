"""Prometheus metrics of one server, in a registry of its own, so that several servers fit in one process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tuspy_server.model import Upload, UploadStatus
from tuspy_server.ports import Backlog, DeliveryStatus

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

MOST_COUNTED: Final = 10_000
"""Deliveries of one status: there may be millions, and to count them takes long."""

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)


class Metrics:
    """Implements `uploads.observer.Observer`, and counts requests for the web layer."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._uploads = Gauge("tuspy_uploads", "Uploads by status.", ["status"], registry=registry)
        self._received = Counter("tuspy_received_bytes", "Bytes of bodies received.", registry=registry)
        self._requests = Histogram(
            "tuspy_request_duration_seconds",
            "Time from a request's head to the end of its answer.",
            ["method", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        # Methods and statuses are ours, and few; to find a child by its labels costs more than to count in it.
        self._requests_of: dict[tuple[str, int], Histogram] = {}
        self._in_flight = Gauge("tuspy_requests_in_flight", "Requests being served.", registry=registry)
        self._commits = Histogram(
            "tuspy_commit_duration_seconds",
            "Time to make bytes durable and commit their offset.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._sweeps = Counter("tuspy_sweeps", "Sweeps ended.", registry=registry)
        self._expired = Counter("tuspy_swept_expired_uploads", "Uploads that sweeps expired.", registry=registry)
        self._cleaned = Counter("tuspy_swept_cleaned_uploads", "Ended uploads whose bytes went.", registry=registry)
        self._purged = Counter("tuspy_swept_purged_rows", "Rows that sweeps deleted.", registry=registry)
        self._streams = Gauge("tuspy_streams", "Streams of events that are open.", registry=registry)
        self._deliveries = Gauge(
            "tuspy_deliveries",
            f"Deliveries of events that wait, and that were given up, each up to {MOST_COUNTED}.",
            ["status"],
            registry=registry,
        )
        self._lag = Gauge("tuspy_relay_lag_seconds", "Since the oldest event not yet numbered.", registry=registry)
        self._pool = Gauge("tuspy_pool_used_bytes", "Memory that bodies on their way take.", registry=registry)

    def received(self, count: int) -> None:
        """See `Observer`."""
        self._received.inc(count)

    def committed(self, duration_seconds: float) -> None:
        """See `Observer`."""
        self._commits.observe(duration_seconds)

    def progressed(self, upload: Upload) -> None:
        """See `Observer`."""

    def swept(self, expired: int, cleaned: int, purged: int) -> None:
        """See `Observer`."""
        self._sweeps.inc()
        self._expired.inc(expired)
        self._cleaned.inc(cleaned)
        self._purged.inc(purged)

    def request_began(self) -> None:
        """A request's head has come."""
        self._in_flight.inc()

    def request_ended(self, method: str, status: int, duration_seconds: float) -> None:
        """Its answer is sent. `method` is one of HTTP's, never what a client made up; `status` 499: the client left."""
        self._in_flight.dec()
        requests = self._requests_of.get((method, status))
        if requests is None:
            requests = self._requests_of[method, status] = self._requests.labels(method, str(status))
        requests.observe(duration_seconds)

    def render(
        self, uploads: Mapping[UploadStatus, int], backlog: Backlog, pool_used_bytes: int, streams: int
    ) -> bytes:
        """The text that Prometheus reads."""
        for status in UploadStatus:
            self._uploads.labels(status.value).set(uploads.get(status, 0))
        self._deliveries.labels(DeliveryStatus.WAITING.value).set(backlog.waiting)
        self._deliveries.labels(DeliveryStatus.DEAD.value).set(backlog.dead)
        self._lag.set(backlog.lag_seconds)
        self._pool.set(pool_used_bytes)
        self._streams.set(streams)
        return generate_latest(self._registry)

"""A bucket is tried out before uploads are entrusted to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from tuspy_server.protocol.errors import StorageFault
from tuspy_server.stores.s3.capabilities import Capabilities, probe, with_expiry
from tuspy_server.stores.s3.client import S3Client
from tuspy_server.stores.s3.store import S3BlobStore

log = structlog.get_logger("tuspy_server.stores.s3")

AGAIN_SECONDS: Final = 2.0
PAUSE_SECONDS: Final = 0.5


class BucketUnusable(StorageFault):
    """As its base; says at the start what the bucket does not do."""

    def __init__(self, bucket: str, sentence: str) -> None:
        Exception.__init__(self, f"bucket {bucket}: {sentence}")


async def looked_at(client: S3Client, prefix: str) -> Capabilities:
    """Probe with a client that is not open, and close it; never raises for what the probe meets.

    Args:
        client: with deadlines that somebody may wait for. Its calls are tried once, and the probe as a whole again
            where it failed quickly: no hiccup of the store keeps a server from starting.
        prefix: of all keys of the server.

    Raises:
        S3Error: there are no credentials.
    """
    await client.open()
    try:
        began = time.monotonic()
        while True:
            seen = await probe(client, f"{prefix}tmp/probe/")
            if seen.stores or time.monotonic() - began > AGAIN_SECONDS:
                break
            await asyncio.sleep(PAUSE_SECONDS)
    finally:
        await client.close()
    return seen


@dataclass(frozen=True, slots=True)
class Look:
    """What a server does with a bucket before it uses it: one probe, and what an operator should know of it is logged.

    Attributes:
        prober: another client of the bucket, used once.
        prefix: of all keys of the server.
        longest_seconds: that an unfinished upload may live, None for no end.
    """

    prober: S3Client
    prefix: str
    longest_seconds: float | None

    async def __call__(self) -> Capabilities:
        """Raises:
        BucketUnusable: 503, with the first reason. S3Error: there are no credentials.
        """
        seen = await looked_at(self.prober, self.prefix)
        bucket = self.prober.options.bucket
        for finding in seen.findings:
            if finding.severity == "error":
                raise BucketUnusable(bucket, finding.sentence)
        # A rule that somebody has changed meanwhile must not take the nodes down one by one: `check` fails on it.
        for finding in with_expiry(seen, self.longest_seconds).findings:
            tell = {"error": log.error, "warning": log.warning, "note": log.info}[finding.severity]
            tell("bucket.probe.finding", bucket=bucket, finding=finding.sentence)
        return seen


class ProbedBucket:
    """The client of a store. Opening it tells client and store what the bucket cannot do."""

    def __init__(self, client: S3Client, store: S3BlobStore, look: Callable[[], Awaitable[Capabilities]]) -> None:
        """`look`: a `Look`, or whatever gives what one has seen."""
        self._client = client
        self._store = store
        self._look = look

    async def open(self) -> None:
        """Look, and open. Raises as `Look`."""
        seen = await self._look()
        if self._client.options.checksums == "auto":
            self._client.sends_crc32c = seen.accepts_crc32c
        self._store.adapt(seen)
        await self._client.open()

    async def close(self) -> None:
        """Close the client. May be called twice."""
        await self._client.close()

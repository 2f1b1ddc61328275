"""A site over a real gateway behind the strict layer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.stores.s3.harness import MIB, Site
from tests.support.strict_s3 import StrictS3
from tuspy_server.stores.s3.client import S3Client
from tuspy_server.stores.s3.values import S3Options


@asynccontextmanager
async def a_client(
    strict: StrictS3, *, call_seconds: float = 10, attempt_seconds: float = 3
) -> AsyncIterator[S3Client]:
    bucket = strict.bucket
    client = S3Client(
        S3Options(
            bucket=bucket.name,
            endpoint_url=bucket.endpoint_url,
            region=bucket.region,
            addressing_style="path",
            access_key_id=bucket.access_key_id,
            secret_access_key=bucket.secret_access_key,
            call_seconds=call_seconds,
            attempt_seconds=attempt_seconds,
            complete_seconds=call_seconds,
        )
    )
    await client.open()
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def a_site(
    strict: StrictS3, *, part_bytes: int = 5 * MIB, call_seconds: float = 10, attempt_seconds: float = 3
) -> AsyncIterator[Site]:
    async with a_client(strict, call_seconds=call_seconds, attempt_seconds=attempt_seconds) as client:
        site = Site(client, part_bytes=part_bytes, storage_seconds=3 * call_seconds)
        yield site
        await site.close()

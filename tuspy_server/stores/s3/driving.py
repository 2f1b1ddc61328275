"""Calls through aiobotocore: all those that carry no bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from tuspy_server.stores.s3.calls import Calls
from tuspy_server.stores.s3.values import Doubt

if TYPE_CHECKING:  # a package of types alone, which a deployment does not have
    from types_aiobotocore_s3 import S3Client as Driver

Answer = TypeVar("Answer")


class Driven:
    """aiobotocore's client for one bucket, under our deadlines."""

    def __init__(self, driver: Driver, bucket: str, calls: Calls) -> None:
        self.driver = driver
        self.bucket = bucket
        self._calls = calls

    async def call(
        self,
        operation: str,
        request: Callable[[], Awaitable[Answer]],
        *,
        seconds: float | None = None,
        repeats_unknown: bool = True,
        doubt: Doubt | None = None,
    ) -> Answer:
        """One call; see `Calls.run`."""

        async def attempt(until: float) -> Answer:
            async with asyncio.timeout_at(until):
                return await request()

        return await self._calls.run(operation, attempt, seconds=seconds, repeats_unknown=repeats_unknown, doubt=doubt)

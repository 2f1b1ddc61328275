"""The bucket of the settings, and others on the same store that hooks have named."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final, Protocol

from tuspy_server.protocol.errors import StorageFault
from tuspy_server.stores.s3.bucket import Bucket

MOST_BUCKETS: Final = 64
"""Besides that of the settings, in one process: each has connections of its own."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class OtherBucket(Bucket, Protocol):
    """One that has yet to be opened."""

    async def open(self) -> None:
        """Once, before its first call."""
        ...

    async def close(self) -> None:
        """May be called twice."""
        ...


class Buckets:
    """Opens others when they are needed, and keeps them open."""

    def __init__(self, own: Bucket, name: str | None, other: Callable[[str], OtherBucket] | None) -> None:
        """`name`: of `own`; `other`: makes one of that name, with what the probe has found of `own`."""
        self.own = own
        self._name = name
        self._other = other
        self._open: dict[str, OtherBucket] = {}
        self._opening = asyncio.Lock()

    def checked(self, name: str | None) -> str | None:
        """What a placement is to say of a bucket that a hook has named; None for that of the settings.

        Raises:
            ValueError: uploads cannot go there.
        """
        if name is None or name == self._name:
            return None
        if self._other is None:
            raise ValueError("uploads go into the bucket of the settings alone")
        if not _NAME.fullmatch(name):
            raise ValueError("not a name of a bucket")
        if name not in self._open and len(self._open) >= MOST_BUCKETS:
            raise ValueError(f"hooks have named {MOST_BUCKETS} buckets already")
        return name

    async def of(self, name: str | None) -> Bucket:
        """That of a placement.

        Raises:
            StorageFault: 503, it cannot be opened. S3Error: there are no credentials.
        """
        if name is None or name == self._name:
            return self.own
        found = self._open.get(name)
        if found is not None:
            return found
        async with self._opening:
            if name not in self._open:
                if self._other is None:  # `checked` limits new ones; what rows name must stay within reach
                    raise StorageFault
                opened = self._other(name)
                await opened.open()
                self._open[name] = opened
        return self._open[name]

    async def close(self) -> None:
        """Close the others."""
        while self._open:
            _, bucket = self._open.popitem()
            await bucket.close()

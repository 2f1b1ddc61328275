"""The heart of this process among the others that serve the same rows."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from datetime import timedelta
from typing import Final

import structlog

from tuspy_server.protocol.errors import TryLater
from tuspy_server.stores.postgres.pool import Pool
from tuspy_server.stores.postgres.schema import statements

log = structlog.get_logger("tuspy_server.stores.postgres")

SQL: Final = statements()
BEATS: Final = 4
"""In the time after which a silent heart has stopped."""

FORGOTTEN_SECONDS: Final = 3600.0
SHORTEST_SECONDS: Final = 1.0
"""That a beat may take."""


class Node:
    """A random id, in the rows that this process writes to, and a row that says that it lives."""

    def __init__(self, pool: Pool) -> None:
        self.id = secrets.token_hex(8)
        self.alive = timedelta(seconds=pool.options.node_seconds)
        self._interval_seconds = pool.options.node_seconds / BEATS
        self._forgotten = timedelta(seconds=max(FORGOTTEN_SECONDS, 10 * pool.options.node_seconds))
        self._pool = pool
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Beat once, and go on."""
        await self.beat()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop the heart and say so: what this process has held is free at once. May be called twice."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        try:
            await self._pool.fetch(SQL["stop_beating"], self.id, repeatable=True)
        except TryLater:
            log.info("node.stop.untold", node=self.id)  # the others find out in time

    async def beat(self) -> None:
        """Once. Not in vain for long: a dead connection must not cost so much time that the others bury this node."""
        await self._pool.run(
            lambda connection: connection.fetch(SQL["beat"], self.id, self._forgotten),
            seconds=max(self._interval_seconds, SHORTEST_SECONDS),
            repeatable=True,
            urgent=True,  # behind hundreds of uploads' statements it would come too late
        )

    async def _run(self) -> None:
        pause_seconds = self._interval_seconds
        while True:
            await asyncio.sleep(pause_seconds)
            try:
                await self.beat()
            except Exception as error:  # the heart must outlive any trouble with the database
                log.warning("node.beat.failed", node=self.id, reason=type(error).__name__)
                pause_seconds = self._interval_seconds / BEATS
            else:
                pause_seconds = self._interval_seconds

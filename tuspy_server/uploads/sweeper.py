"""What time does to uploads: unfinished ones expire, ended ones lose their bytes, gone ones their rows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from tuspy_server.model import EventType, Upload
from tuspy_server.ports import UploadStore, Wakeup
from tuspy_server.protocol.errors import TryLater
from tuspy_server.uploads.lifecycle import Uploads
from tuspy_server.uploads.observer import Observer

log = structlog.get_logger("tuspy_server.uploads")

Chore = Callable[[], Awaitable[int]]
"""Work for a pass; returns how many old rows it has deleted."""

BATCH: Final = 500
"""Rows a statement: bounds how long the database is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """What one pass did, or would do.

    Attributes:
        expired: uploads that passed their expiry.
        cleaned: ended uploads whose bytes were removed.
        purged: rows of gone uploads and old events that were deleted.
    """

    expired: Sequence[Upload]
    cleaned: int
    purged: int


class Sweeper:
    """Passes over the store; any pass may be killed at any point, and the next one converges (fault C12)."""

    def __init__(
        self,
        uploads: Uploads,
        store: UploadStore,
        wakeup: Wakeup,
        observer: Observer,
        *,
        gone_seconds: float,
        event_seconds: float,
        chores: Sequence[Chore] = (),
    ) -> None:
        """`chores`: what else each pass is to do."""
        self._uploads = uploads
        self._store = store
        self._wakeup = wakeup
        self._observer = observer
        self._gone_seconds = gone_seconds
        self._event_seconds = event_seconds
        self._chores = tuple(chores)

    async def run(self, interval_seconds: float) -> None:
        """Sweep until cancelled. Trouble is logged, and met again by the next pass."""
        while True:
            try:
                await self.sweep()
            except Exception:  # the loop must outlive any one pass
                log.exception("sweep.failed")
            await asyncio.sleep(interval_seconds)

    async def recover(self, interval_seconds: float) -> None:
        """Between the sweeps, and more often: go on with what a crash, here or of another node, has left half done."""
        while True:
            try:
                await self._uploads.recover()
            except Exception:  # as above
                log.exception("recovery.failed")
            await asyncio.sleep(interval_seconds)

    async def due(self) -> SweepReport:
        """What a pass would expire now; changes nothing."""
        return SweepReport(expired=await self._store.expired(limit=1_000_000), cleaned=0, purged=0)

    async def sweep(self) -> SweepReport:
        """One pass."""
        started = time.perf_counter()
        await self._uploads.recover()
        expired = await self._expire()
        cleaned = await self._clean()
        purged = await self._purge()
        self._observer.swept(len(expired), cleaned, purged)
        if expired or cleaned or purged:
            log.info(
                "sweep.finished",
                expired=len(expired),
                cleaned=cleaned,
                purged=purged,
                duration_seconds=round(time.perf_counter() - started, 3),
            )
        return SweepReport(expired=expired, cleaned=cleaned, purged=purged)

    async def _expire(self) -> list[Upload]:
        expired: list[Upload] = []
        drafts = self._uploads.drafts
        while batch := await self._store.expire(lambda upload: drafts.of(EventType.EXPIRED, upload), BATCH):
            self._wakeup.notify()
            expired.extend(batch)
        return expired

    async def _clean(self) -> int:
        """Remove the bytes of ended uploads. One that fails stays for the next pass and holds up no other."""
        cleaned = 0
        failed: set[str] = set()
        while True:
            due = [item for item in await self._store.cleanups(BATCH + len(failed)) if item.upload.id not in failed]
            if not due:
                return cleaned
            for cleanup in due:
                if await self._uploads.remove_bytes(cleanup):
                    cleaned += 1
                else:
                    failed.add(cleanup.upload.id)

    async def _purge(self) -> int:
        purged = 0
        while batch := await self._store.purge(
            gone_seconds=self._gone_seconds,
            event_seconds=self._event_seconds,
            limit=BATCH,
        ):
            purged += batch
        for chore in self._chores:
            try:
                purged += await chore()
            except TryLater as error:  # the next pass meets it again, and the other chores are not held up
                log.warning("sweep.chore.failed", reason=type(error).__name__)
        return purged

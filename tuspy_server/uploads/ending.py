"""Uploads that end without a finish: their rows, and the bytes that they leave behind."""

from __future__ import annotations

import asyncio

import structlog

from tuspy_server.model import EventType, UploadStatus
from tuspy_server.ports import Cleanup, Ending, Wakeup
from tuspy_server.protocol.errors import TryLater, UploadGone, WriterFenced
from tuspy_server.uploads.bodies import Bodies
from tuspy_server.uploads.means import Means

log = structlog.get_logger("tuspy_server.uploads")


class Endings:
    """Ends rows first, storage after."""

    def __init__(self, means: Means, bodies: Bodies, wakeup: Wakeup) -> None:
        self._means = means
        self._bodies = bodies
        self._wakeup = wakeup

    async def terminate(self, upload_id: str, *, writer: str | None = None, unfinished: bool = False) -> bool:
        """End it as terminated, where its state allows that, and remove its bytes. Whether it was ended by this.

        Args:
            upload_id: what to end.
            writer: only while this one holds it; None for any.
            unfinished: whether one that has finished stays.
        """
        upload = await self._means.store.get(upload_id)
        if upload is None:
            return False
        ending = Ending(
            upload_id=upload_id,
            status=UploadStatus.TERMINATED,
            event=self._means.drafts.of(EventType.TERMINATED, upload),
            writer=writer,
            unfinished=unfinished,
        )
        async with self._bodies.turn(upload_id):
            ended = await self._means.store.end(ending)
        if ended is None:
            return False
        log.info("upload.terminated", upload_id=upload_id)
        self._wakeup.notify()
        await self.remove_bytes(Cleanup(upload=ended))
        return True

    async def remove_bytes(self, cleanup: Cleanup) -> bool:
        """See `Uploads`."""
        upload_id = cleanup.upload.id
        running = self._bodies.of(upload_id)
        try:
            if running is not None:
                running.stop(UploadGone() if cleanup.upload.is_gone else WriterFenced())
                async with asyncio.timeout(self._means.options.storage_seconds):
                    await running.ended.wait()
            await self._means.blobs.clean(cleanup)
            await self._means.store.cleaned([upload_id])
        except (TimeoutError, TryLater) as error:
            log.warning("upload.cleanup.failed", upload_id=upload_id, reason=type(error).__name__)
            return False
        return True

"""Uploads whose storage has work to do after their last byte: `completing`, until the object is in its place."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Set
from contextlib import suppress
from typing import Final

import structlog

from tuspy_server.model import EventType, Upload, UploadStatus
from tuspy_server.ports import Assemblies, BlobStore, Commit, Ending, Stored, UploadStore, Wakeup
from tuspy_server.protocol.errors import BytesMissing, TryLater, TusError
from tuspy_server.uploads.drafts import draft_event, draft_for
from tuspy_server.uploads.tasks import Tasks

log = structlog.get_logger("tuspy_server.uploads")

MOST_TRIES: Final = 10
"""Tries that met an error which is not known to pass, before the upload is given up as failed."""

FIRST_RETRY_SECONDS: Final = 0.5
LONGEST_RETRY_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.25
"""Between two looks at an upload that another node puts together."""


class Finishing:
    """One task an upload and process. A crash at any point is picked up from the row, by `adopt`."""

    def __init__(
        self,
        *,
        store: UploadStore,
        assemblies: Assemblies,
        blobs: BlobStore,
        wakeup: Wakeup,
        held: Callable[[], Set[str]],
    ) -> None:
        """`held`: the writers that this process stands behind, those of `writers` among them."""
        self.writers: set[str] = set()
        self._store = store
        self._assemblies = assemblies
        self._blobs = blobs
        self._wakeup = wakeup
        self._held = held
        self._tasks = Tasks()
        self._running: dict[str, asyncio.Task[bool]] = {}
        self._draining = asyncio.Event()

    def begin(self, upload: Upload) -> None:
        """Put together a `completing` upload whose `writer` is this process's."""
        if upload.writer is None:
            raise ValueError("the upload has no finisher")
        self.writers.add(upload.writer)
        task = self._tasks.start(self._put_together(upload, upload.writer))
        self._running[upload.id] = task
        task.add_done_callback(lambda _: self._ended(upload.id, task))

    async def wait(self, upload_id: str, most_seconds: float) -> None:
        """Until the upload is not `completing` any more, whichever node puts it together, for at most
        `most_seconds`. One that no node works on is taken over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(most_seconds):
                while not self._draining.is_set():
                    task = self._running.get(upload_id)
                    if task is not None:
                        await asyncio.wait({task})
                        if not task.cancelled() and task.exception() is None and task.result():
                            return
                        continue  # another node has taken it over
                    await self.adopt(upload_id)
                    if upload_id in self._running:
                        continue
                    upload = await self._store.get(upload_id)
                    if upload is None or upload.status is not UploadStatus.COMPLETING:
                        return
                    await asyncio.sleep(LOOK_SECONDS)

    async def adopt(self, upload_id: str | None = None) -> bool:
        """Take over one upload whose finisher is gone, if there is one. Whether there was."""
        if self._draining.is_set():
            return False
        upload = await self._assemblies.adopt(secrets.token_hex(16), upload_id, self._held())
        if upload is None:
            return False
        log.info("upload.assembly.adopted", upload_id=upload.id)
        self.begin(upload)
        return True

    def drain(self) -> None:
        """Begin no more tries. What is left is taken over by another node, or after the next start."""
        self._draining.set()

    async def close(self, deadline_seconds: float) -> None:
        """Drain, and await the tries under way."""
        self.drain()
        await self._tasks.close(deadline_seconds)

    def _ended(self, upload_id: str, task: asyncio.Task[bool]) -> None:
        if self._running.get(upload_id) is task:
            del self._running[upload_id]

    async def _put_together(self, upload: Upload, writer: str) -> bool:
        """Whether it was this process that brought the upload to its end."""
        try:
            delay_seconds = FIRST_RETRY_SECONDS
            while (ended := await self._try(upload, writer)) is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay_seconds * random.uniform(0.5, 1.0)):
                        await self._draining.wait()
                if self._draining.is_set():
                    return False
                delay_seconds = min(2 * delay_seconds, LONGEST_RETRY_SECONDS)
            return ended
        finally:
            self.writers.discard(writer)

    async def _try(self, upload: Upload, writer: str) -> bool | None:
        """Whether the upload has come to its end; False where another node has taken it over, None where it is to be
        tried again."""
        try:
            etag = await self._blobs.assemble(upload, await self._assemblies.assembly(upload.id))
            finished = await self._finish(upload, writer, etag)
        except BytesMissing:
            return await self._fail(upload, writer, "bytes_missing")
        except TryLater as error:
            log.warning("upload.assembly.failed", upload_id=upload.id, code=error.code)
            return None
        except Exception as error:  # whatever it is, somebody's bytes depend on the next try
            log.exception("upload.assembly.crashed", upload_id=upload.id)
            with suppress(TusError):
                if await self._assemblies.tried(upload.id, writer) >= MOST_TRIES:
                    return await self._fail(upload, writer, type(error).__name__)
            return None
        if finished is None:
            return False
        log.info("upload.assembly.finished", upload_id=upload.id, upload_length=upload.upload_length)
        self._wakeup.notify()
        await self.clean(upload.id)
        return True

    async def _finish(self, upload: Upload, writer: str, etag: str) -> Upload | None:
        length = upload.upload_length
        if length is None:
            raise AssertionError("complete stores the length")
        event = draft_event(
            EventType.FINISHED,
            upload.id,
            upload_offset=length,
            upload_length=length,
            upload_metadata=upload.upload_metadata,
        )
        commit = Commit(
            upload_id=upload.id,
            writer=writer,
            upload_offset=length,
            upload_length=length,
            release=True,
            lifetime=None,
            stored=Stored(upload_offset=length, etag=etag),
        )
        return await self._store.finish(commit, event)

    async def clean(self, upload_id: str) -> None:
        """Delete the pieces of an upload that has finished. Trouble is left to the sweeper: the cleanup row stays."""
        try:
            cleanup = await self._assemblies.cleanup(upload_id)
            if cleanup is not None:
                await self._blobs.clean(cleanup)
                await self._store.cleaned([upload_id])
        except TryLater as error:
            log.warning("upload.cleanup.failed", upload_id=upload_id, reason=type(error).__name__)

    async def _fail(self, upload: Upload, writer: str, reason: str) -> bool | None:
        """What was stored is not there: nothing can mend that, so say it loudly. Returns as `_try`."""
        log.error("upload.failed", upload_id=upload.id, upload_length=upload.upload_length, reason=reason)
        event = draft_for(EventType.FAILED, upload)
        ending = Ending(upload_id=upload.id, status=UploadStatus.FAILED, event=event, writer=writer)
        try:
            ended = await self._store.end(ending)
        except TryLater:
            return None
        self._wakeup.notify()
        return ended is not None

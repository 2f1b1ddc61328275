"""Uploads whose storage has work to do after their last byte: `completing`, until the object is in its place."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Set
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import structlog

from tuspy_server.access import RequestContext
from tuspy_server.model import EventType, Upload, UploadStatus
from tuspy_server.ports import Commit, Ending, Stored, Wakeup
from tuspy_server.protocol.errors import BytesMissing, Refused, TryLater, TusError
from tuspy_server.uploads.means import Means
from tuspy_server.uploads.tasks import Tasks
from tuspy_server.uploads.whole_checksum import crc32c_of_whole

log = structlog.get_logger("tuspy_server.uploads")

MOST_TRIES: Final = 10
"""Tries that met an error which is not known to pass, before the upload is given up as failed."""

FIRST_RETRY_SECONDS: Final = 0.5
LONGEST_RETRY_SECONDS: Final = 30.0
TROUBLED_SECONDS: Final = 300.0
"""For which `pre_finish` has failed at least, before an upload ends by that: after an outage longer than its expiry the
application may come up a moment later than this server."""

LOOK_SECONDS: Final = 0.25
"""Between two looks at an upload that another node puts together."""


class _Trouble(Exception):
    """`pre_finish` has not said whether the upload may be finished."""

    def __init__(self, error: TusError) -> None:
        super().__init__(str(error))
        self.error = error


class _Run:
    """The tries of this process to put one upload together.

    Attributes:
        task: ends with whether it was this process that brought the upload to its end; with `Refused` where
            `pre_finish` has refused it.
        request: that has brought the last bytes; None where the upload was taken over.
    """

    task: asyncio.Task[bool]

    def __init__(self, request: RequestContext | None) -> None:
        self.request = request
        self._since = asyncio.get_running_loop().time()
        self._troubled_since: float | None = None
        self._again = asyncio.Event()
        self._troubled: asyncio.Future[TusError] = asyncio.get_running_loop().create_future()

    async def rest(self, most_seconds: float) -> None:
        """Between two tries; ended early by `hurry`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(most_seconds):
                await self._again.wait()
        self._again.clear()

    def hurry(self) -> None:
        """Rest no longer."""
        self._again.set()

    def is_late(self, upload: Upload) -> bool:
        """Whether an upload would have expired by now, were it not for its last byte, and its hook has failed for long;
        `upload`: as the run began."""
        if upload.expires_at is None or self._troubled_since is None:
            return False
        now = asyncio.get_running_loop().time()
        overdue = upload.as_of + timedelta(seconds=now - self._since) >= upload.expires_at
        return overdue and now - self._troubled_since >= TROUBLED_SECONDS

    def trouble(self, error: TusError) -> None:
        """Tell those who wait, who are not to wait for ever longer tries."""
        if self._troubled_since is None:
            self._troubled_since = asyncio.get_running_loop().time()
        if not self._troubled.done():
            self._troubled.set_result(error)

    async def ended(self) -> bool:
        """Whether this process has brought the upload to its end. What `pre_finish` has said before is not news: it is
        asked again.

        Raises:
            Refused: by `pre_finish`. TusError: it gives no answer now.
        """
        if self._troubled.done():
            self._troubled = asyncio.get_running_loop().create_future()
            self.hurry()
        troubled = self._troubled
        waited: set[asyncio.Future[Any]] = {self.task, troubled}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not self.task.done():
            raise troubled.result()
        if self.task.cancelled():
            return False
        error = self.task.exception()
        if isinstance(error, Refused):
            raise error
        return error is None and self.task.result()


class Finishing:
    """One task an upload and process. A crash at any point is picked up from the row, by `adopt`."""

    def __init__(self, means: Means, wakeup: Wakeup, held: Callable[[], Set[str]]) -> None:
        """`held`: the writers that this process stands behind, those of `writers` among them."""
        if means.assemblies is None:
            raise ValueError("this storage puts nothing together")
        self.writers: set[str] = set()
        self._means = means
        self._assemblies = means.assemblies
        self._wakeup = wakeup
        self._held = held
        self._tasks = Tasks()
        self._running: dict[str, _Run] = {}
        self._draining = asyncio.Event()

    def begin(self, upload: Upload, request: RequestContext | None = None) -> None:
        """Put together a `completing` upload whose `writer` is this process's; `request`: see `_Run`."""
        if upload.writer is None:
            raise ValueError("the upload has no finisher")
        self.writers.add(upload.writer)
        run = _Run(request)
        run.task = self._tasks.start(self._put_together(upload, upload.writer, run))
        self._running[upload.id] = run
        run.task.add_done_callback(lambda _: self._ended(upload.id, run))

    async def wait(self, upload_id: str, most_seconds: float) -> None:
        """Until the upload is not `completing` any more, whichever node puts it together, for at most
        `most_seconds`. One that no node works on is taken over.

        Raises:
            Refused: `pre_finish` has refused it just now, asked by this process. TusError: it has given no answer.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(most_seconds):
                while not self._draining.is_set():
                    run = self._running.get(upload_id)
                    if run is not None:
                        if await run.ended():
                            return
                        continue  # another node has taken it over
                    await self.adopt(upload_id)
                    if upload_id in self._running:
                        continue
                    upload = await self._means.store.get(upload_id)
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
        for run in self._running.values():
            run.hurry()

    async def close(self, deadline_seconds: float) -> None:
        """Drain, and await the tries under way."""
        self.drain()
        await self._tasks.close(deadline_seconds)

    def _ended(self, upload_id: str, run: _Run) -> None:
        if self._running.get(upload_id) is run:
            del self._running[upload_id]

    async def _put_together(self, upload: Upload, writer: str, run: _Run) -> bool:
        """See `_Run.task`."""
        try:
            delay_seconds = FIRST_RETRY_SECONDS
            while (ended := await self._try(upload, writer, run)) is None:
                if not self._draining.is_set():
                    await run.rest(delay_seconds * random.uniform(0.5, 1.0))
                if self._draining.is_set():
                    return False
                delay_seconds = min(2 * delay_seconds, LONGEST_RETRY_SECONDS)
            return ended
        finally:
            self.writers.discard(writer)

    async def _try(self, upload: Upload, writer: str, run: _Run) -> bool | None:
        """Whether the upload has come to its end; False where another node has taken it over, None where it is to be
        tried again. Raises Refused where that was its end."""
        try:
            finished = await self._finish(upload, writer, run.request)
        except Refused as refused:
            ended = await self._fail(upload, writer, str(refused))
            if ended:
                await self.clean(upload.id)
                raise
            return ended
        except _Trouble as trouble:
            run.trouble(trouble.error)
            return await self._fail(upload, writer, "pre_finish") if run.is_late(upload) else None
        except Exception as error:  # whatever it is, somebody's bytes depend on the next try
            return await self._judge(upload, writer, error)
        if finished is None:
            return False
        log.info("upload.assembly.finished", upload_id=upload.id, upload_length=upload.upload_length)
        self._wakeup.notify()
        await self.clean(upload.id)
        return True

    async def _judge(self, upload: Upload, writer: str, error: Exception) -> bool | None:
        """Whether a failed try is to be the last. Returns as `_try`."""
        if isinstance(error, BytesMissing):
            return await self._fail(upload, writer, "bytes_missing")
        if isinstance(error, TryLater):
            log.warning("upload.assembly.failed", upload_id=upload.id, code=error.code)
            return None
        log.error("upload.assembly.crashed", upload_id=upload.id, exc_info=error)
        with suppress(TusError):
            if await self._assemblies.tried(upload.id, writer) >= MOST_TRIES:
                return await self._fail(upload, writer, type(error).__name__)
        return None

    async def _finish(self, upload: Upload, writer: str, request: RequestContext | None) -> Upload | None:
        length = upload.upload_length
        if length is None:
            raise AssertionError("complete stores the length")
        assembly = await self._assemblies.assembly(upload.id)
        etag = await self._means.blobs.assemble(upload, assembly)
        part_bytes = 0 if upload.placement is None else upload.placement.part_bytes
        crc32c = await crc32c_of_whole(assembly, part_bytes, length)
        stored = Stored(upload_offset=length, etag=etag, crc32c=crc32c)
        try:
            await self._means.ask_before_finish(upload, length, stored, request)
        except Refused:
            raise
        except TusError as error:
            raise _Trouble(error) from error
        commit = Commit(
            upload_id=upload.id,
            writer=writer,
            upload_offset=length,
            upload_length=length,
            release=True,
            lifetime=None,
            stored=stored,
        )
        return await self._means.store.finish(commit, self._means.drafts.finished(upload, length, stored))

    async def clean(self, upload_id: str) -> None:
        """Delete the pieces of an upload that has finished. Trouble is left to the sweeper: the cleanup row stays."""
        try:
            cleanup = await self._assemblies.cleanup(upload_id)
            if cleanup is not None:
                await self._means.blobs.clean(cleanup)
                await self._means.store.cleaned([upload_id])
        except TryLater as error:
            log.warning("upload.cleanup.failed", upload_id=upload_id, reason=type(error).__name__)

    async def _fail(self, upload: Upload, writer: str, reason: str) -> bool | None:
        """Nothing can mend it. Returns as `_try`."""
        event = self._means.drafts.of(EventType.FAILED, upload, reason=reason)
        ending = Ending(upload_id=upload.id, status=UploadStatus.FAILED, event=event, writer=writer)
        try:
            ended = await self._means.store.end(ending)
        except TryLater:
            return None
        if ended is not None:
            log.error("upload.failed", upload_id=upload.id, upload_length=upload.upload_length, reason=reason)
        self._wakeup.notify()
        return ended is not None

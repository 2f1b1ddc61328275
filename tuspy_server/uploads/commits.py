"""The commits of one body: bytes that became durable are counted in its row, now and then while it runs, and at its
end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from tuspy_server.model import Upload
from tuspy_server.ports import BlobWriter, Commit, Stored
from tuspy_server.protocol.core import Append
from tuspy_server.protocol.errors import (
    StorageFault,
    TryLater,
    TusError,
    UploadGone,
    UploadNotFound,
    WriterFenced,
)
from tuspy_server.uploads.means import Means

log = structlog.get_logger("tuspy_server.uploads")

ASKED_SECONDS: Final = 2.0
"""Between two flushes of what a storage would rather keep until more has come, for a HEAD that asks."""

STALE: Final = (WriterFenced, UploadGone, UploadNotFound)
"""Errors after which a writer changes nothing that counts (I5)."""


class Commits:
    """Every commit says whose it is; one that finds another writer in the row changes nothing and ends the body.

    Attributes:
        upload: the row as last committed by this writer.
        leaves_pieces: whether a commit has recorded a piece.
    """

    def __init__(
        self,
        upload: Upload,
        writer: str,
        append: Append,
        means: Means,
        *,
        interval_seconds: Callable[[], float],
        stop: Callable[[TusError], None],
    ) -> None:
        """`interval_seconds`: how long bytes wait to be counted; `stop`: ends the body when its writer is stale."""
        self.upload = upload
        self._writer = writer
        self._append = append
        self._blob: BlobWriter | None = None
        self.leaves_pieces = False
        self._means = means
        self._lifetime = means.options.lifetime_of(upload.idle_seconds)
        self._interval_seconds = interval_seconds
        self._stop = stop
        self._timer: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._uncounted = False
        self._hurried = False
        self._unrecorded: Stored | None = None
        self._flushed_at = 0.0
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether the storage is ready for bytes."""
        return self._blob is not None

    def attach(self, blob: BlobWriter) -> None:
        """The bytes go there."""
        self._blob = blob
        blob.wants_commit = self._hurry
        blob.has_stored = self.soon

    # --- while the body runs -------------------------------------------------------------------------------------

    def soon(self) -> None:
        """Bytes have come: count them within the interval. A body with a checksum counts only as a whole."""
        self._uncounted = True
        if self._timer is None and self._running is None and self._append.checksum is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(self._interval_seconds(), self._begin)

    async def now(self) -> None:
        """Count what has come so far, for somebody who asks."""
        # A commit that is under way may not have seen the last bytes; the one after it has.
        for _ in range(2):
            if self._closed or self._append.checksum is not None:
                return
            await asyncio.wait({self._running or self._begin(asked=True)})

    async def close(self) -> None:
        """Begin no more; await the one under way."""
        self._closed = True
        self._cancel_timer()
        if self._running is not None:
            await asyncio.wait({self._running})

    def _hurry(self) -> None:
        """The storage takes no more before a commit. One that is under way may not have seen what it waits for."""
        self._hurried = True
        if self._running is None and self._append.checksum is None and not self._closed:
            self._begin()

    def _begin(self, *, asked: bool = False) -> asyncio.Task[None]:
        self._cancel_timer()
        self._running = asyncio.get_running_loop().create_task(self._count(asked=asked))
        return self._running

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _count(self, *, asked: bool) -> None:
        started, self._uncounted, self._hurried = time.perf_counter(), False, False
        try:
            offset = self.visible(await self.sync(flush=asked and self._may_flush(started)))
            if offset > self.upload.upload_offset:
                await self.commit(offset, release=False)
                self._means.observer.committed(time.perf_counter() - started)
        except TryLater as error:
            # The bytes are there and the next commit may count them; what lasts is met by the last commit.
            log.warning("upload.commit.failed", upload_id=self.upload.id, code=error.code)
            self._uncounted, self._hurried = self._uncounted or self._hurried, False
        except TusError as error:
            self._stop(error)
        except Exception:  # a defect: nobody awaits this task's result, so it must end the body itself
            log.exception("upload.commit.crashed", upload_id=self.upload.id)
            self._stop(StorageFault())
        finally:
            self._running = None
            if self._hurried:
                self._hurry()
            elif self._uncounted:
                self.soon()

    def _may_flush(self, now: float) -> bool:
        if now - self._flushed_at < ASKED_SECONDS:
            return False
        self._flushed_at = now
        return True

    # --- what the storage has ------------------------------------------------------------------------------------

    async def sync(self, *, flush: bool) -> int:
        """Make durable what came. Returns the offset before which all is; raises as `BlobWriter.sync`."""
        return self._take(await self._open_blob().sync(flush=flush))

    async def catch_up(self) -> None:
        """Commit, while the body's last bytes are stored the better for it. Raises as `sync` and `commit`."""
        while await self._open_blob().is_behind():
            await self.commit(self.visible(await self.sync(flush=False)), release=False)

    async def sync_whole(self) -> int:
        """The same for an upload whose last byte has come."""
        return self._take(await self._open_blob().finish())

    @property
    def unrecorded(self) -> Stored | None:
        """What no commit has been heard to record; None for nothing."""
        return self._unrecorded

    @property
    def is_to_be_assembled(self) -> bool:
        """Whether the whole upload, when all is durable, is not in its place yet."""
        stored = self._unrecorded
        is_placed = self.upload.placement is not None and self._means.assemblies is not None
        return is_placed and (stored is None or stored.etag is None)

    @property
    def countable(self) -> int:
        """The offset that a commit is to reach: with what is not recorded yet it records also where that ends, or the
        next writer would find parts past its offset."""
        counted = self.upload.upload_offset
        return counted if self._unrecorded is None else max(counted, self.visible(self._unrecorded.upload_offset))

    def _open_blob(self) -> BlobWriter:
        if self._blob is None:
            raise AssertionError("bytes come when the storage is open")
        return self._blob

    def _take(self, stored: Stored) -> int:
        """What is not recorded yet, because no commit since has been heard to succeed, is recorded by the next one."""
        self._unrecorded = stored if self._unrecorded is None else self._unrecorded.and_then(stored)
        return stored.upload_offset

    # --- single commits ------------------------------------------------------------------------------------------

    def visible(self, durable_offset: int) -> int:
        """The offset that may be shown. The last bytes are acknowledged only when the upload is finished: until then it
        stays below the length, because clients take offset = length for success and never come back."""
        length = self._append.upload_length
        return durable_offset if length is None else min(durable_offset, max(length - 1, self._append.upload_offset))

    async def commit(self, offset: int, *, release: bool, with_length: bool = True) -> Upload:
        """Count the bytes up to `offset`, and store a length that this request declares, if it lies past them: offset =
        length is for the finish to say.

        Raises:
            WriterFenced, UploadGone, UploadNotFound: this writer is stale; nothing has changed.
        """
        news = self._append.upload_length if self._append.declares_length and with_length else None
        length = news if news is not None and news > offset else None
        draft = self._draft(offset, length, release=release)
        return await self._of_this_writer(await self._means.store.commit(draft))

    async def step_back(self, length: int, *, keeps: bool) -> Upload:
        """All `length` bytes are durable, but the upload is not to be finished now: let go of it, short of its end.

        Args:
            length: of the upload.
            keeps: whether bytes of this body may count where they are not all that there is.

        Raises:
            WriterFenced, UploadGone, UploadNotFound: as `commit`.
        """
        offset = self.visible(length) if keeps else self.upload.upload_offset
        if self._unrecorded is None or self._unrecorded.etag is None:
            return await self.commit(offset, release=True)
        # The object that is in its place holds bytes that nothing else does, and it counts with the finish alone. The
        # next writer looks whose it is, and keeps or replaces it.
        self._unrecorded = None
        draft = self._draft(self.upload.upload_offset, None, release=True, leaves_object=True)
        return await self._of_this_writer(await self._means.store.commit(draft))

    async def finish(self, length: int, *, checksum: str | None = None) -> Upload:
        """All bytes are durable: finished, with its event, in one transaction; or, where the storage has yet to put the
        object in its place, completing. `checksum`: what the client has said of all of its bytes.

        Raises:
            WriterFenced, UploadGone, UploadNotFound: as `commit`.
        """
        if self._means.assemblies is not None and self.is_to_be_assembled:
            draft = self._draft(self.visible(length), length, release=False, is_last=True)
            return await self._of_this_writer(await self._means.assemblies.complete(draft))
        draft = self._draft(length, length, release=True)
        event = self._means.drafts.finished(self.upload, length, self._unrecorded, checksum=checksum)
        return await self._of_this_writer(await self._means.store.finish(draft, event))

    def _draft(
        self, offset: int, length: int | None, *, release: bool, is_last: bool = False, leaves_object: bool = False
    ) -> Commit:
        return Commit(
            upload_id=self.upload.id,
            writer=self._writer,
            upload_offset=offset,
            upload_length=length,
            release=release,
            lifetime=self._lifetime,
            stored=self._unrecorded,
            # A claim over a writer that does not let go says so by itself.
            unsettled=leaves_object or ((release or is_last) and self._blob is not None and self._blob.unsettled),
        )

    async def _of_this_writer(self, upload: Upload | None) -> Upload:
        if upload is not None:
            self.upload = upload
            if self._unrecorded is not None:
                self.leaves_pieces = self.leaves_pieces or bool(self._unrecorded.pieces)
                self._unrecorded = None
            if self._blob is not None:
                self._blob.counted(upload.upload_offset)
            self._means.observer.progressed(upload)
            return upload
        upload = await self._means.store.get(self.upload.id)
        if upload is None:
            raise UploadNotFound
        raise UploadGone if upload.is_gone else WriterFenced

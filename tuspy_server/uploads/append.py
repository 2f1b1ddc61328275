"""One body on its way into an upload: claim, receive, commit now and then, settle."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import structlog

from tuspy_server.model import EventType, Upload, UploadStatus
from tuspy_server.ports import BlobStore, BlobWriter, BodySource, Commit, Ending, Lifetime, UploadStore
from tuspy_server.protocol.core import Append
from tuspy_server.protocol.errors import (
    BodyStalled,
    BytesMissing,
    ChecksumMismatch,
    StorageFault,
    StorageFull,
    TryLater,
    TusError,
    UploadBusy,
    UploadGone,
    UploadNotFound,
    UploadTooLarge,
    WriterFenced,
)
from tuspy_server.uploads.drafts import draft_event, draft_for
from tuspy_server.uploads.observer import Observer

log = structlog.get_logger("tuspy_server.uploads")

INLINE_HASH_BYTES: Final = 64 << 10
"""Blocks above this are hashed in a thread, so that the loop is not held (fault R08)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendOptions:
    """Times of the body path, in seconds; see the settings of the same names."""

    commit_interval_seconds: float
    body_idle_seconds: float
    storage_seconds: float
    lifetime: Lifetime | None


class RunningAppend:
    """The one writer of an upload in this process, from its claim to its last commit.

    It runs in a task of its own that no request's end cancels; `stop` ends it, and it then still commits what it has.
    """

    def __init__(
        self,
        upload: Upload,
        append: Append,
        source: BodySource,
        *,
        store: UploadStore,
        blobs: BlobStore,
        options: AppendOptions,
        observer: Observer,
    ) -> None:
        """`upload`: the row with this append's `writer` in it."""
        if upload.writer is None:
            raise ValueError("the upload has not been claimed")
        self.upload_id = upload.id
        self.writer = upload.writer
        self.received_bytes = 0
        self.ended = asyncio.Event()
        self._upload = upload
        self._append = append
        self._source = source
        self._store = store
        self._blobs = blobs
        self._options = options
        self._observer = observer
        self._digest = None if append.checksum is None else append.checksum.start()
        self._stopped: TusError | None = None
        self._reading: asyncio.Timeout | None = None
        self._blob: BlobWriter | None = None
        self._commit_timer: asyncio.TimerHandle | None = None
        self._committing: asyncio.Task[None] | None = None
        self._settling = False

    def stop(self, reason: TusError) -> None:
        """Read no more; commit what came, unless `reason` says that another writer has the upload or that it is gone."""
        if self._stopped is None:
            self._stopped = reason
        if self._reading is not None and not self._reading.expired():
            self._reading.reschedule(asyncio.get_running_loop().time())

    def reads_from(self, source: BodySource) -> bool:
        """Whether this append's body is `source`."""
        return self._source is source

    async def commit_now(self) -> None:
        """Commit what has come so far, for a HEAD that asks. A body with a checksum has nothing to show before its end."""
        if self._digest is not None:
            return
        # A commit that is under way may not have seen the last bytes; the one after it has.
        for _ in range(2):
            if self._settling:
                await self.ended.wait()
            if self._blob is None or self.ended.is_set():
                return
            task = self._committing or self._begin_commit(self._blob)
            await asyncio.wait({task})

    async def run(self, predecessor: RunningAppend | None) -> Upload:
        """Take the body. Returns the row after the last commit, finished if this body completed it.

        Raises:
            TusError: what the client is to be told; what came before it is committed.
            ClientDisconnected: nobody is left to be told.
        """
        try:
            self._blob = blob = await self._open(predecessor)
            try:
                failure = await self._receive_all(blob)
                return await self._settle(blob, failure)
            finally:
                blob.close()
        finally:
            self._settling = True
            self.ended.set()

    async def _open(self, predecessor: RunningAppend | None) -> BlobWriter:
        try:
            if predecessor is not None:
                await self._supersede(predecessor)
            self._raise_if_stopped()
            return await self._blobs.open_writer(self._upload.id, self._append.upload_offset)
        except BytesMissing as error:
            await self._fail()
            raise UploadGone from error
        except TusError as error:
            if not isinstance(error, WriterFenced | UploadGone):
                await self._commit(self._append.upload_offset, release=True)
            raise

    async def _supersede(self, predecessor: RunningAppend) -> None:
        """One writer an upload and process: the claim has fenced the earlier one, here its running call is awaited."""
        predecessor.stop(WriterFenced())
        try:
            async with asyncio.timeout(self._options.storage_seconds):
                await predecessor.ended.wait()
        except TimeoutError as error:
            raise UploadBusy from error

    # --- receiving -----------------------------------------------------------------------------------------------

    async def _receive_all(self, blob: BlobWriter) -> Exception | None:
        """Read the body to its end. Returns what ended it early; None if it came whole."""
        try:
            await self._receive(blob)
        except Exception as error:  # whatever it is, the bytes before it count
            return error
        else:
            return None
        finally:
            self._settling = True
            if self._commit_timer is not None:
                self._commit_timer.cancel()
            if self._committing is not None:
                await asyncio.wait({self._committing})

    async def _receive(self, blob: BlobWriter) -> None:
        left = self._append.most_bytes
        while left:
            buffer = await blob.buffer()
            count = await self._read(buffer[:left])
            if count == 0:
                return
            if self._digest is not None:
                await self._hash(buffer[:count])
            blob.advance(count)
            left -= count
            self.received_bytes += count
            self._observer.received(count)
            self._commit_soon(blob)
        # Only the body's end proves that it has no byte too many, and that a chunked one is whole (fault N07).
        if await self._read(memoryview(bytearray(1))):
            raise UploadTooLarge("the body is longer than the upload, or its checksum, allows")

    async def _read(self, buffer: memoryview) -> int:
        self._raise_if_stopped()
        try:
            async with asyncio.timeout(self._options.body_idle_seconds) as self._reading:
                return await self._source.readinto(buffer)
        except TimeoutError as error:
            self._raise_if_stopped()
            raise BodyStalled from error
        finally:
            self._reading = None

    def _raise_if_stopped(self) -> None:
        if self._stopped is not None:
            raise self._stopped

    async def _hash(self, block: memoryview) -> None:
        if self._digest is None:
            return
        if len(block) <= INLINE_HASH_BYTES:
            self._digest.update(block)
        else:
            await asyncio.to_thread(self._digest.update, block)

    # --- committing ----------------------------------------------------------------------------------------------

    @property
    def _most_visible(self) -> int | None:
        """The last bytes are acknowledged only when the upload is finished: until then the offset stays below the length,
        because clients take offset = length for success and never come back."""
        length = self._append.upload_length
        return None if length is None else max(length - 1, self._append.upload_offset)

    def _commit_soon(self, blob: BlobWriter) -> None:
        if self._commit_timer is None and self._committing is None and self._digest is None and not self._settling:
            self._commit_timer = asyncio.get_running_loop().call_later(
                self._options.commit_interval_seconds, self._begin_commit, blob
            )

    def _begin_commit(self, blob: BlobWriter) -> asyncio.Task[None]:
        if self._commit_timer is not None:
            self._commit_timer.cancel()
            self._commit_timer = None
        self._committing = asyncio.get_running_loop().create_task(self._commit_received(blob))
        return self._committing

    async def _commit_received(self, blob: BlobWriter) -> None:
        started, covered_bytes = time.perf_counter(), self.received_bytes
        try:
            offset = self._visible(await blob.sync())
            if offset > self._upload.upload_offset:
                await self._commit(offset, release=False)
                self._observer.committed(time.perf_counter() - started)
        except TryLater as error:
            # The bytes are there and the next commit may count them; what lasts is met by the last commit.
            log.warning("upload.commit.failed", upload_id=self._upload.id, code=error.code)
        except TusError as error:
            self.stop(error)
        except Exception:  # a defect: nobody awaits this task's result, so it must end the body itself
            log.exception("upload.commit.crashed", upload_id=self._upload.id)
            self.stop(StorageFault())
        finally:
            self._committing = None
            if self.received_bytes > covered_bytes:
                self._commit_soon(blob)

    def _visible(self, durable_offset: int) -> int:
        most = self._most_visible
        return durable_offset if most is None else min(durable_offset, most)

    async def _commit(self, offset: int, *, release: bool, with_length: bool = True) -> Upload:
        """Count the bytes up to `offset`, and store a length that this request declares, if it lies past them: offset =
        length is for the finish to say.

        Raises:
            WriterFenced, UploadGone, UploadNotFound: this writer is stale; nothing has changed.
        """
        news = self._append.upload_length if self._append.declares_length and with_length else None
        upload = await self._store.commit(
            self._draft_commit(offset, release=release, length=news if news is not None and news > offset else None)
        )
        if upload is None:
            raise await self._why_stale()
        self._upload = upload
        return upload

    def _draft_commit(self, offset: int, *, release: bool, length: int | None) -> Commit:
        return Commit(
            upload_id=self._upload.id,
            writer=self.writer,
            upload_offset=offset,
            upload_length=length,
            release=release,
            lifetime=self._options.lifetime,
        )

    async def _why_stale(self) -> TusError:
        upload = await self._store.get(self._upload.id)
        if upload is None:
            return UploadNotFound()
        return UploadGone() if upload.is_gone else WriterFenced()

    # --- the end -------------------------------------------------------------------------------------------------

    async def _settle(self, blob: BlobWriter, failure: Exception | None) -> Upload:
        """Bring storage and row to where the body ended, let go of the upload, and raise what ended it early."""
        stale = isinstance(failure, WriterFenced | UploadGone | UploadNotFound)
        checksum, digest = self._append.checksum, self._digest
        if failure is None and checksum is not None and digest is not None:
            try:
                failure = None if checksum.holds(digest, self._source.trailers) else ChecksumMismatch()
            except TusError as error:  # a trailer that is missing or malformed
                failure = error
        if not stale:
            try:
                # The chunk MUST be discarded and the upload and its offset MUST NOT be updated (tus 1.0.0, Checksum).
                if failure is not None and (checksum is not None or isinstance(failure, UploadTooLarge)):
                    await self._discard(blob)
                else:
                    upload = await self._keep(blob, whole=failure is None)
                    if failure is None:
                        return upload
            except TusError as error:
                failure = failure or error
        if failure is None:
            raise AssertionError("a body that was kept whole has been returned")
        log.info(
            "upload.append.ended",
            upload_id=self._upload.id,
            upload_offset=self._upload.upload_offset,
            received_bytes=self.received_bytes,
            reason=failure.code if isinstance(failure, TusError) else type(failure).__name__,
        )
        raise failure

    async def _discard(self, blob: BlobWriter) -> None:
        # The row first: after a commit of unknown outcome it alone knows what counts. What cannot be cut off then lies
        # past the offset, and the next claim cuts it off.
        upload = await self._commit(self._upload.upload_offset, release=True, with_length=False)
        await blob.rollback(upload.upload_offset)

    async def _keep(self, blob: BlobWriter, *, whole: bool) -> Upload:
        started = time.perf_counter()
        try:
            offset = await blob.sync()
        except TryLater:
            await self._commit(self._upload.upload_offset, release=True)
            raise
        if offset < self._append.upload_offset + self.received_bytes:
            # The disk took some and then was full. Bytes with a checksum count as a whole or not at all.
            kept = self._upload.upload_offset if self._append.checksum is not None else self._visible(offset)
            await self._commit(kept, release=True)
            raise StorageFull
        if whole and offset == self._append.upload_length:
            upload = await self._finish(offset)
        else:
            upload = await self._commit(self._visible(offset), release=True)
        self._observer.committed(time.perf_counter() - started)
        if whole:
            log.info(
                "upload.append.finished",
                upload_id=upload.id,
                upload_offset=upload.upload_offset,
                received_bytes=self.received_bytes,
                status=upload.status,
            )
        return upload

    async def _finish(self, length: int) -> Upload:
        event = draft_event(
            EventType.FINISHED,
            self._upload.id,
            upload_offset=length,
            upload_length=length,
            upload_metadata=self._upload.upload_metadata,
        )
        upload = await self._store.finish(self._draft_commit(length, release=True, length=length), event)
        if upload is None:
            raise await self._why_stale()
        self._upload = upload
        return upload

    async def _fail(self) -> None:
        """The stored bytes are fewer than the row counts: nothing can mend that, so say it loudly."""
        log.error("upload.failed", upload_id=self._upload.id, upload_offset=self._upload.upload_offset)
        event = draft_for(EventType.FAILED, self._upload)
        await self._store.end(
            Ending(upload_id=self._upload.id, status=UploadStatus.FAILED, event=event, writer=self.writer)
        )

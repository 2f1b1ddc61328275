"""One body on its way into an upload: claim, receive, commit now and then, settle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import structlog

from tuspy_server.model import EventType, Upload, UploadStatus
from tuspy_server.ports import Assemblies, BlobStore, BlobWriter, BodySource, Claimed, Ending, Lifetime, UploadStore
from tuspy_server.protocol.checksum import Digest
from tuspy_server.protocol.core import Append
from tuspy_server.protocol.errors import (
    BodyStalled,
    BytesMissing,
    ChecksumMismatch,
    StorageFull,
    TryLater,
    TusError,
    UploadBusy,
    UploadGone,
    UploadTooLarge,
    WriterFenced,
)
from tuspy_server.uploads.commits import STALE, Commits
from tuspy_server.uploads.drafts import draft_for
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

    Attributes:
        writer: its fence in the row.
        ended: set when it will touch neither storage nor row any more.
        unended: an earlier append of the upload that it has waited for in vain; None as a rule.
    """

    def __init__(
        self,
        claimed: Claimed,
        append: Append,
        source: BodySource,
        *,
        store: UploadStore,
        assemblies: Assemblies | None,
        blobs: BlobStore,
        options: AppendOptions,
        observer: Observer,
        commit_interval_seconds: Callable[[], float] | None = None,
    ) -> None:
        """`claimed`: the row with this append's `writer` in it; `commit_interval_seconds`: in place of the option."""
        upload = claimed.upload
        if upload.writer is None:
            raise ValueError("the upload has not been claimed")
        self.upload_id = upload.id
        self.writer = upload.writer
        self.received_bytes = 0
        self.ended = asyncio.Event()
        self.unended: RunningAppend | None = None
        # The storage plans with the length as this request knows it.
        self._claimed = replace(claimed, upload=replace(upload, upload_length=append.upload_length))
        self._append = append
        self._source = source
        self._store = store
        self._blobs = blobs
        self._options = options
        self._observer = observer
        self._digest = None if append.checksum is None else append.checksum.start()
        self._stopped: TusError | None = None
        self._reading: asyncio.Timeout | None = None
        self._settling = False
        self._commits = Commits(
            upload,
            upload.writer,
            append,
            store=store,
            assemblies=assemblies,
            lifetime=options.lifetime,
            observer=observer,
            interval_seconds=commit_interval_seconds or (lambda: options.commit_interval_seconds),
            stop=self.stop,
        )

    def stop(self, reason: TusError) -> None:
        """Read no more; commit what came, unless `reason` says that another writer has the upload, or that it is
        gone."""
        if self._stopped is None:
            self._stopped = reason
        if self._reading is not None and not self._reading.expired():
            self._reading.reschedule(asyncio.get_running_loop().time())

    @property
    def leaves_pieces(self) -> bool:
        """Whether the finished upload has pieces, or what no row names, to be deleted."""
        placement = self._commits.upload.placement
        unsettled = placement is not None and placement.unsettled
        return unsettled or bool(self._claimed.pieces) or self._commits.leaves_pieces

    def reads_from(self, source: BodySource) -> bool:
        """Whether this append's body is `source`."""
        return self._source is source

    async def commit_now(self) -> None:
        """Commit what has come so far, for a HEAD that asks; a body that has ended does so by itself. One with a
        checksum has nothing to show before its end."""
        if self._digest is not None:
            return
        if self._commits.is_open and not self._settling:
            await self._commits.now()
        if self._settling:
            await self.ended.wait()

    async def run(self, predecessor: RunningAppend | None) -> Upload:
        """Take the body. Returns the row after the last commit, finished if this body completed it.

        Raises:
            TusError: what the client is to be told; what came before it is committed.
            ClientDisconnected: nobody is left to be told.
        """
        try:
            blob = await self._open(predecessor)
            self._commits.attach(blob)
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
            return await self._blobs.open_writer(self._claimed, held_back=self._digest is not None)
        except BytesMissing as error:
            raise await self._fail() from error
        except TusError as error:
            if not isinstance(error, STALE):
                fits = not isinstance(error, UploadTooLarge)
                await self._commits.commit(self._append.upload_offset, release=True, with_length=fits)
            raise

    async def _supersede(self, predecessor: RunningAppend) -> None:
        """One writer an upload and process: the claim has fenced the earlier one, here its running call is awaited."""
        predecessor.stop(WriterFenced())
        self.unended = predecessor
        try:
            async with asyncio.timeout(self._options.storage_seconds):
                while self.unended is not None:
                    await self.unended.ended.wait()
                    # It may itself have given up waiting for one before it, whose call can still reach the storage.
                    self.unended = self.unended.unended
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
            await self._commits.close()

    async def _receive(self, blob: BlobWriter) -> None:
        left = self._append.most_bytes
        while left:
            buffer = await self._room(blob)
            count = await self._read(buffer[:left])
            if count == 0:
                return
            if self._digest is not None:
                await self._hash(self._digest, buffer[:count])
            blob.advance(count)
            left -= count
            self.received_bytes += count
            self._observer.received(count)
            self._commits.soon()
        # Only the body's end proves that it has no byte too many, and that a chunked one is whole (fault N07).
        if await self._read(memoryview(bytearray(1))):
            raise UploadTooLarge("the body is longer than the upload, or its checksum, allows")

    async def _room(self, blob: BlobWriter) -> memoryview:
        # The storage may wait for a commit, which a writer that has become stale never makes.
        self._raise_if_stopped()
        try:
            async with asyncio.timeout(None) as self._reading:
                return await blob.buffer()
        except TimeoutError:
            self._raise_if_stopped()
            raise
        finally:
            self._reading = None

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

    async def _hash(self, digest: Digest, block: memoryview) -> None:
        if len(block) <= INLINE_HASH_BYTES:
            digest.update(block)
        else:
            await asyncio.to_thread(digest.update, block)

    # --- the end -------------------------------------------------------------------------------------------------

    async def _settle(self, blob: BlobWriter, failure: Exception | None) -> Upload:
        """Bring storage and row to where the body ended, let go of the upload, and raise what ended it early."""
        failure = failure or self._judge_checksum()
        if not isinstance(failure, STALE):
            try:
                if isinstance(failure, BytesMissing):
                    raise failure
                # The chunk MUST be discarded and the upload and its offset MUST NOT be updated (tus 1.0.0, Checksum).
                if failure is not None and (self._digest is not None or isinstance(failure, UploadTooLarge)):
                    await self._discard(blob)
                else:
                    upload = await self._keep(whole=failure is None)
                    if failure is None:
                        self._log("upload.append.finished", status=upload.status)
                        return upload
            except BytesMissing:
                failure = await self._fail()
            except TusError as error:
                failure = failure or error
        if failure is None:
            raise AssertionError("a body that was kept whole has been returned")
        reason = failure.code if isinstance(failure, TusError) else type(failure).__name__
        self._log("upload.append.ended", reason=reason)
        raise failure

    def _judge_checksum(self) -> TusError | None:
        checksum, digest = self._append.checksum, self._digest
        if checksum is None or digest is None:
            return None
        try:
            return None if checksum.holds(digest, self._source.trailers) else ChecksumMismatch()
        except TusError as error:  # a trailer that is missing or malformed
            return error

    async def _discard(self, blob: BlobWriter) -> None:
        # The row first: after a commit of unknown outcome it alone knows what counts. What cannot be cut off then lies
        # past the offset, and the next claim cuts it off.
        upload = await self._commits.commit(self._commits.countable, release=True, with_length=False)
        await blob.rollback(upload.upload_offset)

    async def _keep(self, *, whole: bool) -> Upload:
        commits, started = self._commits, time.perf_counter()
        reached = self._append.upload_offset + self.received_bytes
        whole = whole and reached == self._append.upload_length
        try:
            offset = await (commits.sync_whole() if whole else commits.sync(flush=True))
        except TryLater:
            await self._keep_what_is_durable()
            raise
        if offset < reached:
            # The disk took some and then was full. Bytes with a checksum count as a whole or not at all.
            kept = commits.visible(offset) if self._digest is None else commits.upload.upload_offset
            await commits.commit(kept, release=True)
            raise StorageFull
        if whole:
            upload = await commits.finish(offset)
        else:
            upload = await commits.commit(commits.visible(offset), release=True)
        self._observer.committed(time.perf_counter() - started)
        return upload

    async def _keep_what_is_durable(self) -> None:
        commits, offset = self._commits, self._commits.upload.upload_offset
        if self._digest is None:
            with suppress(TusError):
                offset = commits.visible(await commits.sync(flush=False))
        await commits.commit(max(offset, commits.upload.upload_offset), release=True)

    async def _fail(self) -> TusError:
        """The stored bytes are fewer than the row counts: nothing can mend that, so say it loudly. But a writer whose
        successor has put the upload together misses them, too. Returns what the client is to be told."""
        upload = self._commits.upload
        event = draft_for(EventType.FAILED, upload)
        ending = Ending(upload_id=upload.id, status=UploadStatus.FAILED, event=event, writer=self.writer)
        if await self._store.end(ending) is None:
            found = await self._store.get(upload.id)
            return UploadGone() if found is None or found.is_gone else WriterFenced()
        log.error("upload.failed", upload_id=upload.id, upload_offset=upload.upload_offset)
        return UploadGone()

    def _log(self, event: str, **fields: str) -> None:
        upload_offset = self._commits.upload.upload_offset
        log.info(
            event, upload_id=self.upload_id, upload_offset=upload_offset, received_bytes=self.received_bytes, **fields
        )

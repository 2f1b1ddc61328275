"""One body on its way into an upload: claim, receive, commit now and then, settle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tuspy_server.access import RequestContext
from tuspy_server.model import Upload
from tuspy_server.ports import BlobWriter, BodySource, Claimed
from tuspy_server.protocol.checksum import Digest
from tuspy_server.protocol.core import Append
from tuspy_server.protocol.errors import (
    BodyStalled,
    BytesMissing,
    TusError,
    UploadBusy,
    UploadTooLarge,
    WriterFenced,
)
from tuspy_server.uploads.commits import STALE, Commits
from tuspy_server.uploads.means import Means
from tuspy_server.uploads.settlement import Settlement

INLINE_HASH_BYTES: Final = 64 << 10
"""Blocks above this are hashed in a thread, so that the loop is not held (fault R08)."""


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
        means: Means,
        commit_interval_seconds: Callable[[], float] | None = None,
        request: RequestContext | None = None,
    ) -> None:
        """`claimed`: the row with this append's `writer` in it; `commit_interval_seconds`: in place of the option;
        `request`: that brings the body, for `pre_finish`."""
        upload = claimed.upload
        if upload.writer is None:
            raise ValueError("the upload has not been claimed")
        self.upload_id = upload.id
        self.writer = upload.writer
        self.request = request
        self.received_bytes = 0
        self.ended = asyncio.Event()
        self.unended: RunningAppend | None = None
        # The storage plans with the length as this request knows it.
        self._claimed = replace(claimed, upload=replace(upload, upload_length=append.upload_length))
        self._append = append
        self._source = source
        self._means = means
        self._options = means.options
        self._digest = None if append.checksum is None else append.checksum.start()
        self._stopped: TusError | None = None
        self._reading: asyncio.Timeout | None = None
        self._settling = False
        self._commits = Commits(
            upload,
            upload.writer,
            append,
            means,
            interval_seconds=commit_interval_seconds or (lambda: means.options.commit_interval_seconds),
            stop=self.stop,
        )
        self._settlement = Settlement(
            upload.writer, append, source, self._digest, self._commits, means=means, request=request
        )

    def stop(self, reason: TusError) -> None:
        """Read no more; commit what came, unless `reason` says that another writer has the upload, or that it is
        gone."""
        if self._stopped is None:
            self._stopped = reason
        if self._reading is not None and not self._reading.expired():
            self._reading.reschedule(asyncio.get_running_loop().time())

    @property
    def tenant(self) -> str | None:
        """Whose the upload is."""
        return self._claimed.upload.tenant

    @property
    def is_asking(self) -> bool:
        """Whether all bytes are stored, and `pre_finish` is being asked."""
        return self._settlement.is_asking

    @property
    def failed(self) -> Upload | None:
        """The row, where this append has ended the upload as failed; its bytes are to go."""
        return self._settlement.failed

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
                return await self._settlement.settle(blob, failure, self.received_bytes)
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
            return await self._means.blobs.open_writer(self._claimed, held_back=self._digest is not None)
        except BytesMissing as error:
            raise await self._settlement.lose() from error
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
            self._means.observer.received(count)
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

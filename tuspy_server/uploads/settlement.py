"""How one body ends: what of it is kept, what the row says then, and what the client is told."""

from __future__ import annotations

import time
from contextlib import suppress

import structlog

from tuspy_server.access import RequestContext
from tuspy_server.model import EventType, Upload, UploadStatus
from tuspy_server.ports import BlobWriter, BodySource, Ending
from tuspy_server.protocol.checksum import Digest
from tuspy_server.protocol.core import Append
from tuspy_server.protocol.errors import (
    BytesMissing,
    ChecksumMismatch,
    Refused,
    StorageFull,
    TryLater,
    TusError,
    UploadGone,
    UploadTooLarge,
    WriterFenced,
)
from tuspy_server.uploads.commits import STALE, Commits
from tuspy_server.uploads.means import Means

log = structlog.get_logger("tuspy_server.uploads")


class Settlement:
    """The last commit of one writer, whatever has ended its body.

    Attributes:
        is_asking: whether all bytes are stored, and `pre_finish` is being asked.
        failed: the row, where this writer has ended the upload as failed; its bytes are to go.
    """

    def __init__(
        self,
        writer: str,
        append: Append,
        source: BodySource,
        digest: Digest | None,
        commits: Commits,
        *,
        means: Means,
        request: RequestContext | None,
    ) -> None:
        """`request`: that brings the body, for `pre_finish`."""
        self.is_asking = False
        self.failed: Upload | None = None
        self._writer = writer
        self._append = append
        self._source = source
        self._digest = digest
        self._commits = commits
        self._means = means
        self._request = request

    async def settle(self, blob: BlobWriter, failure: Exception | None, received_bytes: int) -> Upload:
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
                    upload = await self._keep(received_bytes, whole=failure is None)
                    if failure is None:
                        self._log("upload.append.finished", received_bytes, status=upload.status)
                        return upload
            except BytesMissing:
                failure = await self.lose()
            except TusError as error:
                failure = failure or error
        if failure is None:
            raise AssertionError("a body that was kept whole has been returned")
        reason = failure.code if isinstance(failure, TusError) else type(failure).__name__
        self._log("upload.append.ended", received_bytes, reason=reason)
        raise failure

    async def lose(self) -> TusError:
        """The stored bytes are fewer than the row counts: nothing can mend that, so say it loudly. But a writer whose
        successor has put the upload together misses them, too. Returns what the client is to be told."""
        return await self._fail("bytes_missing", UploadGone())

    def _judge_checksum(self) -> TusError | None:
        checksum, digest = self._append.checksum, self._digest
        if checksum is None or digest is None:
            return None
        try:
            return None if checksum.holds(digest, self._source.trailers) else ChecksumMismatch()
        except TusError as error:  # a trailer that is missing or malformed
            return error

    def _checksum_of_whole(self) -> str | None:
        """What the client has said of the whole upload, where this body is all of it, and holds it."""
        checksum = self._append.checksum
        if checksum is None or self._append.upload_offset:
            return None
        return str(checksum.named(self._source.trailers))

    async def _discard(self, blob: BlobWriter) -> None:
        # The row first: after a commit of unknown outcome it alone knows what counts. What cannot be cut off then lies
        # past the offset, and the next claim cuts it off.
        upload = await self._commits.commit(self._commits.countable, release=True, with_length=False)
        await blob.rollback(upload.upload_offset)

    async def _keep(self, received_bytes: int, *, whole: bool) -> Upload:
        commits, started = self._commits, time.perf_counter()
        reached = self._append.upload_offset + received_bytes
        whole = whole and reached == self._append.upload_length
        try:
            if whole and self._digest is None:
                await commits.catch_up()
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
            await self._ask_before_finish(offset)
            upload = await commits.finish(offset, checksum=self._checksum_of_whole())
        else:
            upload = await commits.commit(commits.visible(offset), release=True)
        self._means.observer.committed(time.perf_counter() - started)
        return upload

    async def _keep_what_is_durable(self) -> None:
        commits, offset = self._commits, self._commits.upload.upload_offset
        if self._digest is None:
            with suppress(TusError):
                offset = commits.visible(await commits.sync(flush=False))
        await commits.commit(max(offset, commits.upload.upload_offset), release=True)

    async def _ask_before_finish(self, length: int) -> None:
        """The object is in its place, and nobody knows yet. Where the storage has yet to put it there, who does that
        asks."""
        commits = self._commits
        if commits.is_to_be_assembled:
            return
        self.is_asking = True
        try:
            await self._means.ask_before_finish(commits.upload, length, commits.unrecorded, self._request)
        except Refused as refused:
            raise await self._fail("refused", refused) from refused
        except Exception:  # the gate has logged what it was; nothing of it counts against the upload
            await commits.step_back(length, keeps=self._digest is None)
            raise
        finally:
            self.is_asking = False

    async def _fail(self, reason: str, answer: TusError) -> TusError:
        upload = self._commits.upload
        text = str(answer) if isinstance(answer, Refused) else reason
        event = self._means.drafts.of(EventType.FAILED, upload, reason=text)
        ending = Ending(upload_id=upload.id, status=UploadStatus.FAILED, event=event, writer=self._writer)
        self.failed = await self._means.store.end(ending)
        if self.failed is None:
            found = await self._means.store.get(upload.id)
            return UploadGone() if found is None or found.is_gone else WriterFenced()
        tell = log.info if isinstance(answer, Refused) else log.error
        tell("upload.failed", upload_id=upload.id, upload_offset=upload.upload_offset, reason=reason)
        return answer

    def _log(self, event: str, received_bytes: int, **fields: str) -> None:
        upload = self._commits.upload
        log.info(
            event, upload_id=upload.id, upload_offset=upload.upload_offset, received_bytes=received_bytes, **fields
        )

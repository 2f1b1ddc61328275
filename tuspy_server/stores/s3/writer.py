"""The bytes of one request on their way into a bucket: parts are stored while the next one fills."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from tuspy_server.model import PARTS_IN_FLIGHT, Upload
from tuspy_server.pages import LARGE_PAGE_BYTES, SMALL_PAGE_BYTES
from tuspy_server.ports import Stored
from tuspy_server.protocol.errors import StorageFault, UploadTooLarge, WriterFenced
from tuspy_server.stores.s3.errors import S3Error
from tuspy_server.stores.s3.fill import Fill
from tuspy_server.stores.s3.line import Line
from tuspy_server.stores.s3.part_plan import MOST_PARTS, part_number_at
from tuspy_server.stores.s3.running import Running
from tuspy_server.stores.s3.sending import Sender, Shared
from tuspy_server.stores.s3.single import Taken
from tuspy_server.stores.s3.spare import Spare

_PARTS_IN_POOL: Final = 2
"""Parts of any size that find room in the page pool on their way, beside the one that fills. Who has more there, and
finds the pool full, waits for his own, not in line: a slow store may take longer over them than a place in line lasts.
"""

log = structlog.get_logger("tuspy_server.s3")


class S3Writer:
    """`ports.BlobWriter`: a line of fills, the last of which takes the bytes.

    A full one is sent as a part at once, at most `PARTS_IN_FLIGHT` at a time, and none further past what the last
    commit has counted: so the claim of a successor knows which parts a call of ours may still change. Beyond that, and
    up to `contested_to`, it is sent as a piece, whose key nobody else writes.

    The part that ends at the upload's length is sent by `finish` alone: the offset that is shown stays inside it until
    then, and nobody could read it back.

    Attributes:
        wants_commit: called where more could be sent after a commit.
        has_stored: called where a part or piece has become durable.
        spare: what it can do without; the pool knows it until `close`.
    """

    def __init__(
        self, shared: Shared, upload: Upload, sender: Sender, fill: Fill, *, contested_to: int, held_back: bool
    ) -> None:
        """`upload`: the row as claimed; `fill`: of the part that holds its offset, filled up to it."""
        self.wants_commit: Callable[[], None] | None = None
        self.has_stored: Callable[[], None] | None = None
        self._shared = shared
        self._sender = sender
        self._upload_id = upload.id
        self._part_bytes = sender.part_bytes
        self._contested_to = contested_to
        self._held_back = held_back
        self._counted = self._offset = upload.upload_offset
        self._line = Line(shared.pool, sender.part_bytes, upload.upload_length, upload.upload_offset, fill)
        self._running = Running(upload.id, shared.storage_seconds, self._task_ended)
        self._is_fast = False
        self._sending = 0
        self._flushing = 0
        self._finishing = False
        self._surplus = False
        self._leftover = False
        self._closed = False
        self._is_taken = False
        self._etag: str | None = None
        self._crc32c: int | None = None
        self.spare = Spare(self._line, self._running, self._store)
        shared.pool.add_holder(self.spare)

    # --- receiving ------------------------------------------------------------------------------------------------

    async def buffer(self) -> memoryview:
        """See the port. Raises BytesMissing where bytes that count are lost."""
        while True:
            self._raise_failure()
            fill = self._line.current
            if fill.is_full:
                if self._line.is_last(fill) or fill.part_number >= MOST_PARTS:
                    self._surplus = True  # the body may end here, and then nothing is wrong
                    return memoryview(bytearray(1))
                await self._running.until(self._may_open_next)
                self._raise_failure()
                if self._line.current is fill:
                    self._line.open_next()
                    self._hurry()
                continue
            room = fill.room()
            if room is not None:
                return room
            fill.add_page(await self._page(fill.stop - fill.filled))

    async def _page(self, missing_bytes: int) -> memoryview:
        """A client that fills one page is worth a large one, unless little is missing."""
        large = self._is_fast and missing_bytes > LARGE_PAGE_BYTES // 2
        self._is_fast = True
        page_bytes = LARGE_PAGE_BYTES if large else SMALL_PAGE_BYTES
        pool = self._shared.pool
        page = pool.try_take(page_bytes)
        if page is None and self._sending > _PARTS_IN_POOL:
            await self._running.until(lambda: self._sending <= _PARTS_IN_POOL or self._running.failure is not None)
            self._raise_failure()
            page = pool.try_take(page_bytes)
        return page or await pool.take(SMALL_PAGE_BYTES)

    def advance(self, count: int) -> None:
        """See the port."""
        if self._surplus:
            self._running.fail(UploadTooLarge("the upload is longer than its length, or than 10,000 parts hold"))
            return
        self._line.current.advance(count)
        self._offset += count
        if self._line.current.is_full:
            self._dispatch()

    def _may_open_next(self) -> bool:
        if self._held_back or self._running.failure is not None:
            return True
        return not any(fill.is_full and fill.waits and not fill.is_stored for fill in self._line)

    # --- storing --------------------------------------------------------------------------------------------------

    def counted(self, upload_offset: int) -> None:
        """See the port."""
        self._counted = max(self._counted, upload_offset)
        self._dispatch()
        self._running.wake()

    @property
    def _last_part(self) -> int:
        """Past it no part may be on its way."""
        return part_number_at(self._counted, self._part_bytes) + PARTS_IN_FLIGHT

    def _is_contested(self, fill: Fill) -> bool:
        """Whether a call of somebody else's may change the part, or one of ours when somebody else has followed."""
        return fill.part_number <= self._contested_to or fill.part_number > self._last_part

    def _dispatch(self) -> None:
        """Send what may be sent."""
        for fill in self._line:
            if self._running.failure is not None or self._sending >= PARTS_IN_FLIGHT:
                return
            if fill.is_full and fill.waits and self._is_wanted(fill) and self._may_go(fill):
                fill.waits = False
                self._sending += 1
                self._running.start(self._send(fill))

    def _is_wanted(self, fill: Fill) -> bool:
        """Whether there is something to send; what is in pieces already becomes a part where that costs no reading."""
        becomes_part = self._finishing and self._line.is_last(fill) and fill.is_whole and not self._is_contested(fill)
        return not fill.is_stored or (becomes_part and fill.filled > fill.start)

    def _may_go(self, fill: Fill) -> bool:
        if self._held_back and not self._flushing:
            return False
        if self._line.is_last(fill) and not self._finishing:
            return False
        if fill.part_number > self._contested_to and self._is_contested(fill) and not self._flushing:
            self._hurry()
            return False
        return True

    def _hurry(self) -> None:
        uncounted = self._line.reached > self._counted
        if self.wants_commit is not None and uncounted and self._line.current.part_number >= self._last_part:
            self.wants_commit()

    async def _send(self, fill: Fill) -> None:
        try:
            async with fill.lock:
                if self._is_contested(fill):
                    if not fill.is_stored:
                        await self._sender.piece(fill, whole_part=True)
                elif fill.part is None:
                    await self._sender.part(fill)
        finally:
            self._sending -= 1
        if not self._line.is_last(fill) or fill.part is not None:
            fill.release()

    async def _store(self, fill: Fill) -> None:
        async with fill.lock:
            if fill.durable < fill.filled and fill.part is None:
                await self._sender.piece(fill)

    async def _put(self, fill: Fill) -> None:
        async with fill.lock:
            try:
                self._etag, self._crc32c = await self._sender.single(fill)
            except Taken:
                self._is_taken = True
                self._running.wake()

    def _task_ended(self) -> None:
        self._dispatch()
        if self.has_stored is not None and self._line.reached > self._counted:
            self.has_stored()
        self._hurry()

    # --- what is durable ------------------------------------------------------------------------------------------

    @property
    def unsettled(self) -> bool:
        """See the port: what is under way, too. For commits that let go of the upload."""
        under_way = bool(self._running) or self._running.was_cut_off
        return under_way or self._leftover or self._sender.is_unsettled or self._line.has_unnamed

    async def sync(self, *, flush: bool) -> Stored:
        """See the port. Without `flush` it gives what is durable also after a failure. With it, and past what the last
        commit allows, parts become pieces."""
        if not flush:
            if self._closed or self._running.is_fenced:
                raise WriterFenced
            return Stored(upload_offset=self._line.handed_offset) if self._held_back else self._collect()
        await self._flush()
        return self._collect()

    async def _flush(self) -> None:
        self._raise_failure()
        target = self._offset
        self._flushing += 1
        try:
            self._dispatch()
            fill = self._line.current
            goes = fill.is_full and self._may_go(fill)
            if fill.waits and fill.durable < fill.filled and not goes:
                self._running.start(self._store(fill))
            await self._running.until(lambda: self._line.reached >= target or self._has_stopped())
        finally:
            self._flushing -= 1
        if self._line.reached < target:
            self._raise_failure()

    def _has_stopped(self) -> bool:
        return self._running.failure is not None and not self._running

    def _collect(self) -> Stored:
        return self._line.collect(multipart_id=self._sender.new_multipart_id())

    async def is_behind(self) -> bool:
        """See the port. The last part may not go before the one `PARTS_IN_FLIGHT` before it is counted; it would become
        a piece, and a copy of that a part."""
        fill = self._line.current
        if self._held_back or not fill.waits or fill.part_number <= max(self._last_part, self._contested_to):
            return False
        await self._running.until(lambda: self._line.reached > self._counted or self._has_stopped())
        return self._line.reached > self._counted

    async def finish(self) -> Stored:
        """See the port. Of more than one part there is a multipart upload afterwards, and of one whose key is taken."""
        self._raise_failure()
        self._line.length = self._offset
        fill = self._line.current
        fill.stop = min(fill.stop, self._offset)
        if self._shared.puts_single and self._sender.multipart_id is None and fill.part_number == 1 and fill.waits:
            self._running.start(self._put(fill))
            await self._running.until(lambda: bool(self._etag or self._is_taken or self._running.failure))
            if self._etag is not None:
                stored = self._collect()
                fill.release()
                return replace(stored, upload_offset=self._offset, etag=self._etag, crc32c=self._crc32c)
            self._raise_failure()
        self._finishing = True
        await self._flush()
        if self._sender.multipart_id is None:
            self._running.start(self._sender.begin_multipart())
            await self._running.until(lambda: self._sender.multipart_id is not None or self._has_stopped())
            self._raise_failure()
        await self._running.until(lambda: not self._sending or self._has_stopped())
        return self._collect()

    # --- ending ---------------------------------------------------------------------------------------------------

    async def rollback(self, upload_offset: int) -> None:
        """See the port. Deletes pieces of this writer's that no commit can have counted."""
        if self._running.is_fenced:
            return
        self._running.fail(StorageFault())
        await self._running.cancelled()
        self._line.release()
        doomed = self._sender.written_from(upload_offset, but=self._line.named)
        try:
            async with asyncio.timeout(self._shared.storage_seconds):
                await self._shared.bucket.delete_objects(doomed)
        except (S3Error, TimeoutError) as error:
            self._leftover = True
            log.warning("s3.rollback.failed", upload_id=self._upload_id, pieces=len(doomed), error=str(error))

    async def fence(self) -> int:
        """End this writer for good: what it has under way is broken off, and every later call raises WriterFenced.
        Returns the highest part that may be written yet, 0 where none can."""
        self._running.fence()
        await self._running.cancelled()
        return max(self._sender.under_way, default=0)

    def close(self) -> None:
        """See the port. What is durable, and not a part yet, is kept in memory as long as there is room."""
        if self._closed:
            return
        self._closed = True
        self._shared.pool.remove_holder(self.spare)
        fill = self._line.current
        is_sound = self._running.failure is None and self._etag is None and not self._running
        self._running.cancel()
        keeps = is_sound and fill.pieces and fill.durable == fill.filled and fill.part is None and not fill.new_pieces
        for other in self._line:
            if keeps and other is fill:
                self._shared.cache.keep(self._upload_id, fill)
            else:
                other.release()

    def _raise_failure(self) -> None:
        self._running.raise_failure()
        if self._closed:
            raise WriterFenced

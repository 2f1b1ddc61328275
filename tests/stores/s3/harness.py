"""Uploads over a bucket: rows in memory, and as many nodes as a test wants, each with its own store and pages."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from tests.contracts.rig import ManualClock
from tests.contracts.rows import draft
from tuspy_server.model import EventType, Upload, UploadStatus
from tuspy_server.pages import PagePool
from tuspy_server.ports import Claim, Claimed, Commit, Ending, NewUpload, Stored
from tuspy_server.protocol.errors import TryLater, TusError, WriterFenced
from tuspy_server.stores.memory.rows import SETTLED_SECONDS
from tuspy_server.stores.memory.uploads import MemoryUploadStore
from tuspy_server.stores.s3.bucket import Bucket
from tuspy_server.stores.s3.keys import Keys
from tuspy_server.stores.s3.part_plan import PartPlan
from tuspy_server.stores.s3.store import S3BlobStore, S3StoreOptions
from tuspy_server.stores.s3.writer import S3Writer

KIB = 1 << 10
MIB = 1 << 20
PART_BYTES = 256 * KIB


def new_id() -> str:
    return secrets.token_hex(16)


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    """Wait for something inside others that tells nobody."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # no event tells it
            await asyncio.sleep(0.001)


@dataclass
class Node:
    """One process."""

    blobs: S3BlobStore
    pool: PagePool


@dataclass
class Writing:
    """One PATCH that goes on."""

    site: Site
    node: Node
    upload: Upload
    writer: S3Writer
    uncommitted: Stored = field(default_factory=lambda: Stored(upload_offset=0))
    wanted: bool = False
    asked: asyncio.Future[None] | None = None
    received: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.start = self.upload.upload_offset

    def _note(self, upload_offset: int) -> None:
        """The row has counted them."""
        before = self.site.counted.setdefault(self.upload.id, bytearray())
        if upload_offset > len(before):
            assert len(before) >= self.start
            before[self.start :] = memoryview(self.received)[: upload_offset - self.start]

    async def put(self, content: bytes | memoryview, most: int = 1 << 30) -> None:
        """Advance by the content; commits where the writer wants that."""
        left = memoryview(content)
        while left:
            buffer = await self._buffer()
            count = min(len(buffer), len(left), most)
            buffer[:count] = left[:count]
            self.writer.advance(count)
            self.received += left[:count]
            left = left[count:]
            if self.wanted:
                await self._commit_wanted()

    async def _buffer(self) -> memoryview:
        """A writer that can take no more bytes before a commit asks for it while it is waited for."""
        buffer = asyncio.ensure_future(self.writer.buffer())
        try:
            while not buffer.done():
                if self.wanted:
                    await self._commit_wanted()
                    continue
                self.asked = asyncio.get_running_loop().create_future()
                either: list[asyncio.Future[Any]] = [buffer, self.asked]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return buffer.result()
        finally:
            self.asked = None
            buffer.cancel()

    async def _commit_wanted(self) -> None:
        if await self.commit() is None:
            raise WriterFenced

    def _want(self) -> None:
        self.wanted = True
        if self.asked is not None and not self.asked.done():
            self.asked.set_result(None)

    async def commit(self, *, release: bool = False, flush: bool = False) -> Upload | None:
        self.wanted = False
        self.uncommitted = self.uncommitted.and_then(await self.writer.sync(flush=flush))
        return await self.count(release=release)

    async def count(self, *, release: bool = False) -> Upload | None:
        length = self.upload.upload_length
        offset = self.uncommitted.upload_offset
        visible = offset if length is None else min(offset, max(length - 1, self.upload.upload_offset))
        row = await self.site.rows.commit(self._draft(max(visible, self.upload.upload_offset), release=release))
        if row is not None:
            self._note(row.upload_offset)
            self.upload = replace(row, upload_length=length)
            self.uncommitted = Stored(upload_offset=offset)
            self.writer.counted(row.upload_offset)
        return row

    def _draft(self, offset: int, *, release: bool) -> Commit:
        assert self.upload.writer is not None
        return Commit(
            upload_id=self.upload.id,
            writer=self.upload.writer,
            upload_offset=offset,
            upload_length=None,
            release=release,
            lifetime=None,
            stored=self.uncommitted,
            unsettled=release and self.writer.unsettled,
        )

    async def leave(self) -> Upload | None:
        """The client goes away, or its body is at its end before the upload is."""
        try:
            return await self.commit(release=True, flush=True)
        except TryLater:
            await self.commit(release=True)
            raise
        finally:
            self.writer.close()

    async def finish(self) -> Upload | None:
        """The upload is whole. After trouble the writer stays open: the lifecycle asks it for what is durable."""
        rows = self.site.rows
        stored = self.uncommitted.and_then(await self.writer.finish())
        length = stored.upload_offset
        self.uncommitted = stored
        if stored.etag is None:
            whole = replace(self._draft(max(length - 1, 0), release=False), upload_length=length)
            row = await rows.complete(whole)
            self.writer.close()
            if row is None:
                return None
            self._note(length)
            etag = await self.node.blobs.assemble(row, await rows.assembly(row.id))
            self.uncommitted = Stored(upload_offset=length, etag=etag)
        draft_of = replace(self._draft(length, release=True), upload_length=length)
        self.writer.close()
        row = await rows.finish(draft_of, draft(EventType.FINISHED, self.upload.id))
        if row is not None:
            self._note(length)
        return row

    async def settle(self) -> None:
        """What the lifecycle does after trouble: count what is durable all the same, and let go."""
        try:
            await self.commit(release=True)
        finally:
            self.writer.close()


class Site:
    """Nodes over one bucket and one table."""

    def __init__(
        self,
        bucket: Bucket,
        *,
        part_bytes: int = PART_BYTES,
        pool_bytes: int = 64 * MIB,
        wait_seconds: float = 10,
        patience_seconds: float = 1,
        storage_seconds: float = 30,
        keys: Keys | None = None,
        puts_single: bool = True,
    ) -> None:
        self.bucket = bucket
        self.clock = ManualClock()
        self.rows = MemoryUploadStore(self.clock)
        self.keys = keys or Keys(prefix="uploads/")
        self._part_bytes = part_bytes
        self._pool_bytes = pool_bytes
        self._wait_seconds = wait_seconds
        self._patience_seconds = patience_seconds
        self._storage_seconds = storage_seconds
        self._puts_single = puts_single
        self.nodes: list[Node] = []
        self.counted: dict[str, bytearray] = {}
        self.node = self.add_node()

    def add_node(self, pool_bytes: int | None = None) -> Node:
        pool = PagePool(pool_bytes or self._pool_bytes, self._wait_seconds, self._patience_seconds)
        plan = PartPlan(part_bytes=self._part_bytes, deferred_part_bytes=2 * self._part_bytes, most_part_bytes=1 << 40)
        options = S3StoreOptions(plan=plan, keys=self.keys, storage_seconds=self._storage_seconds)
        blobs = S3BlobStore(self.bucket, pool, options, self.clock.now)
        blobs._shared = replace(blobs._shared, puts_single=self._puts_single)
        self.nodes.append(Node(blobs, pool))
        return self.nodes[-1]

    async def close(self) -> None:
        for node in self.nodes:
            await node.blobs.close()
            assert node.pool.used_bytes == 0, "a page was lost"

    async def create(self, length: int | None, metadata: str | None = None, *, key: str | None = None) -> Upload:
        upload_id = new_id()
        place = self.node.blobs.place(upload_id, length, key=key)
        new = NewUpload(
            id=upload_id,
            upload_length=length,
            upload_metadata=metadata,
            writer=None,
            lifetime=None,
            placement=place,
        )
        return await self.rows.create(new, draft(EventType.CREATED, upload_id))

    async def row(self, upload_id: str) -> Upload:
        row = await self.rows.get(upload_id)
        assert row is not None
        return row

    async def claim(self, upload_id: str, *, offset: int | None = None) -> Claimed:
        self.clock.advance(0.001)
        row = await self.row(upload_id)
        claimed = await self.rows.claim(
            Claim(
                upload_id=upload_id,
                writer=new_id(),
                upload_offset=row.upload_offset if offset is None else offset,
                body_bytes=0,
                declared_length=None,
            )
        )
        assert claimed is not None
        return claimed

    async def patch(
        self,
        upload_id: str,
        *,
        node: Node | None = None,
        held_back: bool = False,
        declared: int | None = None,
    ) -> Writing:
        """A PATCH begins."""
        node = node or self.node
        claimed = await self.claim(upload_id)
        if declared is not None:
            claimed = replace(claimed, upload=replace(claimed.upload, upload_length=declared))
        writer = await node.blobs.open_writer(claimed, held_back=held_back)
        writing = Writing(self, node, claimed.upload, writer, Stored(upload_offset=claimed.upload.upload_offset))
        writer.wants_commit = writing._want
        return writing

    async def append(self, upload_id: str, content: bytes | memoryview, node: Node | None = None) -> Upload:
        """A whole PATCH; the upload is finished where it is whole."""
        writing = await self.patch(upload_id, node=node)
        whole = writing.upload.upload_offset + len(content) == writing.upload.upload_length
        await writing.put(content)
        try:
            row = await (writing.finish() if whole else writing.leave())
        except TusError:
            with suppress(WriterFenced):  # closed before it was put together
                await writing.settle()
            raise
        finally:
            writing.writer.close()
        assert row is not None
        return row

    async def reassemble(self, upload_id: str, node: Node | None = None) -> Upload:
        """What a sweeper does with an upload whose finisher is gone."""
        row = await self.row(upload_id)
        etag = await (node or self.node).blobs.assemble(row, await self.rows.assembly(upload_id))
        assert row.upload_length is not None
        assert row.writer is not None
        finish = Commit(
            upload_id=upload_id,
            writer=row.writer,
            upload_offset=row.upload_length,
            upload_length=None,
            release=True,
            lifetime=None,
            stored=Stored(upload_offset=row.upload_length, etag=etag),
        )
        done = await self.rows.finish(finish, draft(EventType.FINISHED, upload_id))
        assert done is not None
        return done

    async def read(self, upload_id: str) -> bytes:
        row = await self.row(upload_id)
        assert row.status is UploadStatus.FINISHED
        return b"".join([block async for block in self.node.blobs.read(row, 0, row.upload_offset)])

    async def end(self, upload_id: str, status: UploadStatus = UploadStatus.TERMINATED) -> None:
        event = EventType.TERMINATED if status is UploadStatus.TERMINATED else EventType.FAILED
        ended = await self.rows.end(Ending(upload_id=upload_id, status=status, event=draft(event, upload_id)))
        assert ended is not None

    async def clean(self) -> None:
        """All cleanups that are due."""
        for cleanup in await self.rows.cleanups(100):
            await self.node.blobs.clean(cleanup)
            await self.rows.cleaned([cleanup.upload.id])

    async def clean_later(self) -> None:
        """Also those that are due again when no call can land any more."""
        await self.clean()
        self.clock.advance(SETTLED_SECONDS + 1)
        await self.clean()

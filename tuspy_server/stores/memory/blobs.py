"""Bytes of uploads in memory: `ports.BlobStore`, with the difference between written and durable that a disk has."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path

from tuspy_server.model import Placement, Upload, UploadStatus
from tuspy_server.ports import Assembly, Claimed, Cleanup, Stored
from tuspy_server.protocol.errors import BytesMissing, WriterFenced

BUFFER_BYTES = 64 << 10
READ_BYTES = 256 << 10


class Blob:
    """The bytes of one upload. Those from `durable_bytes` on are lost by `MemoryBlobStore.crash`."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.durable_bytes = 0


class MemoryBlobWriter:
    """See `ports.BlobWriter`."""

    def __init__(self, blob: Blob) -> None:
        self._blob = blob
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self.fenced = False
        self.wants_commit: Callable[[], None] | None = None
        self.has_stored: Callable[[], None] | None = None

    async def buffer(self) -> memoryview:
        """See the port."""
        self._check()
        return self._buffer

    def advance(self, count: int) -> None:
        """See the port."""
        if not self.fenced:
            self._blob.content += self._buffer[:count]

    @property
    def unsettled(self) -> bool:
        """See the port."""
        return False

    def counted(self, upload_offset: int) -> None:
        """See the port."""

    async def is_behind(self) -> bool:
        """See the port: never."""
        return False

    async def finish(self) -> Stored:
        """See the port."""
        return await self.sync(flush=True)

    async def sync(self, *, flush: bool) -> Stored:
        """See the port."""
        self._check()
        self._blob.durable_bytes = len(self._blob.content)
        return Stored(upload_offset=self._blob.durable_bytes)

    async def rollback(self, upload_offset: int) -> None:
        """See the port."""
        if not self.fenced:
            del self._blob.content[upload_offset:]
            self._blob.durable_bytes = min(self._blob.durable_bytes, upload_offset)
            self.fenced = True

    def close(self) -> None:
        """See the port."""
        self.fenced = True

    def _check(self) -> None:
        if self.fenced:
            raise WriterFenced


class MemoryBlobStore:
    """See `ports.BlobStore`."""

    def __init__(self) -> None:
        self.blobs: dict[str, Blob] = {}
        self._writers: dict[str, MemoryBlobWriter] = {}

    async def open(self) -> None:
        """See the port."""

    async def close(self) -> None:
        """See the port."""

    def crash(self) -> None:
        """What a power cut does: bytes that no sync has covered are gone, and so is every writer."""
        for writer in self._writers.values():
            writer.fenced = True
        self._writers.clear()
        for blob in self.blobs.values():
            del blob.content[blob.durable_bytes :]

    @property
    def bucket(self) -> str | None:
        """See the port."""
        return None

    def path(self, upload_id: str) -> Path | None:
        """See the port."""
        return None

    def place(
        self,
        upload_id: str,
        upload_length: int | None,
        *,
        tenant: str | None = None,
        key: str | None = None,
        bucket: str | None = None,
    ) -> Placement | None:
        """See the port."""
        if key is not None or bucket is not None:
            raise ValueError("uploads in memory have no keys and no buckets")
        return None

    async def is_free(self, placement: Placement) -> bool:
        """See the port. There are no keys."""
        return True

    async def open_writer(self, claimed: Claimed, *, held_back: bool) -> MemoryBlobWriter:
        """See the port."""
        upload_id, upload_offset = claimed.upload.id, claimed.upload.upload_offset
        self._fence(upload_id)
        blob = self.blobs.setdefault(upload_id, Blob()) if upload_offset == 0 else self.blobs.get(upload_id)
        if blob is None or len(blob.content) < upload_offset:
            raise BytesMissing
        del blob.content[upload_offset:]
        blob.durable_bytes = min(blob.durable_bytes, upload_offset)
        self._writers[upload_id] = MemoryBlobWriter(blob)
        return self._writers[upload_id]

    async def assemble(self, upload: Upload, assembly: Assembly) -> str:
        """See the port. There are no parts."""
        raise NotImplementedError

    async def link(self, upload: Upload, headers: Mapping[str, str]) -> str | None:
        """See the port."""

    async def read(self, upload: Upload, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """See the port."""
        blob = self.blobs.get(upload.id)
        if blob is None or len(blob.content) < stop:
            raise BytesMissing
        for position in range(start, stop, READ_BYTES):
            yield bytes(blob.content[position : min(position + READ_BYTES, stop)])

    async def clean(self, cleanup: Cleanup) -> None:
        """See the port."""
        if cleanup.upload.status is not UploadStatus.FINISHED:
            self._fence(cleanup.upload.id)
            self.blobs.pop(cleanup.upload.id, None)

    async def check(self) -> None:
        """See the port."""

    def _fence(self, upload_id: str) -> None:
        if upload_id in self._writers:
            self._writers.pop(upload_id).fenced = True

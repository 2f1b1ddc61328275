"""Bytes of uploads in local files, one file an upload: `<folder>/<id>`.

One folder, so that uploads that begin together share the sync of its names; file systems of today hold millions in one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from tuspy_server.model import UPLOAD_ID, Placement, Upload, UploadStatus
from tuspy_server.pages import PagePool
from tuspy_server.ports import Assembly, Claimed, Cleanup
from tuspy_server.protocol.errors import BytesMissing, StorageFault
from tuspy_server.stores.filesystem import calls
from tuspy_server.stores.filesystem.threads import StorageThreads
from tuspy_server.stores.filesystem.writer import FileWriter

READ_BYTES: Final = 256 << 10
STORAGE_THREADS: Final = 8

Result = TypeVar("Result")


class FilesystemBlobStore:
    """`ports.BlobStore` on a folder that one process holds (`FolderLock`)."""

    def __init__(self, folder: Path, pool: PagePool, *, durable: bool = True, deadline_seconds: float = 60.0) -> None:
        """`durable`: whether bytes that count have been synced to the disk; without it they survive kill -9 only."""
        self._folder = calls.Folder(folder)
        self._pool = pool
        self._durable = durable
        self._deadline_seconds = deadline_seconds
        self._executor = StorageThreads(STORAGE_THREADS, "tuspy-files")
        self._writers: WeakValueDictionary[str, FileWriter] = WeakValueDictionary()

    async def open(self) -> None:
        """See the port."""
        # Names of files are ids of uploads, and who knows one may fetch it over HTTP.
        self._folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._durable:
            await self._call(lambda: calls.sync_folder(self._folder.path.parent))

    async def close(self) -> None:
        """See the port."""
        await asyncio.to_thread(self._executor.shutdown)

    @property
    def bucket(self) -> str | None:
        """See the port."""
        return None

    def path(self, upload_id: str) -> Path:
        """See the port. An id that is none never becomes a path (fault X01)."""
        if not UPLOAD_ID.fullmatch(upload_id):
            raise ValueError("not an id of an upload")
        return self._folder.path / upload_id

    def place(
        self,
        upload_id: str,
        upload_length: int | None,
        *,
        tenant: str | None = None,
        key: str | None = None,
        bucket: str | None = None,
    ) -> Placement | None:
        """See the port. A file has the upload's id as its name."""
        if key is not None or bucket is not None:
            raise ValueError("local files have no keys and no buckets; they are named by the id")
        return None

    async def is_free(self, placement: Placement) -> bool:
        """See the port. There are no keys."""
        return True

    async def open_writer(self, claimed: Claimed, *, held_back: bool) -> FileWriter:
        """See the port. Bytes that are held back lie past the offset, where nothing counts them."""
        upload_id, upload_offset = claimed.upload.id, claimed.upload.upload_offset
        await self._fence(upload_id)
        writer = FileWriter(
            path=self.path(upload_id),
            folder=self._folder,
            upload_offset=upload_offset,
            pool=self._pool,
            executor=self._executor,
            durable=self._durable,
            deadline_seconds=self._deadline_seconds,
        )
        self._writers[upload_id] = writer
        if upload_offset:
            try:
                await writer.open()
            except BaseException:
                writer.close()
                raise
        return writer

    async def assemble(self, upload: Upload, assembly: Assembly) -> str:
        """See the port. A file is put together by its writes."""
        raise NotImplementedError

    async def link(self, upload: Upload, headers: Mapping[str, str]) -> str | None:
        """See the port."""

    async def read(self, upload: Upload, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """See the port."""
        try:
            path = self.path(upload.id)
            descriptor = await self._call(lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC), undo=os.close)
        except FileNotFoundError as error:
            raise BytesMissing from error
        try:
            while start < stop:
                position, count = start, min(READ_BYTES, stop - start)
                block = await self._call(partial(os.pread, descriptor, count, position))
                if not block:
                    raise BytesMissing
                start += len(block)
                yield block
        finally:
            os.close(descriptor)

    async def clean(self, cleanup: Cleanup) -> None:
        """See the port. A finished upload has nothing but its file."""
        upload_id = cleanup.upload.id
        if cleanup.upload.status is UploadStatus.FINISHED:
            return
        await self._fence(upload_id)
        try:
            await self._call(lambda: calls.remove(self.path(upload_id), self._folder if self._durable else None))
        except OSError as error:
            raise calls.translate(error) from error

    async def check(self) -> None:
        """See the port."""
        try:
            await self._call(lambda: calls.probe(self._folder.path))
        except OSError as error:
            raise calls.translate(error) from error

    async def _fence(self, upload_id: str) -> None:
        earlier = self._writers.get(upload_id)
        if earlier is not None:
            await earlier.fence()

    async def _call(self, function: Callable[[], Result], undo: Callable[[Result], None] | None = None) -> Result:
        """Run in a thread, with a deadline. The thread itself cannot be stopped: where nobody waits for its result any
        more, `undo` takes it back."""
        call = asyncio.get_running_loop().run_in_executor(self._executor, function)
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await asyncio.shield(call)
        except (TimeoutError, asyncio.CancelledError) as error:
            if undo is not None:
                call.add_done_callback(lambda done: None if done.exception() else undo(done.result()))
            if isinstance(error, TimeoutError):
                raise StorageFault from error
            raise

"""The ports behind gates. What takes effect is told to a witness at that moment, whatever the caller learns of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Protocol

from tests.uploads.gates import DiskFull, Gates
from tuspy_server.model import Placement, Upload, UploadStatus
from tuspy_server.ports import (
    Assembly,
    BlobStore,
    BlobWriter,
    Claim,
    Claimed,
    Cleanup,
    Commit,
    DraftEvent,
    Ending,
    EventDraft,
    NewUpload,
    Stored,
    UploadStore,
)
from tuspy_server.protocol.errors import StorageFull
from tuspy_server.stores.memory.blobs import MemoryBlobWriter


class Witness(Protocol):
    """Sees rows change, in the order in which they do."""

    def created(self, upload: Upload) -> None: ...

    def claimed(self, upload: Upload) -> None: ...

    def counted(self, commit: Commit, upload: Upload) -> None: ...

    def completing(self, commit: Commit, upload: Upload) -> None: ...

    def ended(self, upload: Upload) -> None: ...


class GatedUploadStore:
    """See `ports.UploadStore`."""

    def __init__(self, store: UploadStore, gates: Gates, witness: Witness) -> None:
        self._store = store
        self._gates = gates
        self._witness = witness

    async def open(self) -> None:
        await self._store.open()

    async def close(self) -> None:
        await self._store.close()

    async def create(self, new: NewUpload, event: EventDraft) -> Upload:
        async def work() -> Upload:
            upload = await self._store.create(new, event)
            self._witness.created(upload)
            return upload

        return await self._gates.call("create", work)

    async def get(self, upload_id: str) -> Upload | None:
        return await self._gates.call("get", lambda: self._store.get(upload_id))

    async def claim(self, claim: Claim) -> Claimed | None:
        async def work() -> Claimed | None:
            claimed = await self._store.claim(claim)
            if claimed is not None:
                self._witness.claimed(claimed.upload)
            return claimed

        return await self._gates.call("claim", work)

    async def commit(self, commit: Commit) -> Upload | None:
        async def work() -> Upload | None:
            upload = await self._store.commit(commit)
            if upload is not None:
                self._witness.counted(commit, upload)
            return upload

        return await self._gates.call("commit", work)

    async def finish(self, commit: Commit, event: EventDraft) -> Upload | None:
        async def work() -> Upload | None:
            upload = await self._store.finish(commit, event)
            if upload is not None:
                self._witness.counted(commit, upload)
            return upload

        return await self._gates.call("finish", work)

    async def end(self, ending: Ending) -> Upload | None:
        async def work() -> Upload | None:
            upload = await self._store.end(ending)
            if upload is not None:
                self._witness.ended(upload)
            return upload

        return await self._gates.call("end", work)

    async def expired(self, limit: int) -> Sequence[Upload]:
        return await self._gates.call("expired", lambda: self._store.expired(limit))

    async def expire(self, draft: DraftEvent, limit: int) -> Sequence[Upload]:
        async def work() -> Sequence[Upload]:
            uploads = await self._store.expire(draft, limit)
            for upload in uploads:
                self._witness.ended(upload)
            return uploads

        return await self._gates.call("expire", work)

    async def cleanups(self, limit: int) -> Sequence[Cleanup]:
        return await self._gates.call("cleanups", lambda: self._store.cleanups(limit))

    async def cleaned(self, upload_ids: Sequence[str]) -> None:
        await self._gates.call("cleaned", lambda: self._store.cleaned(upload_ids))

    async def purge(self, *, gone_seconds: float, event_seconds: float, limit: int) -> int:
        return await self._gates.call(
            "purge",
            lambda: self._store.purge(gone_seconds=gone_seconds, event_seconds=event_seconds, limit=limit),
        )

    async def release_writers(self, held: Callable[[], Set[str]]) -> int:
        return await self._gates.call("release_writers", lambda: self._store.release_writers(held))

    async def count_by_status(self) -> Mapping[UploadStatus, int]:
        return await self._store.count_by_status()

    async def has_any(self) -> bool:
        return await self._store.has_any()


class GatedBlobWriter:
    """See `ports.BlobWriter`. With `fails_for_good` a sync that failed is not tried again: a disk's promise (fault
    D01)."""

    def __init__(self, writer: BlobWriter, gates: Gates, *, fails_for_good: bool) -> None:
        self._writer = writer
        self._gates = gates
        self._fails_for_good = fails_for_good
        self._poison: Exception | None = None
        self._full = False

    @property
    def wants_commit(self) -> Callable[[], None] | None:
        return self._writer.wants_commit

    @wants_commit.setter
    def wants_commit(self, commit: Callable[[], None] | None) -> None:
        self._writer.wants_commit = commit

    @property
    def has_stored(self) -> Callable[[], None] | None:
        return self._writer.has_stored

    @has_stored.setter
    def has_stored(self, tell: Callable[[], None] | None) -> None:
        self._writer.has_stored = tell

    async def buffer(self) -> memoryview:
        self._raise_poison()
        if self._full:
            raise StorageFull
        return await self._gates.call("buffer", self._writer.buffer)

    def advance(self, count: int) -> None:
        if self._gates.alive and not self._full:
            self._writer.advance(count)

    @property
    def unsettled(self) -> bool:
        return self._writer.unsettled

    def counted(self, upload_offset: int) -> None:
        self._writer.counted(upload_offset)

    async def is_behind(self) -> bool:
        return await self._writer.is_behind()

    async def finish(self) -> Stored:
        return await self._sync(self._writer.finish)

    async def sync(self, *, flush: bool) -> Stored:
        return await self._sync(lambda: self._writer.sync(flush=flush))

    async def _sync(self, work: Callable[[], Awaitable[Stored]]) -> Stored:
        self._raise_poison()
        try:
            return await self._gates.call("sync", work)
        except DiskFull as full:
            return await self._keep_some(full.kept_bytes)
        except Exception as error:
            self._poison = error if self._fails_for_good else None
            raise

    async def _keep_some(self, kept_bytes: int) -> Stored:
        """As the adapters do: what the disk took is durable and returned, the failure comes with the next buffer."""
        if isinstance(self._writer, MemoryBlobWriter):
            blob = self._writer._blob
            del blob.content[blob.durable_bytes + kept_bytes :]
            self._full = True
        return await self._writer.sync(flush=True)

    async def rollback(self, upload_offset: int) -> None:
        await self._gates.call("rollback", lambda: self._writer.rollback(upload_offset))

    def close(self) -> None:
        self._writer.close()

    def _raise_poison(self) -> None:
        if self._poison is not None:
            raise self._poison


class GatedBlobStore:
    """See `ports.BlobStore`."""

    def __init__(self, blobs: BlobStore, gates: Gates, *, fails_for_good: bool = True) -> None:
        self._blobs = blobs
        self._gates = gates
        self._fails_for_good = fails_for_good

    async def open(self) -> None:
        await self._blobs.open()

    async def close(self) -> None:
        await self._blobs.close()

    @property
    def bucket(self) -> str | None:
        return self._blobs.bucket

    def path(self, upload_id: str) -> Path | None:
        return self._blobs.path(upload_id)

    def place(
        self,
        upload_id: str,
        upload_length: int | None,
        *,
        tenant: str | None = None,
        key: str | None = None,
        bucket: str | None = None,
    ) -> Placement | None:
        return self._blobs.place(upload_id, upload_length, tenant=tenant, key=key, bucket=bucket)

    async def is_free(self, placement: Placement) -> bool:
        return await self._blobs.is_free(placement)

    async def assemble(self, upload: Upload, assembly: Assembly) -> str:
        return await self._gates.call("assemble", lambda: self._blobs.assemble(upload, assembly))

    async def link(self, upload: Upload, headers: Mapping[str, str]) -> str | None:
        return await self._blobs.link(upload, headers)

    async def open_writer(self, claimed: Claimed, *, held_back: bool) -> GatedBlobWriter:
        opened: list[BlobWriter] = []

        async def work() -> GatedBlobWriter:
            opened.append(await self._blobs.open_writer(claimed, held_back=held_back))
            return GatedBlobWriter(opened[0], self._gates, fails_for_good=self._fails_for_good)

        try:
            return await self._gates.call("open_writer", work)
        except BaseException:
            for writer in opened:
                writer.close()
            raise

    def read(self, upload: Upload, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        return self._blobs.read(upload, start, stop)

    async def clean(self, cleanup: Cleanup) -> None:
        await self._gates.call("clean", lambda: self._blobs.clean(cleanup))

    async def check(self) -> None:
        await self._blobs.check()

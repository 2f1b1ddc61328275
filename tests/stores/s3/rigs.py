"""The S3 adapter as the contract suite takes it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count

from tests.contracts.rig import BlobRig
from tests.contracts.rows import a_row, new_id
from tuspy_server.model import Placement, Upload, UploadStatus
from tuspy_server.pages import PagePool
from tuspy_server.ports import BlobWriter, Claimed, Cleanup, StoredPiece
from tuspy_server.stores.s3.bucket import Bucket
from tuspy_server.stores.s3.keys import Keys
from tuspy_server.stores.s3.part_plan import PartPlan
from tuspy_server.stores.s3.store import S3BlobStore, S3StoreOptions

_times = count(1)


@dataclass
class Row:
    """What a row knows of an upload that is one part at most."""

    placement: Placement
    pieces: list[StoredPiece] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def add(self, pieces: tuple[StoredPiece, ...]) -> None:
        for piece in pieces:
            self.pieces = [earlier for earlier in self.pieces if earlier.start < piece.start]
            self.pieces.append(piece)
            self.keys.append(piece.key)


class S3Rig(BlobRig):
    def __init__(self, bucket: Bucket) -> None:
        self.pool = PagePool(32 << 20)
        self.bucket = bucket
        self._rows: dict[str, Row] = {}
        self._writers: dict[BlobWriter, str] = {}
        self._renew()

    def _renew(self) -> None:
        options = S3StoreOptions(plan=PartPlan(most_part_bytes=8 << 20), keys=Keys(), storage_seconds=30)
        self._blobs = S3BlobStore(self.bucket, self.pool, options)

    @property
    def blobs(self) -> S3BlobStore:
        return self._blobs

    async def start(self) -> None:
        await self.blobs.open()

    async def stop(self) -> None:
        await self.blobs.close()
        self._renew()

    def _row(self, upload_id: str) -> Row:
        if upload_id not in self._rows:
            self._rows[upload_id] = Row(self.blobs.place(upload_id, 8 << 20))
        return self._rows[upload_id]

    def _upload(self, upload_id: str, row: Row, upload_offset: int, status: UploadStatus) -> Upload:
        now = datetime.fromtimestamp(next(_times), UTC)
        upload = a_row(upload_id, status, upload_offset=upload_offset)
        return replace(upload, writer=new_id(), as_of=now, placement=row.placement)

    async def open_writer(self, upload_id: str, upload_offset: int, *, held_back: bool = False) -> BlobWriter:
        row = self._row(upload_id)
        row.pieces = [piece for piece in row.pieces if piece.start < upload_offset]
        upload = self._upload(upload_id, row, upload_offset, UploadStatus.UPLOADING)
        writer = await self.blobs.open_writer(Claimed(upload=upload, pieces=row.pieces), held_back=held_back)
        self._writers[writer] = upload_id
        return writer

    async def sync(self, writer: BlobWriter) -> int:
        stored = await writer.sync(flush=True)
        self._row(self._writers[writer]).add(stored.pieces)
        return stored.upload_offset

    async def read(self, upload_id: str, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Of a finished upload that has the same pieces."""
        pieces = self._row(upload_id).pieces
        twin_id = new_id()
        twin = Row(self.blobs.place(twin_id, 8 << 20))
        offset = pieces[-1].stop if pieces else 0
        upload = self._upload(twin_id, twin, offset, UploadStatus.UPLOADING)
        writer = await self.blobs.open_writer(Claimed(upload=upload, pieces=pieces), held_back=False)
        assert (await writer.finish()).etag
        writer.close()
        finished = self._upload(twin_id, twin, offset, UploadStatus.FINISHED)
        async for block in self.blobs.read(finished, start, stop):
            yield block

    async def delete(self, upload_id: str) -> None:
        row = self._rows.pop(upload_id, None) or self._row(upload_id)
        upload = self._upload(upload_id, row, 0, UploadStatus.TERMINATED)
        await self.blobs.clean(Cleanup(upload=upload, piece_keys=row.keys))
        self._rows.pop(upload_id, None)

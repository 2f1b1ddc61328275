"""Several processes over the same rows in memory and the same bucket in memory, with parts of a few bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar, Final
from unittest import mock

from tests.support.memory_bucket import MemoryBucket
from tests.uploads.gated_bucket import GatedBucket, Wire
from tests.uploads.gates import Gates
from tests.uploads.stepping import SteppedLoop
from tests.uploads.worlds import Seat, World
from tuspy_server.model import Upload, UploadStatus
from tuspy_server.pages import PagePool
from tuspy_server.ports import Clock, Outbox
from tuspy_server.stores.memory.table import NODE_SECONDS
from tuspy_server.stores.memory.uploads import MemoryUploadStore
from tuspy_server.stores.postgres.store import PostgresUploadStore
from tuspy_server.stores.s3.errors import S3Error
from tuspy_server.stores.s3.keys import Keys
from tuspy_server.stores.s3.part_plan import PartPlan
from tuspy_server.stores.s3.store import S3BlobStore, S3StoreOptions

PART_BYTES: Final = 4
DEFERRED_PART_BYTES: Final = 6
SETTLED_SECONDS: Final = 1e6
PIECES_MERGED: Final = 3
PREFIX: Final = "uploads/"


class TickingClock:
    """`ports.Clock`: no two statements are at the same time, as in life."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ticks = 0

    def now(self) -> datetime:
        self._ticks += 1
        return self._clock.now() + timedelta(microseconds=self._ticks)


class LocalPeers:
    """`ports.Peers`, of one process in a world."""

    def __init__(self, world: BucketWorld, gates: Gates) -> None:
        self.gates = gates
        self._world = world
        self._answer: Callable[[str, str], Awaitable[None]] | None = None

    async def ask(self, upload: Upload, most_seconds: float) -> None:
        peer = self._world.peers.get(upload.writer_node or "")
        with suppress(TimeoutError):
            async with asyncio.timeout(most_seconds):
                if peer is None or not peer.gates.alive or upload.writer is None:
                    await asyncio.sleep(most_seconds)
                else:
                    await peer.asked(upload.id, upload.writer)

    async def asked(self, upload_id: str, writer: str) -> None:
        assert self._answer is not None
        await self._answer(upload_id, writer)

    def answer_with(self, answer: Callable[[str, str], Awaitable[None]]) -> None:
        self._answer = answer


class BucketWorld(World):
    """The rows and the bucket outlive every process."""

    storage_seconds = 40.0
    obeys_conditions: ClassVar[bool] = True

    def __init__(self, loop: SteppedLoop) -> None:
        super().__init__(loop)
        self.rows = MemoryUploadStore(TickingClock(loop), SETTLED_SECONDS)
        obeys = self.obeys_conditions
        self.bucket = MemoryBucket(random_etags=not obeys, keeps_metadata=obeys)
        self.bucket.ignores_conditions = not obeys
        self.wire = Wire()
        self.peers: dict[str, LocalPeers] = {}
        self._pools: list[PagePool] = []
        self._merging = mock.patch("tuspy_server.stores.s3.pieces.PIECES_MERGED", PIECES_MERGED)
        self._merging.start()

    @property
    def uploads(self) -> MemoryUploadStore | PostgresUploadStore:
        return self.rows

    @property
    def outbox(self) -> Outbox:
        return self.rows

    def seat(self, gates: Gates) -> Seat:
        name = f"node {len(self.peers)}"
        rows = self.rows.for_node(name)
        self.loop.do(rows.open())
        return self.seat_with(rows, name, gates)

    def seat_with(self, rows: MemoryUploadStore | PostgresUploadStore, name: str, gates: Gates) -> Seat:
        self.peers[name] = LocalPeers(self, gates)
        pool = PagePool(4 << 20)
        plan = PartPlan(part_bytes=PART_BYTES, deferred_part_bytes=DEFERRED_PART_BYTES, most_part_bytes=1 << 20)
        options = S3StoreOptions(plan=plan, keys=Keys(prefix=PREFIX), storage_seconds=self.storage_seconds)
        blobs = S3BlobStore(GatedBucket(self.bucket, gates, self.wire), pool, options, self.loop.now)
        # What `adapt` does where the probe has found this.
        blobs._shared = replace(blobs._shared, puts_single=self.obeys_conditions)
        return Seat(rows, blobs, rows, self.peers[name])

    def stand_still(self, seat: Seat, *, still: bool) -> None:
        assert isinstance(seat.uploads, MemoryUploadStore)
        seat.uploads.beat(goes_on=not still)

    def kill(self, seat: Seat, *, power_cut: bool) -> None:
        """`power_cut`: the others know at once."""
        rows = seat.uploads
        assert isinstance(rows, MemoryUploadStore)
        rows.beat(goes_on=False)
        if power_cut:
            self.rows._table.silent[rows.node] -= timedelta(seconds=NODE_SECONDS)

    def close(self) -> None:
        self._merging.stop()

    # --- what lies in the bucket ---------------------------------------------------------------------------------

    def land(self, index: int) -> None:
        """A call that nobody waits for any more happens now."""
        work = self.wire.late.pop(index % len(self.wire.late))
        with suppress(S3Error):
            self.loop.do(_awaited(work))

    def content(self, upload: Upload) -> tuple[bytes, int]:
        """What the rows say is stored, as far as the bucket has it."""
        placement = upload.placement
        assert placement is not None
        there = self.bucket.objects.get(placement.key)
        multipart = self.bucket.multiparts.get(placement.multipart_id or "")
        # What is being put together may replace an earlier writer's object.
        if there is not None and (
            upload.status is UploadStatus.FINISHED or (upload.status is UploadStatus.COMPLETING and multipart is None)
        ):
            return there.content, len(there.content)
        if upload.status is UploadStatus.FINISHED:
            return b"", 0
        recorded = self.loop.do(self.uploads.assembly(upload.id))
        parts = {part.part_number: part for part in recorded.parts}
        content = b""
        while True:
            part = parts.get(len(content) // placement.part_bytes + 1)
            if len(content) % placement.part_bytes == 0 and part is not None:
                stored = None if multipart is None else multipart.parts.get(part.part_number)
                # As the assembler sees it: what lands twice is the same under another ETag, where ETags are no digests.
                is_same = stored is not None and (stored.etag == part.etag or stored.crc32c == part.crc32c)
                found = stored.content if stored is not None and is_same else b""
            else:
                keys = [piece for piece in recorded.pieces if piece.start == len(content)]
                keys.sort(key=lambda piece: piece.stop)
                found = (
                    self.bucket.objects[keys[-1].key].content if keys and keys[-1].key in self.bucket.objects else b""
                )
            if not found:
                break
            content += found
        return content, len(content)

    def stored_ids(self) -> set[str]:
        pieces = {f"piece {key}" for key in self.bucket.objects if key.startswith(f"{PREFIX}tmp/")}
        objects = {key.removeprefix(PREFIX) for key in self.bucket.objects if not key.startswith(f"{PREFIX}tmp/")}
        return pieces | objects | {f"multipart {multipart.key}" for multipart in self.bucket.multiparts.values()}


class LaxBucketWorld(BucketWorld):
    """A store that knows no conditions and no metadata, and whose ETags are no digests."""

    obeys_conditions = False


async def _awaited(work: Callable[[], Awaitable[object]]) -> None:
    await work()

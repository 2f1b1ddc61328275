"""Keys and buckets that `pre_create` chooses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from tests.contracts.rig import ManualClock
from tests.support.memory_bucket import MemoryBucket
from tests.uploads.asked import Asked
from tests.uploads.bodies import ScriptedBody
from tests.uploads.node import OPTIONS, POLICY
from tuspy_server.events.wakeup import LocalWakeup
from tuspy_server.model import Upload, UploadStatus
from tuspy_server.pages import PagePool
from tuspy_server.ports import Assembly, Creation, StoredPart, StoredPiece
from tuspy_server.protocol.creation import Create
from tuspy_server.protocol.errors import HookFailed, IdTaken, Refused
from tuspy_server.stores.memory.uploads import MemoryUploadStore
from tuspy_server.stores.s3.buckets import MOST_BUCKETS
from tuspy_server.stores.s3.crc import crc32c_of
from tuspy_server.stores.s3.keys import Keys
from tuspy_server.stores.s3.part_plan import PartPlan
from tuspy_server.stores.s3.store import S3BlobStore, S3StoreOptions
from tuspy_server.stores.s3.values import ObjectHeaders
from tuspy_server.uploads.lifecycle import Uploads
from tuspy_server.uploads.observer import NullObserver
from tuspy_server.uploads.whole_checksum import crc32c_of_whole, crc32c_text

SINGLE, PARTS = b"abcd", b"0123456789ab"


class OtherMemoryBucket(MemoryBucket):
    is_open = False

    async def open(self) -> None:
        await asyncio.sleep(0)
        assert not self.is_open
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False


@dataclass
class Place:
    asked: Asked = field(default_factory=Asked)
    own: MemoryBucket = field(default_factory=MemoryBucket)
    others: dict[str, OtherMemoryBucket] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows = MemoryUploadStore(ManualClock())
        pool = PagePool(16 << 20)
        options = S3StoreOptions(
            plan=PartPlan(part_bytes=4, deferred_part_bytes=4, most_part_bytes=4),
            keys=Keys(prefix="up/"),
            bucket="own-bucket",
        )
        self.blobs = S3BlobStore(self.own, pool, options, other=self._other)
        self.uploads = Uploads(
            store=self.rows,
            blobs=self.blobs,
            wakeup=LocalWakeup(),
            policy=POLICY,
            options=OPTIONS,
            head_wait_seconds=1,
            observer=NullObserver(),
            assemblies=self.rows,
            gate=self.asked,
        )

    def _other(self, name: str) -> OtherMemoryBucket:
        self.others[name] = OtherMemoryBucket()
        return self.others[name]

    async def create(self, content: bytes, *, length: int | None = None) -> Upload:
        create = Create(
            upload_length=length or len(content),
            upload_metadata=None,
            carries_body=True,
            most_bytes=40,
            checksum=None,
        )
        return await self.uploads.create(create, ScriptedBody.whole(content))

    async def read(self, upload: Upload) -> bytes:
        return b"".join([block async for block in self.blobs.read(upload, 0, upload.upload_offset)])


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    yield place
    await place.uploads.close(5)
    await place.blobs.close()
    assert not any(bucket.is_open for bucket in place.others.values())


@pytest.mark.parametrize("content", [SINGLE, PARTS, b""])
async def test_an_upload_lies_where_the_hook_wants_it(place: Place, content: bytes) -> None:
    place.asked.creation = Creation(bucket="other-bucket", key="eve/photo.png")
    upload = await place.create(content)
    assert upload.status is UploadStatus.FINISHED
    assert set(place.others["other-bucket"].objects) == {"up/eve/photo.png"}
    assert place.own.objects == {}
    assert await place.read(upload) == content
    assert place.asked.seen == [content]
    await place.rows.relay(100)
    data = [event.data for event in await place.rows.events(0, 100)][-1]
    assert (data["bucket"], data["key"]) == ("other-bucket", "up/eve/photo.png")
    assert data["etag"]
    assert data["checksum"] == crc32c_text(crc32c_of([memoryview(content)]))


async def test_the_checksum_of_parts_and_pieces_is_that_of_the_whole() -> None:
    content = bytes(range(256)) * 40
    part = StoredPart(part_number=2, part_bytes=4096, etag="", crc32c=crc32c_of([memoryview(content)[4096:8192]]))
    pieces = [
        StoredPiece(start=start, stop=stop, key="", crc32c=crc32c_of([memoryview(content)[start:stop]]))
        for start, stop in ((0, 1), (1, 4096), (8192, len(content)))
    ]
    assembly = Assembly(parts=[part], pieces=pieces)
    assert await crc32c_of_whole(assembly, 4096, len(content)) == crc32c_of([memoryview(content)])
    for known in (
        Assembly(parts=[replace(part, crc32c=None)], pieces=pieces),
        Assembly(parts=[part], pieces=pieces[:-1]),
    ):
        assert await crc32c_of_whole(known, 4096, len(content)) is None


async def test_without_a_wish_it_is_the_bucket_of_the_settings(place: Place) -> None:
    place.asked.creation = Creation(bucket="own-bucket")
    upload = await place.create(SINGLE)
    assert upload.placement is not None
    assert upload.placement.bucket is None
    assert set(place.own.objects) == {f"up/{upload.id}"}
    assert place.others == {}
    await place.rows.relay(100)
    assert {event.data["bucket"] for event in await place.rows.events(0, 100)} == {"own-bucket"}


async def test_what_is_not_finished_goes_from_the_other_bucket(place: Place) -> None:
    """I8: pieces, parts and the object."""
    place.asked.creation = Creation(bucket="other-bucket")
    unfinished = await place.create(PARTS[:7], length=12)
    assert place.others["other-bucket"].objects
    await place.uploads.terminate(unfinished.id)
    place.asked.answers = [Refused("no")]
    with pytest.raises(Refused):
        await place.create(PARTS)
    bucket = place.others["other-bucket"]
    assert (bucket.objects, bucket.multiparts) == ({}, {})


async def test_a_key_is_taken_once(place: Place) -> None:
    """(bucket, key) is unique; a finished object never changes."""
    place.asked.creation = Creation(key="photo.png")
    upload = await place.create(SINGLE)
    with pytest.raises(IdTaken):
        await place.create(PARTS)
    assert await place.read(upload) == SINGLE
    place.asked.creation = Creation(key="photo.png", bucket="other-bucket")
    assert (await place.create(PARTS)).status is UploadStatus.FINISHED
    assert await place.read(upload) == SINGLE


@pytest.mark.parametrize("content", [SINGLE, PARTS])
async def test_an_object_of_somebody_else_is_never_replaced(place: Place, content: bytes) -> None:
    """Not one of ours: no row names it."""
    theirs = [memoryview(b"theirs")]
    await place.own.put_object("up/theirs", theirs, crc32c=crc32c_of(theirs), headers=ObjectHeaders())
    place.asked.creation = Creation(key="theirs")
    with pytest.raises(IdTaken):
        await place.create(content)
    assert b"".join([block async for block in place.own.get_object("up/theirs", 0, 6)]) == b"theirs"
    assert await place.rows.count_by_status() == {}


@pytest.mark.parametrize("wish", [{"bucket": "No"}, {"bucket": "a/b"}, {"key": "../x"}, {"key": "tmp/x"}])
async def test_places_that_cannot_be(place: Place, wish: dict[str, str]) -> None:
    place.asked.creation = Creation(**wish)  # type: ignore[arg-type]
    with pytest.raises(HookFailed):
        await place.create(SINGLE)


async def test_there_are_only_so_many_buckets(place: Place) -> None:
    """I10: each has connections of its own."""
    for number in range(MOST_BUCKETS):
        place.asked.creation = Creation(bucket=f"bucket-{number}")
        await asyncio.gather(place.create(SINGLE), place.create(PARTS))
    assert len(place.others) == MOST_BUCKETS
    place.asked.creation = Creation(bucket="one-more")
    with pytest.raises(HookFailed):
        await place.create(SINGLE)
    place.asked.creation = Creation(bucket="bucket-0")
    await place.create(SINGLE)

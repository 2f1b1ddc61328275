"""Bytes of uploads in a bucket: parts of multipart uploads, pieces for what does not fill one, and finished objects."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from tuspy_server.model import Placement, Upload
from tuspy_server.pages import PagePool
from tuspy_server.ports import Assembly, Claimed, Cleanup
from tuspy_server.protocol.errors import BytesMissing, StorageFault
from tuspy_server.stores.s3.assembly import Assembler
from tuspy_server.stores.s3.bucket import Bucket
from tuspy_server.stores.s3.buckets import Buckets, OtherBucket
from tuspy_server.stores.s3.cache import FillCache
from tuspy_server.stores.s3.capabilities import Capabilities
from tuspy_server.stores.s3.cleaning import clean
from tuspy_server.stores.s3.crc import crc32c_of
from tuspy_server.stores.s3.errors import NoSuchKey, ObjectChanged, S3Error, translate
from tuspy_server.stores.s3.fill import Fill
from tuspy_server.stores.s3.keys import Keys
from tuspy_server.stores.s3.part_plan import PartPlan, check_length, part_number_at, part_start
from tuspy_server.stores.s3.pieces import chain, read_back, views_of
from tuspy_server.stores.s3.probing import probe_name
from tuspy_server.stores.s3.sending import Sender, Shared
from tuspy_server.stores.s3.values import ObjectHeaders
from tuspy_server.stores.s3.writer import S3Writer

LINK_SECONDS: Final = 300
_OWN_ID: Final = re.compile("[0-9a-f]{32}")
_PROBE: Final = b"tuspy-server writes this, reads it and deletes it to see that it can"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3StoreOptions:
    """How uploads lie in the bucket.

    Attributes:
        plan: how large parts are.
        keys: where everything is.
        bucket: its name.
        storage_seconds: how long a writer waits for calls that are under way.
        link_seconds: how long a link to an object works.
    """

    plan: PartPlan
    keys: Keys
    bucket: str | None = None
    storage_seconds: float = 300.0
    link_seconds: int = LINK_SECONDS


class S3BlobStore:
    """`ports.BlobStore` on a bucket. The client is opened and closed by whoever made it."""

    def __init__(
        self,
        bucket: Bucket,
        pool: PagePool,
        options: S3StoreOptions,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        other: Callable[[str], OtherBucket] | None = None,
    ) -> None:
        """`now`: for the dates in keys; `other`: makes other buckets that hooks have named, not opened yet."""
        self._bucket = bucket
        self._buckets = Buckets(bucket, options.bucket, other)
        self._pool = pool
        self._options = options
        self._copies_parts = True
        self._now = now
        self._shared = Shared(
            bucket=bucket,
            pool=pool,
            keys=options.keys,
            cache=FillCache(pool),
            storage_seconds=options.storage_seconds,
        )
        self._writers: WeakValueDictionary[str, S3Writer] = WeakValueDictionary()

    def adapt(self, capabilities: Capabilities) -> None:
        """Do without what the store cannot do."""
        fenced = capabilities.obeys_if_none_match and capabilities.keeps_metadata
        self._shared = replace(self._shared, puts_single=fenced)
        self._copies_parts = capabilities.copies_parts

    async def open(self) -> None:
        """See the port. The bucket is looked at by `check`, and by whoever calls `adapt`."""

    async def close(self) -> None:
        """See the port."""
        for writer in list(self._writers.values()):
            await writer.fence()
        self._shared.cache.clear()
        await self._buckets.close()

    @property
    def bucket(self) -> str | None:
        """See the port."""
        return self._options.bucket

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
    ) -> Placement:
        """See the port."""
        keys = self._options.keys
        if keys.pieces_prefix(upload_id) == keys.probes_prefix():
            raise ValueError("among the pieces of an upload of this id the server's own probes would be")
        # There an object that lies at the key is taken for ours: the key must hold 128 random bits.
        is_ours = key is None and _OWN_ID.fullmatch(upload_id)
        if not is_ours and not self._shared.puts_single:
            raise ValueError("this store ignores conditions: it takes no keys that a hook chooses")
        return Placement(
            key=keys.object_key(upload_id, self._now(), tenant) if key is None else keys.chosen_key(key),
            part_bytes=self._options.plan.part_bytes_for(upload_length),
            bucket=self._buckets.checked(bucket),
        )

    async def is_free(self, placement: Placement) -> bool:
        """See the port."""
        bucket = await self._bucket_of(placement)
        try:
            return await bucket.head_object(placement.key) is None
        except S3Error as error:
            raise translate(error) from error

    async def _shared_of(self, placement: Placement) -> Shared:
        if placement.bucket is None:
            return self._shared
        return replace(self._shared, bucket=await self._bucket_of(placement))

    async def _bucket_of(self, placement: Placement) -> Bucket:
        try:
            return await self._buckets.of(placement.bucket)
        except S3Error as error:
            raise translate(error) from error

    # --- writing --------------------------------------------------------------------------------------------------

    async def open_writer(self, claimed: Claimed, *, held_back: bool) -> S3Writer:
        """See the port. Surplus bytes are no concern here: nobody reads what no row names. Raises UploadTooLarge (413)
        where a length that was declared late needs more parts than S3 has."""
        upload, placement = claimed.upload, _placement_of(claimed.upload)
        if upload.writer is None:
            raise ValueError("the upload has not been claimed")
        check_length(upload.upload_length, placement.part_bytes)
        contested_to = max(placement.contested_to, await self._fence(upload.id))
        shared = await self._shared_of(placement)
        fill = await self._resumed(claimed, placement)
        writer = S3Writer(
            shared,
            upload,
            Sender(shared, upload, placement, upload.writer),
            fill,
            contested_to=contested_to,
            held_back=held_back,
        )
        self._writers[upload.id] = writer
        return writer

    async def _fence(self, upload_id: str) -> int:
        earlier = self._writers.pop(upload_id, None)
        return 0 if earlier is None else await earlier.fence()

    async def _resumed(self, claimed: Claimed, placement: Placement) -> Fill:
        """The part that holds the offset, filled up to it. What of it lies in pieces stays there as long as nobody
        needs it; but a piece that reaches past the offset has bytes that do not count, and is to be replaced."""
        upload, part_bytes = claimed.upload, placement.part_bytes
        number = part_number_at(upload.upload_offset, part_bytes)
        start = part_start(number, part_bytes)
        stop = start + part_bytes if upload.upload_length is None else min(start + part_bytes, upload.upload_length)
        pieces = chain(claimed.pieces, start, upload.upload_offset)
        fill = self._shared.cache.take(upload.id, pieces)
        if fill is not None and (fill.is_whole or not pieces or pieces[-1].stop == upload.upload_offset):
            fill.stop = stop
            fill.truncate(upload.upload_offset)
            return fill
        if fill is not None:
            fill.release()
        surplus = pieces.pop() if pieces and pieces[-1].stop > upload.upload_offset else None
        fill = Fill(self._pool, number, start, stop, pieces)
        if surplus is not None:
            count = surplus.stop - surplus.start
            pages = await self._pool.take_all(count)
            try:
                await read_back(await self._bucket_of(placement), surplus, views_of(pages, 0, count))
            except S3Error as error:
                _give_back(self._pool, pages)
                raise translate(error) from error
            except BaseException:
                _give_back(self._pool, pages)
                raise
            fill.append(pages, count)
            fill.truncate(upload.upload_offset)
        return fill

    async def assemble(self, upload: Upload, assembly: Assembly) -> str:
        """See the port."""
        placement = _placement_of(upload)
        bucket = await self._bucket_of(placement)
        try:
            return await Assembler(
                bucket,
                self._pool,
                upload,
                placement,
                assembly,
                copies_parts=self._copies_parts,
                keeps_metadata=self._shared.puts_single,
                key_is_chosen=_is_chosen(upload, placement),
            ).run()
        except S3Error as error:
            raise translate(error) from error

    # --- finished and ended uploads -------------------------------------------------------------------------------

    async def read(self, upload: Upload, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """See the port."""
        placement = _placement_of(upload)
        if start >= stop:
            return
        bucket = await self._bucket_of(placement)
        try:
            async for block in bucket.get_object(placement.key, start, stop, etag=placement.etag):
                yield block
        except (NoSuchKey, ObjectChanged) as error:
            raise BytesMissing from error
        except S3Error as error:
            raise translate(error) from error

    async def link(self, upload: Upload, headers: Mapping[str, str]) -> str | None:
        """See the port. S3 lets a link choose type and disposition alone."""
        chosen = {name.lower(): value for name, value in headers.items()}
        wanted = ObjectHeaders(
            content_type=chosen.get("content-type"), content_disposition=chosen.get("content-disposition")
        )
        placement = _placement_of(upload)
        bucket = await self._bucket_of(placement)
        try:
            return await bucket.presign_get(placement.key, self._options.link_seconds, wanted)
        except S3Error as error:
            raise translate(error) from error

    async def clean(self, cleanup: Cleanup) -> None:
        """See the port."""
        upload, placement = cleanup.upload, _placement_of(cleanup.upload)
        if await self._fence(upload.id):
            placement = replace(placement, unsettled=True)
        self._shared.cache.drop(upload.id)
        bucket = await self._bucket_of(placement)
        try:
            await clean(
                bucket,
                self._options.keys,
                cleanup,
                placement,
                keeps_metadata=self._shared.puts_single,
                key_is_chosen=_is_chosen(upload, placement),
            )
        except S3Error as error:
            raise translate(error) from error

    async def check(self) -> None:
        """See the port."""
        key = f"{self._options.keys.probes_prefix()}{probe_name()}ready"
        probe = memoryview(_PROBE)
        found = memoryview(bytearray(len(probe)))
        try:
            try:
                await self._bucket.put_object(key, [probe], crc32c=crc32c_of([probe]), headers=ObjectHeaders())
                await self._bucket.read_object(key, [found])
            finally:
                await self._bucket.delete_objects([key])
        except S3Error as error:
            raise translate(error) from error
        if found != probe:
            raise StorageFault


def _placement_of(upload: Upload) -> Placement:
    if upload.placement is None:
        raise BytesMissing  # made when the bytes were in local files
    return upload.placement


def _give_back(pool: PagePool, pages: list[memoryview]) -> None:
    for page in pages:
        pool.give_back(page)


def _is_chosen(upload: Upload, placement: Placement) -> bool:
    """Whether others may write to the key, too: a hook has chosen it, or the id in it."""
    return not (_OWN_ID.fullmatch(upload.id) and upload.id in placement.key)

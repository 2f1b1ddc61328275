"""Bytes of uploads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Protocol

from tuspy_server.model import Placement, Upload
from tuspy_server.ports.records import Assembly, Claimed, Cleanup, Stored


class BlobWriter(Protocol):
    """Takes the bytes of one request, in order, from the offset that it was opened at.

    Used as a receive buffer, like `asyncio.BufferedProtocol`: fill `buffer()`, then `advance()`. Bytes move to storage
    by themselves while the next ones arrive.

    Attributes:
        wants_commit: what the writer calls, often and cheaply, while it can take no more bytes before what
            `sync(flush=False)` has for it has been counted. Set by whoever commits.
        has_stored: what it calls, often and cheaply, when bytes have become durable by themselves, so that a client
            that falls silent after them does not keep them from being counted. Set by whoever commits.
    """

    wants_commit: Callable[[], None] | None
    has_stored: Callable[[], None] | None

    async def buffer(self) -> memoryview:
        """Room for the next bytes, at least one. Waits while storage is behind: that is the backpressure.

        Raises StorageFull (507) or StorageFault (503) if an earlier write failed, WriterFenced (423) if a later writer
        was opened, Overloaded (503) if the page pool stays empty.
        """
        ...

    def advance(self, count: int) -> None:
        """`count` bytes of the last buffer are filled; they are the store's now."""
        ...

    @property
    def unsettled(self) -> bool:
        """Whether the storage may hold something of this writer's that no `Stored` names, or calls of it are under way
        whose outcome is not known."""
        ...

    async def sync(self, *, flush: bool) -> Stored:
        """Make what was advanced so far durable; without `flush` only what the storage would not rather keep until more
        has come. What one call has returned the next does not return again. Raises as `buffer`; an object store
        raises an earlier failure of its own only with `flush`: what is durable all the same can be asked for
        without."""
        ...

    def counted(self, upload_offset: int) -> None:
        """A commit has counted all bytes before it: so much further may parts be on their way."""
        ...

    async def is_behind(self) -> bool:
        """The upload's last byte has been advanced: whether a commit of what `sync(flush=False)` now has would let
        `finish` store the last bytes with fewer calls. Waits until it is known, and there is something to commit."""
        ...

    async def finish(self) -> Stored:
        """The upload's last byte has been advanced: make everything durable, in its final place where a single call
        does that (`etag` is set then). Raises as `buffer`."""
        ...

    async def rollback(self, upload_offset: int) -> None:
        """Remove all bytes from `upload_offset` on; no more bytes may follow."""
        ...

    def close(self) -> None:
        """Let go of pages and handles, at once or as soon as a running write allows it. May be called twice."""
        ...


class BlobStore(Protocol):
    """Bytes of uploads."""

    async def open(self) -> None:
        """Get ready; raises a plain `OSError` that names what is missing."""
        ...

    async def close(self) -> None:
        """Wait for running calls, release threads."""
        ...

    @property
    def bucket(self) -> str | None:
        """Name of the bucket where uploads go that name no other; None where the storage has none."""
        ...

    def path(self, upload_id: str) -> Path | None:
        """The local file of an upload, to be read and never to be changed; None where the storage has no local
        files."""
        ...

    def place(
        self,
        upload_id: str,
        upload_length: int | None,
        *,
        tenant: str | None = None,
        key: str | None = None,
        bucket: str | None = None,
    ) -> Placement | None:
        """Where a new upload's bytes are to lie; None where the id says it. No I/O.

        Args:
            upload_id: see `UPLOAD_ID`.
            upload_length: bytes; None while deferred.
            tenant: whose it is.
            key: of the finished object, below the prefix of the settings, in place of that of the template.
            bucket: in place of that of the settings.

        Raises UploadTooLarge (413) if the storage cannot take that length, ValueError where it has no keys or no other
        buckets, or where the key would lead to something else.
        """
        ...

    async def is_free(self, placement: Placement) -> bool:
        """Whether nothing lies where a finished object is to be whose key somebody has chosen."""
        ...

    async def open_writer(self, claimed: Claimed, *, held_back: bool) -> BlobWriter:
        """Open for appending at the row's offset, with surplus bytes of earlier requests removed.

        `held_back`: the bytes count only as a whole, once they have been verified: until `sync` or `finish` nothing of
        them may reach a place where a later request's bytes belong.

        Every earlier writer of the upload in this process is fenced first: its running call is awaited, its later ones
        raise. Raises BytesMissing if fewer bytes are stored than the row counts: the upload cannot go on.
        """
        ...

    async def assemble(self, upload: Upload, assembly: Assembly) -> str:
        """Put a `completing` upload's object in its place; returns its etag. Done already is success.

        Raises BytesMissing if neither the parts nor the object are there; TryLater where a later try may succeed.
        """
        ...

    def read(self, upload: Upload, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Bytes `[start, stop)` of a finished upload, in blocks. Raises BytesMissing if they are not there."""
        ...

    async def link(self, upload: Upload, headers: Mapping[str, str]) -> str | None:
        """A URL that gives a finished upload to whoever has it, for a short time, with these response headers; None
        where the storage has none."""
        ...

    async def clean(self, cleanup: Cleanup) -> None:
        """Fence writers; remove what the upload's status says is not to be there. Nothing to remove is success."""
        ...

    async def check(self) -> None:
        """Write, make durable, read back and delete a probe. Raises StorageFull or StorageFault."""
        ...

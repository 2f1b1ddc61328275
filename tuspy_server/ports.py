"""What the lifecycle needs from the outside: the ports, with their contracts in prose.

Adapters in `stores/` implement them; `tests/contracts/` holds one suite a port that every adapter passes. An adapter
translates its driver's errors once, at its edge, into `tuspy_server.protocol.errors`; what it cannot name it lets pass.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from tuspy_server.model import Event, EventType, Upload, UploadStatus


class Clock(Protocol):
    """The time of day, for adapters that have no database server to ask."""

    def now(self) -> datetime:
        """Aware UTC instant."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """How long an unfinished upload is kept.

    Attributes:
        idle_seconds: from the last commit.
        cap_seconds: from the creation, however often bytes arrive (fault R05: tiny PATCHes as keep-alive).
    """

    idle_seconds: float
    cap_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDraft:
    """An event before its transaction gives it a time."""

    id: str
    type: EventType
    upload_id: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUpload:
    """A row to insert, with offset 0. `writer` is set where the POST itself carries the first bytes."""

    id: str
    upload_length: int | None
    upload_metadata: str | None
    writer: str | None
    lifetime: Lifetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The wish of one PATCH to become the writer.

    Attributes:
        upload_offset: must equal the row's.
        body_bytes: bytes that the request says it carries, from `Content-Length`; 0 where it does not say.
        declared_length: `Upload-Length` of the request, or None.
    """

    upload_id: str
    writer: str
    upload_offset: int
    body_bytes: int
    declared_length: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Bytes that became durable, to be counted if `writer` still holds the upload.

    Attributes:
        upload_offset: the new offset, never below the row's.
        upload_length: set where this request declares a deferred length; None leaves it as it is.
        release: whether `writer` is cleared by the same statement.
        lifetime: slides the expiry; None leaves the upload without one.
    """

    upload_id: str
    writer: str
    upload_offset: int
    upload_length: int | None
    release: bool
    lifetime: Lifetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The end of an upload other than its finish: terminated or failed (expiry has a statement of its own).

    Attributes:
        writer: where set, only that writer may end it (a stale one changes nothing).
    """

    upload_id: str
    status: UploadStatus
    event: EventDraft
    writer: str | None = None


DraftEvent = Callable[[Upload], EventDraft]
"""Makes the event of an upload that a bulk statement has just ended."""


class UploadStore(Protocol):
    """Rows of uploads, and their events in the same transactions. The row is the truth: storage never decides an
    offset.

    Every method is one transaction. All times are the store's own. A method that raises has changed nothing, or (where
    the connection was lost in the commit) what it did is seen by the next `get`. Raises `StoreUnavailable` (503) for
    trouble that passes, `StorageFull` (507) when nothing more can be written.
    """

    async def open(self) -> None:
        """Bring the schema up to date and clear the writers that a crash of this node left behind."""
        ...

    async def close(self) -> None:
        """Release connections and threads; waits for statements under way."""
        ...

    async def create(self, new: NewUpload, event: EventDraft) -> Upload:
        """Insert an upload in status uploading, with its event."""
        ...

    async def get(self, upload_id: str) -> Upload | None:
        """The row, without any lock; None if there is none."""
        ...

    async def claim(self, claim: Claim) -> Upload | None:
        """Make `claim.writer` the writer, in one statement, if the row is uploading, not expired, at the offset,
        and has
        room: `upload_offset + body_bytes` within the known or declared length, and a known length not redeclared as
        another. The newest claim wins over any earlier writer. None where one of these does not hold."""
        ...

    async def commit(self, commit: Commit) -> Upload | None:
        """Count durable bytes. None if `commit.writer` is not the writer of an uploading row: it is stale, and nothing
        has changed. Never lowers the offset."""
        ...

    async def finish(self, commit: Commit, event: EventDraft) -> Upload | None:
        """Set status finished with offset = length = `commit.upload_offset`, clear the writer and the expiry, and write
        the event, all fenced as in `commit`. None if stale."""
        ...

    async def end(self, ending: Ending) -> Upload | None:
        """Set a final status by the table of transitions, clear the writer, write the event and a cleanup row. Returns
        the row as it is now; None where the table or the fence forbids it."""
        ...

    async def expired(self, limit: int) -> Sequence[Upload]:
        """Uploading rows past their expiry that no writer holds, oldest first; changes nothing."""
        ...

    async def expire(self, draft: DraftEvent, limit: int) -> Sequence[Upload]:
        """Set status expired on such rows, each with its event and a cleanup row, in one transaction."""
        ...

    async def cleanups(self, limit: int) -> Sequence[str]:
        """Ids of ended uploads whose bytes may still be stored, oldest first."""
        ...

    async def cleaned(self, upload_ids: Sequence[str]) -> None:
        """Drop their cleanup rows: nothing is stored for them any more."""
        ...

    async def purge(self, *, gone_seconds: float, event_seconds: float, unrelayed: bool, limit: int) -> int:
        """Delete rows that have been gone for `gone_seconds` and have no cleanup row, and events older than
        `event_seconds` that no delivery waits for; those that no relay has handed on only with `unrelayed`. Returns how
        many uploads and events went."""
        ...

    async def release_writers(self, held: Set[str]) -> int:
        """Clear this node's writers that are not in `held`: no request stands behind them (one was lost with its
        commit's outcome). Returns how many."""
        ...

    async def count_by_status(self) -> Mapping[UploadStatus, int]:
        """How many rows each status has; statuses without rows may be absent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event on its way to one consumer. `attempt` counts from 1."""

    event: Event
    consumer: str
    attempt: int


class Outbox(Protocol):
    """Committed events, and their way to consumers. No reader skips a committed event, whenever it was committed."""

    async def relay(self, consumers: Mapping[str, Set[EventType]], limit: int) -> int:
        """Number the events that have no position yet, in one order for all readers, and make a delivery for each
        consumer that wants the event's type. Returns how many events were numbered."""
        ...

    async def lease(self, consumers: Sequence[str], limit: int, lease_seconds: float) -> Sequence[Delivery]:
        """Deliveries that are due, oldest first, hidden from other leases for `lease_seconds`. Events of one upload
        come to one consumer in their order: a later one waits until the earlier one is delivered or dead."""
        ...

    async def delivered(self, delivery: Delivery) -> None:
        """Mark it done; it is not handed out again."""
        ...

    async def retry(self, delivery: Delivery, delay_seconds: float, error: str) -> None:
        """Hand it out again after `delay_seconds`, with the next attempt number."""
        ...

    async def bury(self, delivery: Delivery, error: str) -> None:
        """Give it up: kept as dead for people to see, never handed out again by itself."""
        ...

    async def next_due_seconds(self, consumers: Sequence[str]) -> float | None:
        """Seconds until the next lease can return something (0 or less: now); None if nothing waits."""
        ...

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """Numbered events with a position above `after`, in order."""
        ...


class Wakeup(Protocol):
    """Tells the relay that events were committed. A hint: a slow poll finds what a lost one would have told."""

    def notify(self) -> None:
        """Some events may have been committed."""
        ...

    async def wait(self, most_seconds: float) -> None:
        """Return soon after the next `notify`, or one since the last `wait`; after `most_seconds` in any case."""
        ...


class BodySource(Protocol):
    """The body of one request."""

    @property
    def delivers_trailers(self) -> bool:
        """Whether `trailers` tells what came behind a chunked body, apart from the headers."""
        ...

    @property
    def trailers(self) -> Sequence[tuple[bytes, bytes]]:
        """Lower-case names with values, complete once `readinto` has returned 0."""
        ...

    async def readinto(self, buffer: memoryview) -> int:
        """Put the next bytes into `buffer`, at least one; 0 at the end of the body.

        Raises ClientDisconnected if the client went away before the end. Cancelled calls lose no byte that a later call
        would have given, but no later call need follow.
        """
        ...


BODY_EXTENSION: Final = "tuspy.body"
"""Key in ASGI's `scope["extensions"]` where our own HTTP protocol class gives the `BodySource` of a request."""


class BlobWriter(Protocol):
    """Takes the bytes of one request, in order, from the offset that it was opened at.

    Used as a receive buffer, like `asyncio.BufferedProtocol`: fill `buffer()`, then `advance()`. Bytes move to storage
    by themselves while the next ones arrive.
    """

    async def buffer(self) -> memoryview:
        """Room for the next bytes, at least one. Waits while storage is behind: that is the backpressure.

        Raises StorageFull (507) or StorageFault (503) if an earlier write failed, WriterFenced (423) if a later writer
        was opened, Overloaded (503) if the page pool stays empty.
        """
        ...

    def advance(self, count: int) -> None:
        """`count` bytes of the last buffer are filled; they are the store's now."""
        ...

    async def sync(self) -> int:
        """Make everything advanced so far durable. Returns the offset up to which all bytes are. Raises as `buffer`."""
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

    async def open_writer(self, upload_id: str, upload_offset: int) -> BlobWriter:
        """Open for appending at `upload_offset`, with surplus bytes of earlier requests removed.

        Every earlier writer of the upload is fenced first: its running call is awaited, its later ones raise.
        Raises BytesMissing if fewer than `upload_offset` bytes are stored: the upload cannot go on.
        """
        ...

    def read(self, upload_id: str, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Bytes `[start, stop)` of a finished upload, in blocks. Raises BytesMissing if they are not there."""
        ...

    async def delete(self, upload_id: str) -> None:
        """Fence writers, remove all bytes; nothing to remove is success."""
        ...

    async def check(self) -> None:
        """Write, make durable, read back and delete a probe. Raises StorageFull or StorageFault."""
        ...

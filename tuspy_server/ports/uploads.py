"""Rows of uploads: the truth about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Protocol

from tuspy_server.model import Upload, UploadStatus
from tuspy_server.ports.records import (
    Assembly,
    Claim,
    Claimed,
    Cleanup,
    Commit,
    DraftEvent,
    Ending,
    EventDraft,
    NewUpload,
)


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
        """Insert an upload in status uploading, with its event. An id is taken for as long as a row or an event has
        it."""
        ...

    async def get(self, upload_id: str) -> Upload | None:
        """The row, without any lock; None if there is none."""
        ...

    async def claim(self, claim: Claim) -> Claimed | None:
        """Make `claim.writer` the writer, in one statement, if the row is uploading, not expired, at the offset, and
        has room: `upload_offset + body_bytes` within the known or declared length, and a known length not redeclared as
        another; none of it above `most_bytes`. The newest claim wins over any earlier writer; over one that had not let
        go it marks the placement unsettled, and contests the parts from that of the offset to `PARTS_IN_FLIGHT` after
        it, as that number was where the earlier writer runs. None where one of these does not hold."""
        ...

    async def commit(self, commit: Commit) -> Upload | None:
        """Count durable bytes. None if `commit.writer` is not the writer of an uploading row: it is stale, and nothing
        has changed. Never lowers the offset."""
        ...

    async def finish(self, commit: Commit, event: EventDraft) -> Upload | None:
        """Set status finished with offset = length = `commit.upload_offset`, clear the writer and the expiry, record
        the etag, and write the event, all fenced as in `commit`, from `uploading` or `completing`. With a cleanup row
        where the upload has pieces or is unsettled. None if stale."""
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

    async def cleanups(self, limit: int) -> Sequence[Cleanup]:
        """Ended uploads whose bytes may still be stored and whose cleanup is due, oldest first."""
        ...

    async def cleaned(self, upload_ids: Sequence[str]) -> None:
        """Nothing is stored for them any more: drop their cleanup rows, with the rows of parts and pieces. One that was
        unsettled comes again once, when the storage's own deadline has passed: a call that was under way may have
        landed since."""
        ...

    async def purge(self, *, gone_seconds: float, event_seconds: float, limit: int) -> int:
        """Delete rows that have been gone for `gone_seconds` and have no cleanup row and no job, and numbered events
        older than `event_seconds` that no delivery waits for. Returns how many uploads and events went."""
        ...

    async def release_writers(self, held: Callable[[], Set[str]]) -> int:
        """Clear the writers of `uploading` rows that no request stands behind: this node's that are not in `held`,
        asked after they have been read (one was lost with its commit's outcome), and those of nodes whose heart has
        stopped. Returns how many."""
        ...

    async def count_by_status(self) -> Mapping[UploadStatus, int]:
        """How many rows each status has; statuses without rows may be absent."""
        ...

    async def has_any(self) -> bool:
        """Whether there is a row, of whatever status; at no more cost where there are millions."""
        ...


class Assemblies(Protocol):
    """Uploads whose storage needs calls after their last byte: rows in status completing. Only a store that is used
    with an object store has them."""

    async def complete(self, commit: Commit) -> Upload | None:
        """Set status completing, fenced as in `commit`: every byte is durable, and `commit.writer` stays, as the one
        who puts the upload together. The length is `commit.upload_length`, or the row's; the visible offset
        `commit.upload_offset`, below it; the expiry slides as in `commit`. None if stale."""
        ...

    async def assembly(self, upload_id: str) -> Assembly:
        """What `complete` and the commits before it have recorded."""
        ...

    async def adopt(self, writer: str, upload_id: str | None, held: Set[str]) -> Upload | None:
        """Make `writer` the one who puts a completing upload together whose own is gone: none, one of a node whose
        heart has stopped, or one of this node that is not in `held`. That upload, or the oldest such; None where there
        is none."""
        ...

    async def cleanup(self, upload_id: str) -> Cleanup | None:
        """What `cleanups` would tell of one upload; None where nothing is due."""
        ...

    async def tried(self, upload_id: str, writer: str) -> int:
        """Count one more failed try of `writer` to put an upload together; returns how many it has had."""
        ...

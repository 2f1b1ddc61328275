"""What must be true of every upload, kept as a book beside the server: which bytes were counted, and whose they were.

I2 in its exact form: whenever a transaction moves an upload's offset from o to o', the bytes [o, o') are those that
the request holding the writer sent for these positions; they never change again, and the finished object is their
concatenation.
"""

from __future__ import annotations

import asyncio
import contextvars
from dataclasses import dataclass, field
from typing import Any

from tests.uploads.bodies import ScriptedBody
from tests.uploads.worlds import World
from tuspy_server.model import EventType, Upload, UploadStatus, event_id
from tuspy_server.ports import Commit

current_request: contextvars.ContextVar[Request] = contextvars.ContextVar("current_request")


@dataclass(eq=False)
class Request:
    """One request as its client sees it."""

    kind: str
    body: ScriptedBody
    upload_id: str | None = None
    start: int = 0
    planned: bytes = b""
    chunked: bool = False
    checksum: str = "none"
    counted_bytes: int = 0
    cancelled: bool = False
    task: asyncio.Task[Any] | None = None
    answer: str = "none yet"
    node: object = None
    steps: int = 0


@dataclass
class Entry:
    """One upload. `counted` is what its object must begin with."""

    upload_id: str
    length: int | None
    creator: Request
    counted: bytearray = field(default_factory=bytearray)
    known: bool = False
    delete_asked: bool = False
    highest_shown: int = 0
    was_finished: bool = False
    whole: bytes | None = None
    end: UploadStatus | None = None


class Book:
    """The witness of all stores. Complaints are collected, not raised: the server may swallow errors."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._requests: dict[str, Request] = {}
        self.entries: dict[str, Entry] = {}
        self.complaints: list[str] = []
        self.asked: dict[str, list[bytes]] | None = None
        """What `pre_finish` has seen of each upload; None where nobody asks."""

    # --- the witness ---------------------------------------------------------------------------------------------

    def created(self, upload: Upload) -> None:
        request = current_request.get()
        request.upload_id = upload.id
        self.entries[upload.id] = Entry(upload.id, upload.upload_length, request)
        self.claimed(upload)

    def claimed(self, upload: Upload) -> None:
        if upload.writer is not None:
            self._requests[upload.writer] = current_request.get()

    def counted(self, commit: Commit, upload: Upload) -> None:
        entry = self.entries[upload.id]
        if entry.whole is None:
            self._count(entry, self._requests[commit.writer], upload, upload.upload_offset)
        elif upload.status is not UploadStatus.FINISHED or upload.upload_offset != len(entry.whole):
            self.complain(f"{upload.status} at {upload.upload_offset} after completing")
        else:
            entry.counted = bytearray(entry.whole)
        if upload.status is UploadStatus.FINISHED:
            entry.was_finished = True
            content, durable_bytes = self._world.content(upload)
            if content != bytes(entry.counted) or durable_bytes != len(content):
                self.complain(f"I7: finished with {content!r} ({durable_bytes} durable), not {bytes(entry.counted)!r}")

    def completing(self, commit: Commit, upload: Upload) -> None:
        """Every byte counts from here on; the last of them are shown with the finish."""
        entry = self.entries[upload.id]
        assert upload.upload_length is not None
        self._count(entry, self._requests[commit.writer], upload, upload.upload_length)
        entry.whole = bytes(entry.counted)
        del entry.counted[upload.upload_offset :]

    def _count(self, entry: Entry, request: Request, upload: Upload, after: int) -> None:
        before = len(entry.counted)
        if after < before:
            self.complain(f"I3: the offset fell from {before} to {after}")
        if after > before:
            sent = request.body.sent[before - request.start : after - request.start]
            if before < request.start or len(sent) != after - before:
                self.complain(f"I2: [{before}, {after}) was counted, which its writer did not send")
            entry.counted += sent
            request.counted_bytes += after - before
        if entry.length not in (None, upload.upload_length):
            self.complain(f"the length changed from {entry.length} to {upload.upload_length}")
        entry.length = upload.upload_length
        if upload.status is not UploadStatus.UPLOADING and not request.body.ended:
            self.complain("N07: finished by a body whose end has not come")

    def ended(self, upload: Upload) -> None:
        entry = self.entries[upload.id]
        entry.end = upload.status
        if upload.status is UploadStatus.FAILED:
            self.complain("I1: the upload failed, though no storage has lost a byte")
        if upload.status is UploadStatus.TERMINATED and entry.known and not entry.delete_asked:
            self.complain("terminated, though nobody asked for it")

    # --- the judge -----------------------------------------------------------------------------------------------

    def complain(self, complaint: str) -> None:
        self.complaints.append(complaint)

    def shown(self, upload_id: str, offset: int) -> None:
        """Some client has been told this offset."""
        entry = self.entries[upload_id]
        entry.highest_shown = max(entry.highest_shown, offset)
        if offset > len(entry.counted):
            self.complain(f"I3: offset {offset} was shown, {len(entry.counted)} bytes are counted")

    def check_rows(self) -> None:
        """I1, I2, I3, I7 and the rule of the finish, for every upload as it stands."""
        for entry in self.entries.values():
            row = self._world.loop.do(self._world.uploads.get(entry.upload_id))
            if row is None:
                self.complain("the row is gone")
            elif row.status in (UploadStatus.UPLOADING, UploadStatus.COMPLETING, UploadStatus.FINISHED):
                self._check_live(entry, row)
            elif row.status is not entry.end:
                self.complain(f"the row is {row.status}, which nobody has seen happen")

    def _check_live(self, entry: Entry, row: Upload) -> None:
        content, durable_bytes = self._world.content(row)
        offset = row.upload_offset
        if offset != len(entry.counted) or offset < entry.highest_shown:
            self.complain(f"I1: the offset is {offset}, {len(entry.counted)} counted, {entry.highest_shown} shown")
        if durable_bytes < offset:
            self.complain(f"I3: the offset is {offset}, {durable_bytes} bytes are durable")
        if content[:offset] != entry.counted:
            self.complain(f"I2: {bytes(entry.counted)!r} was counted, {content[:offset]!r} is stored")
        if row.status is UploadStatus.FINISHED and self.asked is not None and content not in self.asked.get(row.id, []):
            self.complain(f"finished with {content!r}, which pre_finish has not seen")
        if row.status is UploadStatus.COMPLETING and content != entry.whole:
            self.complain(f"I1: {entry.whole!r} is to be put together, {content!r} is stored")
        if row.status is UploadStatus.FINISHED and (len(content) != row.upload_length or offset != row.upload_length):
            self.complain(f"I7: finished at {row.upload_length}, {len(content)} bytes are stored")
        if row.status is UploadStatus.UPLOADING and row.upload_length and offset >= row.upload_length:
            self.complain("the offset reached the length before the finish")
        if row.status is UploadStatus.UPLOADING and row.upload_length == 0 and entry.known:
            self.complain("a zero-length upload that its client takes for done is not finished")
        if row.is_expired and row.status is UploadStatus.FINISHED:
            self.complain("a finished upload expired")

    def check_events(self) -> None:
        """I6 and I7: exactly the finished uploads have a finished event, one, under its one id."""
        outbox = self._world.outbox
        while self._world.loop.do(outbox.relay(1000)):
            pass
        events = self._world.loop.do(outbox.events(0, 100_000))
        finished = sorted(event.id for event in events if event.type is EventType.FINISHED)
        due = [event_id(entry.upload_id, EventType.FINISHED) for entry in self.entries.values() if entry.was_finished]
        if finished != sorted(due):
            self.complain(f"I6: {len(finished)} finished events for {len(due)} finished uploads")
        if len({event.id for event in events}) != len(events):
            self.complain("I6: an event id occurs twice")

"""`ports.Gate` as tests want it: one that says what it is told to, and one for the machines."""

from __future__ import annotations

import asyncio

from tests.uploads.book import Book
from tests.uploads.gates import Gates
from tuspy_server.access import RequestContext
from tuspy_server.model import Upload
from tuspy_server.ports import Creation, OpenGate, Proposal, StoredUpload
from tuspy_server.protocol.errors import BytesMissing, HookFailed


class Asked:
    """Lets all pass until a test puts something else into `creation` or `answers`.

    Attributes:
        answers: what the next calls of `pre_finish` and `pre_terminate` raise, or do, one after the other; None passes.
        open: while it is not set, `pre_finish` does not answer.
        seen: bytes of the uploads that `pre_finish` was asked about.
    """

    def __init__(self) -> None:
        self.creation = Creation()
        self.refusal: Exception | None = None
        self.answers: list[Exception | None] = []
        self.proposals: list[Proposal] = []
        self.stored: list[StoredUpload] = []
        self.terminated: list[tuple[Upload, RequestContext]] = []
        self.seen: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()

    asks_before_finish = True

    async def pre_create(self, proposal: Proposal) -> Creation:
        self.proposals.append(proposal)
        if self.refusal is not None:
            raise self.refusal
        return self.creation

    async def pre_finish(self, stored: StoredUpload) -> None:
        self.stored.append(stored)
        assert stored.upload.upload_length is not None
        self.seen.append(b"".join([block async for block in stored.read(0, stored.upload.upload_length)]))
        await self.open.wait()
        self._answer()

    async def pre_terminate(self, upload: Upload, request: RequestContext) -> None:
        self.terminated.append((upload, request))
        self._answer()

    def _answer(self) -> None:
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer


class AskedBook(OpenGate):
    """Notes the bytes that `pre_finish` sees; its calls stop and fail at gates, like those of stores."""

    def __init__(self, gates: Gates, book: Book) -> None:
        self._gates = gates
        self._book = book
        if book.asked is None:
            book.asked = {}

    @property
    def asks_before_finish(self) -> bool:
        return True

    async def pre_finish(self, stored: StoredUpload) -> None:
        assert self._book.asked is not None
        length = stored.upload.upload_length
        if length is None:
            raise AssertionError("asked before the length is known")
        try:
            content = b"".join([block async for block in stored.read(0, length)])
        except BytesMissing as error:  # a later writer has replaced the object
            raise HookFailed from error
        if len(content) != length:
            self._book.complain(f"pre_finish sees {content!r} of {length} bytes")
        self._book.asked.setdefault(stored.upload.id, []).append(content)
        await self._gates.call("pre_finish", nothing)


async def nothing() -> None:
    pass

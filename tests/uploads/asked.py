"""`ports.Gate` that says what a test wants, and remembers what it was asked."""

from __future__ import annotations

import asyncio

from tuspy_server.access import RequestContext
from tuspy_server.model import Upload
from tuspy_server.ports import Creation, Proposal, StoredUpload


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

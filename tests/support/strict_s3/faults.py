"""What can go wrong with one call, each a class; `plan.py` says which call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tests.support.strict_s3.answers import Answer, of_error
from tests.support.strict_s3.errors import Cut, S3Error
from tests.support.strict_s3.operations import Call

Stage: TypeAlias = Literal["before_body", "before_apply", "after_apply"]
"""Before a byte of the body is read; when it has been read, and nothing done; when all is done but the answer."""


class Fault:
    """Does nothing, at each place where one may do something."""

    cut_body_after_bytes: int | None = None

    async def at(self, stage: Stage, call: Call) -> None:
        """May wait, or raise what is answered instead."""

    def body(self, body: bytes) -> bytes:
        """The bytes that came in, before they are checked."""
        return body

    def stored(self, body: bytes) -> bytes:
        """The bytes that were found good, before they are stored."""
        return body

    def parts(self, numbers: list[int]) -> list[int]:
        """What ListParts lists."""
        return numbers

    def refusal(self, key: str) -> str | None:
        """The code of DeleteObjects for one key."""
        return None

    def answer(self, answer: Answer) -> Answer:
        """What goes out."""
        return answer


@dataclass
class Status(Fault):
    """An error of the store; `after_apply`: it has done what was asked all the same (S01)."""

    status: int
    code: str = "InternalError"
    stage: Stage = "before_body"

    async def at(self, stage: Stage, call: Call) -> None:
        if stage == self.stage:
            raise S3Error(self.status, self.code, "a fault that the test asked for")


@dataclass
class Delay(Fault):
    """Later than the client would like."""

    seconds: float
    stage: Stage = "before_apply"

    async def at(self, stage: Stage, call: Call) -> None:
        if stage == self.stage:
            await asyncio.sleep(self.seconds)


@dataclass
class Hold(Fault):
    """Waits until the test lets it go on, also when the client has gone: so a fenced writer's call lands late (S07)."""

    stage: Stage = "before_apply"
    _reached: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _released: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _done: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    status: int = field(default=0, init=False)
    """Of the answer, once done."""

    async def reached(self, seconds: float = 30) -> None:
        """A call waits here.

        Raises:
            TimeoutError: none came in time.
        """
        async with asyncio.timeout(seconds):
            await self._reached.wait()

    def release(self) -> None:
        """It goes on, and so do all that come later."""
        self._released.set()

    async def done(self, seconds: float = 30) -> int:
        """It has gone on to its end; its status.

        Raises:
            TimeoutError: not in time.
        """
        async with asyncio.timeout(seconds):
            await self._done.wait()
        return self.status

    async def at(self, stage: Stage, call: Call) -> None:
        if stage == self.stage:
            self._reached.set()
            await self._released.wait()

    def ended(self, status: int) -> None:
        self.status = status
        self._done.set()


@dataclass
class Stall(Fault):
    """Never an answer; `before_body`, not a byte is read either (S04)."""

    stage: Stage = "before_body"

    async def at(self, stage: Stage, call: Call) -> None:
        if stage == self.stage:
            await asyncio.Event().wait()


@dataclass
class LoseAnswer(Fault):
    """All is done, and the connection cut (S02, S06)."""

    stage: Stage = "after_apply"

    async def at(self, stage: Stage, call: Call) -> None:
        if stage == self.stage:
            raise Cut


@dataclass
class CutBody(Fault):
    """The connection is cut when this many bytes of the body have come, and nothing is done (S03)."""

    after_bytes: int

    def __post_init__(self) -> None:
        self.cut_body_after_bytes = self.after_bytes


@dataclass
class ErrorInOk(Fault):
    """200, with an `<Error>` for a body; not applied, unless it says so (S05)."""

    code: str = "InternalError"
    applied: bool = False

    async def at(self, stage: Stage, call: Call) -> None:
        if stage == "before_apply" and not self.applied:
            raise S3Error(200, self.code, "a fault that the test asked for")

    def answer(self, answer: Answer) -> Answer:
        error = of_error(S3Error(200, self.code))
        return error if self.applied else answer


@dataclass
class FlipIn(Fault):
    """One byte of the body is another one when it arrives; or when it is stored, with all checks passed (S14)."""

    offset: int = 0
    checked: bool = False

    def body(self, body: bytes) -> bytes:
        return body if self.checked else flipped(body, self.offset)

    def stored(self, body: bytes) -> bytes:
        return flipped(body, self.offset) if self.checked else body


@dataclass
class FlipOut(Fault):
    """One byte of the answer's body is another one (S14)."""

    offset: int = 0

    def answer(self, answer: Answer) -> Answer:
        answer.length = len(answer.body) if answer.length is None else answer.length
        answer.chunks = self._flipped(_chunks_of(answer))
        return answer

    async def _flipped(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        position = 0
        async for chunk in chunks:
            at = self.offset - position
            position += len(chunk)
            yield flipped(chunk, at) if 0 <= at < len(chunk) else chunk


@dataclass
class CutAnswer(Fault):
    """The answer says its whole length, and is cut after this many bytes of body."""

    after_bytes: int

    def answer(self, answer: Answer) -> Answer:
        answer.length = len(answer.body) if answer.length is None else answer.length
        answer.chunks = self._cut(_chunks_of(answer))
        return answer

    async def _cut(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        left = self.after_bytes
        async for chunk in chunks:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                raise Cut


@dataclass
class HideParts(Fault):
    """ListParts does not have the newest parts yet (S09)."""

    newest: int = 1

    def parts(self, numbers: list[int]) -> list[int]:
        return numbers[: max(len(numbers) - self.newest, 0)]


@dataclass
class RefuseKeys(Fault):
    """DeleteObjects is answered 200, with an error for each of these keys."""

    keys: Collection[str]
    code: str = "AccessDenied"

    def refusal(self, key: str) -> str | None:
        return self.code if key in self.keys else None


def flipped(body: bytes, offset: int) -> bytes:
    return body[:offset] + bytes([body[offset] ^ 0xFF]) + body[offset + 1 :]


def _chunks_of(answer: Answer) -> AsyncIterator[bytes]:
    return _once(answer.body) if answer.chunks is None else answer.chunks


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body

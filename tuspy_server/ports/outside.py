"""The clock, the request, and the other nodes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from tuspy_server.model import Upload


class Clock(Protocol):
    """The time of day, for adapters that have no database server to ask."""

    def now(self) -> datetime:
        """Aware UTC instant."""
        ...


class Wakeup(Protocol):
    """Tells the relay that events were committed here, or numbered by another node. A hint: a slow poll finds what a
    lost one would have told."""

    def notify(self) -> None:
        """Some events may have been committed."""
        ...

    async def wait(self, most_seconds: float) -> bool:
        """Return soon after the next `notify` or the word of another node, or one since the last `wait`; after
        `most_seconds` in any case. False where nothing is to be numbered, as another node has done it."""
        ...


class Peers(Protocol):
    """The other nodes that serve the same rows."""

    async def ask(self, upload: Upload, most_seconds: float) -> None:
        """Have the node `upload.writer_node` commit what that writer holds. Returns when it has said that it has, or
        after `most_seconds`."""
        ...

    def answer_with(self, answer: Callable[[str, str], Awaitable[None]]) -> None:
        """What to call, with upload id and writer, when another node asks this one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an upload has come: a fact of the moment, never stored.

    Attributes:
        upload_offset: committed, so that a HEAD shows no less (I1).
        bytes_per_second: of late; None where nothing is known yet.
    """

    upload_id: str
    upload_offset: int
    upload_length: int | None
    tenant: str | None
    job_id: str | None
    bytes_per_second: float | None


class ProgressBus(Protocol):
    """Tells the other nodes how uploads come on here. All of it may be lost."""

    def publish(self, progress: Progress) -> None:
        """At once and without waiting; a later one of the same upload takes the place of an earlier one that has not
        gone out yet. Goes nowhere while no other node watches."""
        ...

    def watch(self, heard: Callable[[Progress], None] | None) -> None:
        """Call `heard` with what other nodes publish from now on; None to stop. Synchronously; it returns at once."""
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

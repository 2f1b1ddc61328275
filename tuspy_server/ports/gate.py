"""Those who are asked before something happens to an upload, and may refuse it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tuspy_server.access import RequestContext
from tuspy_server.model import Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An upload that somebody wants to make.

    Attributes:
        request: who asks, and how.
        upload_length: bytes; None while deferred.
        upload_metadata: raw.
        metadata: parsed, as text.
        job_id: the job that it is to belong to.
    """

    request: RequestContext
    upload_length: int | None
    upload_metadata: str | None
    metadata: Mapping[str, str]
    job_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """What `pre_create` wants of a new upload; None leaves a thing as it would be.

    Attributes:
        id: of letters, digits, `_` and `-`, 1 to 64 of them.
        key: of the finished object, below the prefix of the settings (object stores).
        bucket: another bucket than that of the settings (object stores).
        most_bytes: the longest that the upload may become.
        types: media types of which the declared one must be, such as `image/png` or `image/*`.
        expires_seconds: its own time from the last byte to its expiry.
        trusted_metadata: facts that go into events, and that no client can send or see; JSON-compatible.
        tenant: in place of that of the grant; not of an upload of a job.
    """

    id: str | None = None
    key: str | None = None
    bucket: str | None = None
    most_bytes: int | None = None
    types: tuple[str, ...] | None = None
    expires_seconds: float | None = None
    trusted_metadata: Mapping[str, Any] = field(default_factory=dict)
    tenant: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredUpload:
    """An upload whose bytes are all stored, and which is not finished yet.

    Attributes:
        upload: its length is known; its status is not finished.
        read: `read(start, stop)` gives bytes of it, in blocks.
        path: of the local file, where there is one; to be read, never to be changed.
        request: that has brought the last bytes; None where nobody waits for it any more: after a crash, or on another
            node.
    """

    upload: Upload
    read: Callable[[int, int], AsyncGenerator[bytes, None]]
    path: Path | None
    request: RequestContext | None = None


class Gate(Protocol):
    """Asked by the lifecycle, each time before the change. Whatever it raises is the client's answer, and nothing has
    changed; `Refused` carries a status and a text of its own. An answer that takes too long is `HookFailed` (500)."""

    async def pre_create(self, proposal: Proposal) -> Creation:
        """Whether and how the upload may be made."""
        ...

    async def pre_finish(self, stored: StoredUpload) -> None:
        """Whether the whole of it may be finished. `Refused`: the upload fails, and its bytes go. Anything else that is
        raised leaves it as it is: it is asked again when the client or the sweeper tries again. May be asked again also
        after a crash, or by two nodes at once."""
        ...

    async def pre_terminate(self, upload: Upload, request: RequestContext) -> None:
        """Whether a client may remove it."""
        ...

    @property
    def asks_before_finish(self) -> bool:
        """Whether `pre_finish` does anything."""
        ...


class OpenGate:
    """Lets everything pass."""

    @property
    def asks_before_finish(self) -> bool:
        """See `Gate`."""
        return False

    async def pre_create(self, proposal: Proposal) -> Creation:
        """See `Gate`."""
        return Creation()

    async def pre_finish(self, stored: StoredUpload) -> None:
        """See `Gate`."""

    async def pre_terminate(self, upload: Upload, request: RequestContext) -> None:
        """See `Gate`."""

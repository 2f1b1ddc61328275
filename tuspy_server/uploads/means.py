"""What the lifecycle works with, joined once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from tuspy_server.access import EVERYTHING, Grant, RequestContext
from tuspy_server.model import Upload
from tuspy_server.ports import Assemblies, BlobStore, Gate, Lifetime, Stored, StoredUpload, UploadStore
from tuspy_server.protocol.errors import UploadNotFound
from tuspy_server.uploads.drafts import Drafts, whole
from tuspy_server.uploads.observer import Observer

NO_CAP_SECONDS: Final = 100 * 365 * 86_400.0
"""Of uploads that a hook lets expire where the settings do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendOptions:
    """Times of the body path, in seconds; see the settings of the same names."""

    commit_interval_seconds: float
    body_idle_seconds: float
    storage_seconds: float
    lifetime: Lifetime | None

    def lifetime_of(self, idle_seconds: float | None) -> Lifetime | None:
        """Of an upload with an idle time of its own, or without one."""
        if idle_seconds is None:
            return self.lifetime
        cap_seconds = NO_CAP_SECONDS if self.lifetime is None else self.lifetime.cap_seconds
        return Lifetime(idle_seconds=idle_seconds, cap_seconds=cap_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """The ports and options of one lifecycle.

    Attributes:
        assemblies: where the storage works on after the last byte; None elsewhere.
        gate: who is asked before anything happens.
    """

    store: UploadStore
    assemblies: Assemblies | None
    blobs: BlobStore
    gate: Gate
    drafts: Drafts
    options: AppendOptions
    observer: Observer

    async def find(self, upload_id: str, grant: Grant = EVERYTHING) -> Upload:
        """See `Uploads`."""
        upload = await self.store.get(upload_id)
        if upload is None or not grant.reaches(upload.tenant):
            raise UploadNotFound
        return upload

    async def ask_before_finish(
        self, upload: Upload, upload_length: int, stored: Stored | None, request: RequestContext | None
    ) -> None:
        """Whether an upload may be finished whose bytes are all `stored`; `request`: that has brought the last of them.

        Raises:
            Refused: with the hook's status; the upload is to fail. TusError: what else the hook says; nothing has
                changed, and it is to be asked again.
        """
        if not self.gate.asks_before_finish:
            return
        told = replace(whole(upload, upload_length, stored), upload_offset=upload.upload_offset)
        read = partial(self.blobs.read, told)
        path = self.blobs.path(upload.id)
        await self.gate.pre_finish(StoredUpload(upload=told, read=read, path=path, request=request))

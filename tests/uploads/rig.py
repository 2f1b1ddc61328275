"""The lifecycle over in-memory stores behind gates, for tests that tell one story."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.contracts.rig import ManualClock
from tests.uploads.asked import Asked
from tests.uploads.bodies import ScriptedBody
from tests.uploads.gated import GatedBlobStore, GatedUploadStore
from tests.uploads.gates import Gate, Gates, Trap, When
from tests.uploads.node import YEARS
from tuspy_server.events.wakeup import LocalWakeup
from tuspy_server.model import Upload
from tuspy_server.ports import Commit, Lifetime
from tuspy_server.protocol.checksum import Checksum
from tuspy_server.protocol.core import Patch
from tuspy_server.protocol.creation import Create
from tuspy_server.protocol.policy import Policy
from tuspy_server.stores.memory.blobs import MemoryBlobStore
from tuspy_server.stores.memory.uploads import MemoryUploadStore
from tuspy_server.uploads.lifecycle import Uploads
from tuspy_server.uploads.means import AppendOptions
from tuspy_server.uploads.observer import NullObserver
from tuspy_server.uploads.sweeper import Sweeper

Result = TypeVar("Result")


class NoWitness:
    def created(self, upload: Upload) -> None: ...

    def claimed(self, upload: Upload) -> None: ...

    def counted(self, commit: Commit, upload: Upload) -> None: ...

    def completing(self, commit: Commit, upload: Upload) -> None: ...

    def ended(self, upload: Upload) -> None: ...


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait for a condition; a deadline, not a guess, ends it."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  (what is waited for has no event of its own)
            await asyncio.sleep(0.001)


def sha1(content: bytes) -> Checksum:
    return Checksum("sha1", hashlib.sha1(content).digest())


class LifecycleRig:
    """`commit_seconds` is long by default: commits then come when a test asks by HEAD, or at the end of a body."""

    def __init__(
        self,
        *,
        commit_seconds: float = 1000,
        idle_seconds: float = 1000,
        storage_seconds: float = 1000,
        head_seconds: float = 10,
        lifetime: Lifetime | None = None,
        checksum_max_bytes: int = 100,
        gate: Asked | None = None,
        finish_wait_seconds: float = 25,
    ) -> None:
        self.clock = ManualClock()
        self.rows = MemoryUploadStore(self.clock)
        self.blobs = MemoryBlobStore()
        self.gates = Gates()
        store = GatedUploadStore(self.rows, self.gates, NoWitness())
        wakeup, observer = LocalWakeup(), NullObserver()
        self.uploads = Uploads(
            store=store,
            blobs=GatedBlobStore(self.blobs, self.gates),
            wakeup=wakeup,
            policy=Policy(
                tus_max_size=1000,
                max_header_bytes=1 << 14,
                max_metadata_bytes=1 << 12,
                checksum_max_bytes=checksum_max_bytes,
                expiration=lifetime is not None,
            ),
            options=AppendOptions(
                commit_interval_seconds=commit_seconds,
                body_idle_seconds=idle_seconds,
                storage_seconds=storage_seconds,
                lifetime=lifetime,
            ),
            head_wait_seconds=head_seconds,
            observer=observer,
            gate=gate,
            job_by_metadata=True,
            finish_wait_seconds=finish_wait_seconds,
        )
        self.sweeper = Sweeper(
            self.uploads,
            store,
            wakeup,
            observer,
            gone_seconds=YEARS,
            event_seconds=YEARS,
        )
        self._tasks: list[asyncio.Task[Any]] = []

    async def close(self) -> None:
        self.gates.open_all()
        await self.uploads.close(5)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def begin(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    # --- requests ------------------------------------------------------------------------------------------------

    async def create(
        self, length: int | None, body: ScriptedBody | None = None, checksum: Checksum | None = None
    ) -> Upload:
        create = Create(
            upload_length=length,
            upload_metadata=None,
            carries_body=body is not None,
            most_bytes=1000 if length is None else length,
            checksum=checksum,
        )
        return await self.uploads.create(create, body or ScriptedBody.whole(b""))

    async def patch(
        self,
        upload: Upload,
        offset: int,
        body: ScriptedBody | bytes,
        *,
        declares: int | None = None,
        checksum: Checksum | None = None,
    ) -> Upload:
        """A body given as bytes has a Content-Length, a scripted one is chunked."""
        source = body if isinstance(body, ScriptedBody) else ScriptedBody.whole(body)
        patch = Patch(
            upload_offset=offset,
            body_bytes=len(body) if isinstance(body, bytes) else None,
            declared_length=declares,
            checksum=checksum,
        )
        return await self.uploads.append(upload.id, patch, source)

    async def running(self, upload: Upload, offset: int, content: bytes) -> tuple[ScriptedBody, asyncio.Task[Upload]]:
        """A PATCH whose first bytes have been taken and whose others are yet to come."""
        body = ScriptedBody(content)
        task = self.begin(self.patch(upload, offset, body))
        await until(lambda: body.taken_bytes == len(content))
        return body, task

    async def row(self, upload: Upload) -> Upload:
        row = await self.rows.get(upload.id)
        assert row is not None
        return row

    def now(self, upload: Upload) -> Upload:
        """The row, for a condition that is looked at again and again."""
        return self.rows._table.uploads[upload.id]

    def stored(self, upload: Upload) -> bytes:
        blob = self.blobs.blobs.get(upload.id)
        return b"" if blob is None else bytes(blob.content)

    # --- faults --------------------------------------------------------------------------------------------------

    def fail(self, call: str, when: When, error: Callable[[], Exception]) -> None:
        """The next call of this name fails."""
        self.gates.traps.append(Trap(call, when, error))

    def hold(self, call: str, when: When) -> None:
        """The next call of this name stops."""
        self.gates.traps.append(Trap(call, when))

    async def held(self, count: int = 1) -> Gate:
        """The call that was to stop, once it has."""
        await until(lambda: len(self.gates.waiting) == count)
        return self.gates.waiting[-1]

"""The life of uploads over the ports: create, append, look, terminate. The only place that orders storage writes and
database commits."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

import structlog

from tuspy_server.access import EVERYTHING, Grant, RequestContext
from tuspy_server.model import Upload, UploadStatus
from tuspy_server.ports import (
    Assemblies,
    BlobStore,
    BodySource,
    Cleanup,
    Gate,
    NewFile,
    OpenGate,
    Peers,
    Proposal,
    UploadStore,
    Wakeup,
)
from tuspy_server.protocol.core import Patch
from tuspy_server.protocol.creation import Create
from tuspy_server.protocol.errors import (
    Draining,
    Refused,
    UploadBusy,
    UploadGone,
)
from tuspy_server.protocol.policy import Policy
from tuspy_server.protocol.termination import decide_terminate
from tuspy_server.uploads.appending import Appending
from tuspy_server.uploads.bodies import Bodies, NoBody
from tuspy_server.uploads.creating import Creating
from tuspy_server.uploads.drafts import Drafts
from tuspy_server.uploads.ending import Endings
from tuspy_server.uploads.finishing import Finishing
from tuspy_server.uploads.means import AppendOptions, Means
from tuspy_server.uploads.observer import Observer
from tuspy_server.uploads.planning import Planning
from tuspy_server.uploads.tasks import Tasks

log = structlog.get_logger("tuspy_server.uploads")

Result = TypeVar("Result")

OURSELVES: Final = RequestContext(method="POST", path="/")
"""Who asks where no request does: the application itself."""


class Uploads:
    """Every operation on uploads. One instance a process; all its methods may run at once."""

    def __init__(
        self,
        *,
        store: UploadStore,
        blobs: BlobStore,
        wakeup: Wakeup,
        policy: Policy,
        options: AppendOptions,
        head_wait_seconds: float,
        observer: Observer,
        assemblies: Assemblies | None = None,
        peers: Peers | None = None,
        finish_wait_seconds: float = 25.0,
        gate: Gate | None = None,
        job_by_metadata: bool = False,
    ) -> None:
        """`assemblies`: where the storage works on after the last byte; `peers`: where other nodes serve the same rows;
        `finish_wait_seconds`: how long a request waits for such work; `gate`: who is asked first, where anybody is;
        `job_by_metadata`: whether an upload may join a job by its metadata."""
        self.policy = policy
        self.drafts = Drafts(blobs.bucket)
        self._head_wait_seconds = head_wait_seconds
        self._means = means = Means(
            store=store,
            assemblies=assemblies,
            blobs=blobs,
            gate=gate or OpenGate(),
            drafts=self.drafts,
            options=options,
            observer=observer,
        )
        self._tasks = Tasks()
        self._bodies = Bodies(means)
        self._planning = Planning(means)
        self._endings = Endings(means, self._bodies, wakeup)
        self._draining = False
        self._peers = peers
        self._finishing = Finishing(means, wakeup, lambda: self.held_writers) if assemblies is not None else None
        self._appending = Appending(
            means,
            policy,
            self._bodies,
            self._endings,
            self._finishing,
            wakeup,
            tasks=self._tasks,
            finish_wait_seconds=finish_wait_seconds,
        )
        self._creating = Creating(
            means,
            self._planning,
            self._bodies,
            self._appending,
            self._endings,
            wakeup,
            job_by_metadata=job_by_metadata,
        )
        if peers is not None:
            peers.answer_with(self._commit_held)

    @property
    def held_writers(self) -> frozenset[str]:
        """Writers that a request of this process has, or is about to have."""
        writers = frozenset(self._bodies.writers)
        return writers if self._finishing is None else writers | self._finishing.writers

    async def create(self, create: Create, source: BodySource, request: RequestContext = OURSELVES) -> Upload:
        """Make an upload, and append what the request carries. Zero-length uploads finish here. `pre_create` is asked
        before anything is stored, and before a byte of the body is read.

        A body that the client may mend by PATCH (it stalled, the server drains) still makes the upload, at the offset
        reached; any other failed body takes the upload with it, since the client never learns its URL.

        Raises:
            TusError: what the client is to be told. ClientDisconnected: nobody is left to be told.
        """
        self._refuse_when_draining()
        return await self._to_the_end(self._creating.create(create, source, request), source)

    async def prepare(self, proposal: Proposal) -> NewFile:
        """The row and the event of an upload that is to be made, as the settings and `pre_create` want it; nothing is
        stored. Raises as `Planning.plan`; UploadTooLarge (413) past `Tus-Max-Size`."""
        if proposal.upload_length is not None:
            self.policy.check_length(proposal.upload_length)
        return (await self._planning.plan(proposal)).file

    async def append(
        self,
        upload_id: str,
        patch: Patch,
        source: BodySource,
        grant: Grant = EVERYTHING,
        request: RequestContext | None = None,
    ) -> Upload:
        """Take the body of a PATCH. No byte of it is read before the claim. `request`: what `pre_finish` is told of it.

        Raises:
            TusError: what the client is to be told; what came before it is committed.
            ClientDisconnected: nobody is left to be told.
        """
        self._refuse_when_draining()
        return await self._to_the_end(self._appending.append(upload_id, patch, source, grant, request), source)

    async def finish_empty(self, upload_id: str) -> Upload:
        """Finish an upload of length 0 that nobody will send anything for: one of a job. Quiet where it has ended, or
        is refused by `pre_finish`. Returns it as it then is.

        Raises:
            UploadNotFound: 404. TusError: it is not finished now, and another try may do it.
        """
        patch = Patch(upload_offset=0, body_bytes=0, declared_length=None, checksum=None)
        with suppress(UploadGone, Refused):
            return await self.append(upload_id, patch, NoBody())
        return await self.find(upload_id)

    async def look(self, upload_id: str, grant: Grant = EVERYTHING) -> Upload:
        """The upload as HEAD shows it. A running body is asked to commit what it holds, for at most
        `head_wait_seconds`; it goes on undisturbed.

        Raises:
            UploadNotFound: 404, unknown or out of the grant. TusError: `pre_finish` gives no answer.
        """
        upload = await self.find(upload_id, grant)
        running = self._bodies.of(upload_id)
        if running is not None and running.writer == upload.writer:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._head_wait_seconds):
                    await running.commit_now()
            upload = await self.find(upload_id)
        elif upload.status is UploadStatus.UPLOADING and upload.writer_node is not None and self._peers is not None:
            await self._peers.ask(upload, self._head_wait_seconds)
            upload = await self.find(upload_id)
        elif upload.upload_length == 0 and upload.status is UploadStatus.UPLOADING and not upload.is_expired:
            # Offset = length would say that it is finished.
            upload = await self.finish_empty(upload_id)
        # The body that was asked may have been the last.
        if upload.status is UploadStatus.COMPLETING:
            with suppress(Refused):
                await self._appending.wait_for_finish(upload_id)
            upload = await self.find(upload_id)
        return upload

    async def find(self, upload_id: str, grant: Grant = EVERYTHING) -> Upload:
        """The upload as last committed; disturbs nobody.

        Raises:
            UploadNotFound: 404, unknown or out of the grant (I9: nobody can tell which).
        """
        return await self._means.find(upload_id, grant)

    async def terminate(self, upload_id: str, request: RequestContext | None = None) -> None:
        """Remove an upload, unfinished or finished, and its bytes. A running body is ended first. `request`: of the
        client that wants it, for which `pre_terminate` is asked; None where the application does.

        Raises:
            UploadNotFound: 404. UploadGone: 410. UploadBusy: 423, it is being finished. TusError: the hook's.
        """
        await self._to_the_end(self._terminate(upload_id, request))

    async def cancel(self, upload_id: str) -> bool:
        """Terminate it unless it has ended, or finishes meanwhile: False then. Nobody is asked.

        Raises:
            UploadBusy: 423, it is still being finished.
        """
        return await self._to_the_end(self._cancel(upload_id))

    async def remove_bytes(self, cleanup: Cleanup) -> bool:
        """Delete what an ended upload is not to have stored, and its cleanup row. False if storage failed: a sweep
        tries again."""
        return await self._endings.remove_bytes(cleanup)

    async def recover(self) -> None:
        """Let go of writers that nobody stands behind; take over the uploads that are to be put together and whose
        finisher is gone."""
        await self._means.store.release_writers(lambda: self.held_writers)
        while self._finishing is not None and await self._finishing.adopt():
            pass

    def drain(self) -> None:
        """Take no more bodies; end the running ones where they are. May be called twice."""
        self._draining = True
        if self._finishing is not None:
            self._finishing.drain()
        self._bodies.drain()

    async def close(self, deadline_seconds: float) -> None:
        """Drain, and wait until everything that has begun has ended."""
        self.drain()
        closing = [self._tasks.close(deadline_seconds)]
        if self._finishing is not None:
            closing.append(self._finishing.close(deadline_seconds))
        await asyncio.gather(*closing)

    # --- in tasks of their own -----------------------------------------------------------------------------------

    async def _to_the_end(self, work: Coroutine[Any, Any, Result], source: BodySource | None = None) -> Result:
        """A cancelled request stops its own body, which then commits what it has; nothing is cancelled halfway."""
        task = self._tasks.start(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if source is not None:
                self._bodies.stop(source)
            raise

    async def _terminate(self, upload_id: str, request: RequestContext | None) -> None:
        upload = await self.find(upload_id, EVERYTHING if request is None else request.grant)
        if upload.status is UploadStatus.COMPLETING:
            with suppress(Refused):
                await self._appending.wait_for_finish(upload_id)
            upload = await self.find(upload_id)
        decide_terminate(upload)
        if request is not None:
            await self._means.gate.pre_terminate(upload, request)
        if not await self._endings.terminate(upload_id, unfinished=upload.status is not UploadStatus.FINISHED):
            upload = await self.find(upload_id)
            decide_terminate(upload)
            if upload.status is not UploadStatus.FINISHED:
                raise UploadBusy
            # It has finished meanwhile, which is another question to the hook; after that nothing but its end comes.
            await self._terminate(upload_id, request)

    async def _cancel(self, upload_id: str) -> bool:
        if (await self.find(upload_id)).status is UploadStatus.COMPLETING:
            with suppress(Refused):
                await self._appending.wait_for_finish(upload_id)
        if await self._endings.terminate(upload_id, unfinished=True):
            return True
        if (await self.find(upload_id)).status in (UploadStatus.UPLOADING, UploadStatus.COMPLETING):
            raise UploadBusy
        return False

    async def _commit_held(self, upload_id: str, writer: str) -> None:
        """Another node asks for what a writer of this one holds. One that no request stands behind is let go."""
        running = self._bodies.of(upload_id)
        if running is not None and running.writer == writer:
            await running.commit_now()
        elif writer not in self.held_writers:
            await self._means.store.release_writers(lambda: self.held_writers)

    def _refuse_when_draining(self) -> None:
        if self._draining:
            raise Draining

"""The life of uploads over the ports: create, append, look, terminate. The only place that orders storage writes and
database commits."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

import structlog

from tuspy_server.model import EventType, Upload, UploadStatus
from tuspy_server.ports import (
    Assemblies,
    BlobStore,
    BodySource,
    Claim,
    Claimed,
    Cleanup,
    Ending,
    NewUpload,
    Peers,
    UploadStore,
    Wakeup,
)
from tuspy_server.protocol.core import Acknowledge, Patch, decide_patch
from tuspy_server.protocol.creation import Create
from tuspy_server.protocol.errors import (
    BodyStalled,
    Draining,
    TryLater,
    TusError,
    UploadBusy,
    UploadGone,
    UploadNotFound,
)
from tuspy_server.protocol.policy import Policy
from tuspy_server.protocol.termination import decide_terminate
from tuspy_server.uploads.append import AppendOptions, RunningAppend
from tuspy_server.uploads.bodies import Bodies
from tuspy_server.uploads.drafts import draft_event, draft_for
from tuspy_server.uploads.finishing import Finishing
from tuspy_server.uploads.observer import Observer
from tuspy_server.uploads.tasks import Tasks

log = structlog.get_logger("tuspy_server.uploads")

Result = TypeVar("Result")

CLAIM_TRIES: Final = 3
"""A claim that fails although the row allows it has met a change between the two statements; then it is tried again."""


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
    ) -> None:
        """`assemblies`: where the storage works on after the last byte; `peers`: where other nodes serve the same rows;
        `finish_wait_seconds`: how long a request waits for such work."""
        self.policy = policy
        self._store = store
        self._blobs = blobs
        self._wakeup = wakeup
        self._options = options
        self._head_wait_seconds = head_wait_seconds
        self._observer = observer
        self._tasks = Tasks()
        self._bodies = Bodies(store=store, assemblies=assemblies, blobs=blobs, options=options, observer=observer)
        self._draining = False
        self._peers = peers
        self._finish_wait_seconds = finish_wait_seconds
        self._finishing = None
        if assemblies is not None:
            self._finishing = Finishing(
                store=store, assemblies=assemblies, blobs=blobs, wakeup=wakeup, held=lambda: self.held_writers
            )
        if peers is not None:
            peers.answer_with(self._commit_held)

    @property
    def held_writers(self) -> frozenset[str]:
        """Writers that a request of this process has, or is about to have."""
        writers = frozenset(self._bodies.writers)
        return writers if self._finishing is None else writers | self._finishing.writers

    async def create(self, create: Create, source: BodySource) -> Upload:
        """Make an upload, and append what the request carries. Zero-length uploads finish here.

        A body that the client may mend by PATCH (it stalled, the server drains) still makes the upload, at the offset
        reached; any other failed body takes the upload with it, since the client never learns its URL.

        Raises:
            TusError: what the client is to be told. ClientDisconnected: nobody is left to be told.
        """
        self._refuse_when_draining()
        return await self._to_the_end(self._create(create, source), source)

    async def append(self, upload_id: str, patch: Patch, source: BodySource) -> Upload:
        """Take the body of a PATCH. No byte of it is read before the claim.

        Raises:
            TusError: what the client is to be told; what came before it is committed.
            ClientDisconnected: nobody is left to be told.
        """
        self._refuse_when_draining()
        return await self._to_the_end(self._append(upload_id, patch, source), source)

    async def look(self, upload_id: str) -> Upload:
        """The upload as HEAD shows it. A running body is asked to commit what it holds, for at most
        `head_wait_seconds`; it goes on undisturbed.

        Raises:
            UploadNotFound: 404.
        """
        upload = await self.find(upload_id)
        running = self._bodies.of(upload_id)
        if running is not None and running.writer == upload.writer:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._head_wait_seconds):
                    await running.commit_now()
            upload = await self.find(upload_id)
        elif upload.status is UploadStatus.UPLOADING and upload.writer_node is not None and self._peers is not None:
            await self._peers.ask(upload, self._head_wait_seconds)
            upload = await self.find(upload_id)
        # The body that was asked may have been the last.
        if upload.status is UploadStatus.COMPLETING:
            await self._wait_for_finish(upload_id)
            upload = await self.find(upload_id)
        return upload

    async def find(self, upload_id: str) -> Upload:
        """The upload as last committed; disturbs nobody.

        Raises:
            UploadNotFound: 404.
        """
        upload = await self._store.get(upload_id)
        if upload is None:
            raise UploadNotFound
        return upload

    async def terminate(self, upload_id: str) -> None:
        """Remove an upload, unfinished or finished, and its bytes. A running body is ended first.

        Raises:
            UploadNotFound: 404. UploadGone: 410. UploadBusy: 423, it is being finished.
        """
        await self._to_the_end(self._terminate(upload_id))

    async def remove_bytes(self, cleanup: Cleanup) -> bool:
        """Delete what an ended upload is not to have stored, and its cleanup row. False if storage failed: a sweep
        tries again."""
        upload_id = cleanup.upload.id
        running = self._bodies.of(upload_id)
        try:
            if running is not None:
                running.stop(UploadGone())
                async with asyncio.timeout(self._options.storage_seconds):
                    await running.ended.wait()
            await self._blobs.clean(cleanup)
            await self._store.cleaned([upload_id])
        except (TimeoutError, TryLater) as error:
            log.warning("upload.cleanup.failed", upload_id=upload_id, reason=type(error).__name__)
            return False
        return True

    async def recover(self) -> None:
        """Let go of writers that nobody stands behind; take over the uploads that are to be put together and whose
        finisher is gone."""
        await self._store.release_writers(lambda: self.held_writers)
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

    async def _create(self, create: Create, source: BodySource) -> Upload:
        upload_id = secrets.token_hex(16)
        event = draft_event(
            EventType.CREATED,
            upload_id,
            upload_offset=0,
            upload_length=create.upload_length,
            upload_metadata=create.upload_metadata,
        )
        takes_body = create.carries_body or create.upload_length == 0
        writer = self._bodies.new_writer() if takes_body else None
        try:
            upload = await self._store.create(
                NewUpload(
                    id=upload_id,
                    upload_length=create.upload_length,
                    upload_metadata=create.upload_metadata,
                    writer=writer,
                    lifetime=self._options.lifetime,
                    placement=self._blobs.place(upload_id, create.upload_length, create.upload_metadata),
                ),
                event,
            )
            log.info("upload.created", upload_id=upload_id, upload_length=create.upload_length)
            if writer is None:
                return upload
            return await self._run(*self._bodies.register(Claimed(upload=upload), create.append, source))
        except Exception as error:  # whatever it was, the upload that nobody knows of must not stay
            # Nothing is left to PATCH where the length is 0: a 201 would say that it is finished.
            # One that is being finished will be finished, whether or not its client can learn of it.
            passes = isinstance(error, BodyStalled | Draining | UploadBusy)
            if passes and create.upload_length != 0:
                return await self.find(upload_id)
            with suppress(TusError):
                await self._end(upload_id)
            raise
        finally:
            self._bodies.forget(writer or "")
            self._wakeup.notify()

    async def _append(self, upload_id: str, patch: Patch, source: BodySource) -> Upload:
        writer = self._bodies.new_writer()
        try:
            async with self._bodies.turn(upload_id):
                claimed = await self._claim(upload_id, writer, patch)
                decision = decide_patch(patch, claimed.upload, self.policy)
                if isinstance(decision, Acknowledge):
                    return decision.upload
                running, predecessor = self._bodies.register(claimed, decision, source)
            return await self._run(running, predecessor)
        finally:
            self._bodies.forget(writer)
            self._wakeup.notify()

    async def _claim(self, upload_id: str, writer: str, patch: Patch) -> Claimed:
        """The row, claimed; or one that is finished already and to be acknowledged as it is."""
        claim = Claim(
            upload_id=upload_id,
            writer=writer,
            upload_offset=patch.upload_offset,
            body_bytes=patch.body_bytes or 0,
            declared_length=patch.declared_length,
        )
        for _ in range(CLAIM_TRIES):
            claimed = await self._store.claim(claim)
            if claimed is not None:
                return claimed
            upload = await self.find(upload_id)
            if upload.status is UploadStatus.COMPLETING:
                await self._wait_for_finish(upload_id)
                upload = await self.find(upload_id)
            if isinstance(decide_patch(patch, upload, self.policy), Acknowledge):
                return Claimed(upload=upload)
        raise UploadBusy

    async def _wait_for_finish(self, upload_id: str) -> None:
        if self._finishing is not None:
            await self._finishing.wait(upload_id, self._finish_wait_seconds)

    async def _run(self, running: RunningAppend, predecessor: RunningAppend | None) -> Upload:
        return await self._finished(await self._bodies.run(running, predecessor), running)

    async def _finished(self, upload: Upload, running: RunningAppend) -> Upload:
        """What the request that brought the last bytes is to say of the upload."""
        if self._finishing is None:
            return upload
        if upload.status is UploadStatus.FINISHED and running.leaves_pieces:
            self._tasks.start(self._finishing.clean(upload.id))
        if upload.status is UploadStatus.COMPLETING:
            self._finishing.begin(upload)
            await self._finishing.wait(upload.id, self._finish_wait_seconds)
            upload = await self.find(upload.id)
            if upload.status is UploadStatus.COMPLETING:
                raise UploadBusy
            if upload.is_gone:
                raise UploadGone
        return upload

    async def _terminate(self, upload_id: str) -> None:
        if (await self.find(upload_id)).status is UploadStatus.COMPLETING:
            await self._wait_for_finish(upload_id)
        decide_terminate(await self.find(upload_id))
        if not await self._end(upload_id):
            decide_terminate(await self.find(upload_id))
            raise UploadBusy

    async def _end(self, upload_id: str) -> bool:
        upload = await self._store.get(upload_id)
        if upload is None:
            return False
        event = draft_for(EventType.TERMINATED, upload)
        ending = Ending(upload_id=upload_id, status=UploadStatus.TERMINATED, event=event)
        async with self._bodies.turn(upload_id):
            ended = await self._store.end(ending)
        if ended is None:
            return False
        log.info("upload.terminated", upload_id=upload_id)
        self._wakeup.notify()
        await self.remove_bytes(Cleanup(upload=ended))
        return True

    async def _commit_held(self, upload_id: str, writer: str) -> None:
        """Another node asks for what a writer of this one holds. One that no request stands behind is let go."""
        running = self._bodies.of(upload_id)
        if running is not None and running.writer == writer:
            await running.commit_now()
        elif writer not in self.held_writers:
            await self._store.release_writers(lambda: self.held_writers)

    def _refuse_when_draining(self) -> None:
        if self._draining:
            raise Draining

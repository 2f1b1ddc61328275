"""A body from its claim to what its client is told: the last one waits for the finish."""

from __future__ import annotations

import asyncio
from typing import Final

from tuspy_server.access import Grant, RequestContext
from tuspy_server.model import Upload, UploadStatus
from tuspy_server.ports import BodySource, Claim, Claimed, Cleanup, Wakeup
from tuspy_server.protocol.core import Acknowledge, Patch, decide_patch
from tuspy_server.protocol.errors import UploadBusy, UploadGone
from tuspy_server.protocol.policy import Policy
from tuspy_server.uploads.append import RunningAppend
from tuspy_server.uploads.bodies import Bodies
from tuspy_server.uploads.ending import Endings
from tuspy_server.uploads.finishing import Finishing
from tuspy_server.uploads.means import Means
from tuspy_server.uploads.tasks import Tasks

CLAIM_TRIES: Final = 3
"""A claim that fails although the row allows it has met a change between the two statements; then it is tried again."""


class Appending:
    """Bodies of PATCHes, and those that a POST carries."""

    def __init__(
        self,
        means: Means,
        policy: Policy,
        bodies: Bodies,
        endings: Endings,
        finishing: Finishing | None,
        wakeup: Wakeup,
        *,
        tasks: Tasks,
        finish_wait_seconds: float,
    ) -> None:
        """`tasks`: own what goes on behind an answer; `finish_wait_seconds`: how long a request waits for a finish."""
        self._means = means
        self._policy = policy
        self._bodies = bodies
        self._endings = endings
        self._finishing = finishing
        self._wakeup = wakeup
        self._tasks = tasks
        self._finish_wait_seconds = finish_wait_seconds

    async def append(
        self, upload_id: str, patch: Patch, source: BodySource, grant: Grant, request: RequestContext | None
    ) -> Upload:
        """See `Uploads`."""
        await self._wait_for_hook(upload_id, grant)
        writer = self._bodies.new_writer()
        registered = None
        try:
            async with self._bodies.turn(upload_id):
                claimed = await self._claim(upload_id, writer, patch, grant)
                if claimed is not None:
                    decision = decide_patch(patch, claimed.upload, self._policy)
                    if isinstance(decision, Acknowledge):
                        return decision.upload
                    registered = self._bodies.register(claimed, decision, source, request)
            if registered is not None:
                return await self.run(*registered)
            # Out of the turn, or each that comes meanwhile would begin to wait when the one before it gives up.
            return await self._acknowledge(upload_id, patch)
        finally:
            self._bodies.forget(writer)
            self._wakeup.notify()

    async def _wait_for_hook(self, upload_id: str, grant: Grant) -> None:
        """A request that has brought the last bytes waits for `pre_finish`: one that took the upload over would but ask
        it again, and a client that is less patient than the hook would never come to an end."""
        running = self._bodies.of(upload_id)
        if running is None or not running.is_asking or not grant.reaches(running.tenant):
            return
        try:
            async with asyncio.timeout(self._finish_wait_seconds):
                await running.ended.wait()
        except TimeoutError as error:
            raise UploadBusy("the upload is being finished") from error

    async def _claim(self, upload_id: str, writer: str, patch: Patch, grant: Grant) -> Claimed | None:
        """The row, claimed; or one that is finished already and to be acknowledged as it is. None where the finish is
        to be waited for."""
        claim = Claim(
            upload_id=upload_id,
            writer=writer,
            upload_offset=patch.upload_offset,
            body_bytes=patch.body_bytes or 0,
            declared_length=patch.declared_length,
            tenant=grant.tenant,
        )
        for _ in range(CLAIM_TRIES):
            claimed = await self._means.store.claim(claim)
            if claimed is not None:
                return claimed
            upload = await self._means.find(upload_id, grant)
            if upload.status is UploadStatus.COMPLETING:
                return None
            if isinstance(decide_patch(patch, upload, self._policy), Acknowledge):
                return Claimed(upload=upload)
        raise UploadBusy

    async def _acknowledge(self, upload_id: str, patch: Patch) -> Upload:
        """What a PATCH of an upload that is completing is told, when it has come to its end."""
        await self.wait_for_finish(upload_id)
        decision = decide_patch(patch, await self._means.find(upload_id), self._policy)
        if isinstance(decision, Acknowledge):
            return decision.upload
        raise UploadBusy

    async def wait_for_finish(self, upload_id: str) -> None:
        """Until an upload that is completing is so no more, for as long as a request waits. Raises as
        `Finishing.wait`."""
        if self._finishing is not None:
            await self._finishing.wait(upload_id, self._finish_wait_seconds)

    async def run(self, running: RunningAppend, predecessor: RunningAppend | None) -> Upload:
        """Take a body that has been registered, and finish what it completes. Returns and raises as
        `RunningAppend.run`, and as `Finishing.wait`."""
        try:
            upload = await self._bodies.run(running, predecessor)
        finally:
            if running.failed is not None:
                await self._endings.remove_bytes(Cleanup(upload=running.failed))
        return await self._finished(upload, running)

    async def _finished(self, upload: Upload, running: RunningAppend) -> Upload:
        """What the request that brought the last bytes is to say of the upload."""
        if self._finishing is None:
            return upload
        if upload.status is UploadStatus.FINISHED and running.leaves_pieces:
            self._tasks.start(self._finishing.clean(upload.id))
        if upload.status is UploadStatus.COMPLETING:
            self._finishing.begin(upload, running.request)
            await self._finishing.wait(upload.id, self._finish_wait_seconds)
            upload = await self._means.find(upload.id)
            if upload.status is UploadStatus.COMPLETING:
                raise UploadBusy
            if upload.is_gone:
                raise UploadGone
        return upload

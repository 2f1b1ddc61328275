"""How a POST makes an upload, and takes it back where its client will never learn of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import structlog

from tuspy_server.access import RequestContext
from tuspy_server.model import UPLOAD_ID, Upload, UploadStatus
from tuspy_server.ports import BodySource, Claimed, Proposal, Wakeup
from tuspy_server.protocol.creation import Create
from tuspy_server.protocol.errors import BodyStalled, Draining, FixRequest, JobNotFound, TusError, UploadBusy
from tuspy_server.protocol.metadata import metadata_text
from tuspy_server.uploads.appending import Appending
from tuspy_server.uploads.bodies import Bodies
from tuspy_server.uploads.ending import Endings
from tuspy_server.uploads.means import Means
from tuspy_server.uploads.planning import Plan, Planning

log = structlog.get_logger("tuspy_server.uploads")


class Creating:
    """Uploads that come one by one."""

    def __init__(
        self,
        means: Means,
        planning: Planning,
        bodies: Bodies,
        appending: Appending,
        endings: Endings,
        wakeup: Wakeup,
        *,
        job_by_metadata: bool,
    ) -> None:
        """`job_by_metadata`: whether an upload may join a job by its metadata `job`."""
        self._means = means
        self._planning = planning
        self._bodies = bodies
        self._appending = appending
        self._endings = endings
        self._wakeup = wakeup
        self._job_by_metadata = job_by_metadata

    async def create(self, create: Create, source: BodySource, request: RequestContext) -> Upload:
        """See `Uploads`."""
        plan = await self._planning.plan(self._proposal(create, request))
        new, event = plan.file.new, plan.file.event
        takes_body = create.carries_body or create.upload_length == 0
        writer = self._bodies.new_writer() if takes_body else None
        upload = None
        try:
            # Whoever knows the id, chosen or from the event, may send a PATCH before this answer has come.
            async with self._bodies.turn(new.id):
                upload = await self._means.store.create(replace(new, writer=writer), event)
                log.info("upload.created", upload_id=new.id, upload_length=create.upload_length)
                if writer is None:
                    return upload
                append = create.append_of(new.most_bytes)
                registered = self._bodies.register(Claimed(upload=upload), append, source, request)
            return await self._appending.run(*registered)
        except Exception as error:  # whatever it was, the upload that nobody knows of must not stay
            if upload is None:
                await self._undo(plan, writer, error)
                raise
            # Nothing is left to PATCH where the length is 0: a 201 would say that it is finished.
            # One that is being finished will be finished, whether or not its client can learn of it.
            passes = isinstance(error, BodyStalled | Draining | UploadBusy)
            if (passes and create.upload_length != 0) or await self._is_completing(new.id):
                return await self._means.find(new.id)
            # The client may know a chosen id, and HEAD may have shown its offset: it stays, and expires (I1).
            if not plan.chose_id or create.upload_length == 0:
                with suppress(TusError):
                    await self._endings.terminate(new.id, unfinished=True)
            raise
        finally:
            self._bodies.forget(writer or "")
            self._wakeup.notify()

    async def _undo(self, plan: Plan, writer: str | None, error: Exception) -> None:
        """The row was not made, or nobody has heard that it was. An id that a hook has chosen may be that of another
        upload: then only what has our writer is ours."""
        if isinstance(error, FixRequest) or (plan.chose_id and writer is None):
            return
        with suppress(TusError):
            await self._endings.terminate(plan.file.new.id, writer=writer if plan.chose_id else None)

    async def _is_completing(self, upload_id: str) -> bool:
        with suppress(TusError):
            return (await self._means.find(upload_id)).status is UploadStatus.COMPLETING
        return False

    def _proposal(self, create: Create, request: RequestContext) -> Proposal:
        metadata = metadata_text(create.upload_metadata)
        job_id = metadata.get("job") if self._job_by_metadata else None
        if job_id is not None and not UPLOAD_ID.fullmatch(job_id):
            raise JobNotFound
        return Proposal(
            request=request,
            upload_length=create.upload_length,
            upload_metadata=create.upload_metadata,
            metadata=metadata,
            job_id=job_id,
        )

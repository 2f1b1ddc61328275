"""Jobs over the ports: made as a whole, added to, looked at, cancelled; and brought on after a crash."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeVar

import structlog

from tuspy_server.access import RequestContext
from tuspy_server.jobs.wishes import FileRefused, FileWish
from tuspy_server.model import Upload, UploadStatus
from tuspy_server.ports import Gate, Job, JobCounts, JobStore, NewFile, Proposal, Wakeup
from tuspy_server.protocol.errors import (
    FixRequest,
    HeadersTooLarge,
    IdTaken,
    InvalidMetadata,
    InvalidRequest,
    JobNotFound,
    TusError,
    UploadBusy,
    UploadTooLarge,
)
from tuspy_server.protocol.metadata import metadata_text
from tuspy_server.uploads.lifecycle import Uploads
from tuspy_server.uploads.tasks import Tasks

log = structlog.get_logger("tuspy_server.jobs")

AT_ONCE: Final = 16
"""Files that a hook is asked about, or that are ended, at the same time."""

BREATH: Final = 64
"""Files after which other requests have their turn."""

EMPTY_WAIT_SECONDS: Final = 5.0
"""How long the maker of a job waits for its files without bytes to be finished; they are finished in any case."""

CANCEL_WAIT_SECONDS: Final = 5.0
"""The same for one who cancels a job, and its unfinished files."""

ADDING_TURNS: Final = 16
"""Jobs that may be added to at the same time, by the hash of their ids."""

FINISH_TRIES: Final = 5
FINISH_AGAIN_SECONDS: Final = 0.05
PAGE: Final = 1000
PURGE_BATCH: Final = 100

Item = TypeVar("Item")
Result = TypeVar("Result")


class Jobs:
    """Every operation on jobs. One instance a process; all its methods may run at once."""

    def __init__(
        self, *, store: JobStore, uploads: Uploads, gate: Gate, wakeup: Wakeup, most_files: int, end_seconds: float
    ) -> None:
        """`most_files` of one job; `end_seconds`: deadline of ending one file."""
        self.most_files = most_files
        self._store = store
        self._uploads = uploads
        self._gate = gate
        self._wakeup = wakeup
        self._end_seconds = end_seconds
        self._tasks = Tasks()
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._adding = [asyncio.Lock() for _ in range(ADDING_TURNS)]

    async def create(
        self, wishes: Sequence[FileWish], request: RequestContext, *, key: bytes | None = None
    ) -> tuple[Job, Sequence[Upload]]:
        """A job with an upload for each file, all or nothing, in their order. Those without bytes are finished soon.

        Args:
            wishes: what is to be uploaded.
            request: who asks.
            key: where set, a second call with it gives the job that the first has made.

        Raises:
            FileRefused: one of them may not be. TusError: what else the client is to be told.
        """
        tenant = request.grant.tenant
        job_id = secrets.token_hex(16) if key is None else _id_from(key, tenant)
        if key is not None and (made := await self._made(job_id, tenant)) is not None:
            return made
        files = await self._prepared(wishes, replace(request, job_id=job_id), job_id)
        try:
            job, uploads = await self._to_the_end(self._store.create_job(job_id, tenant, files))
        except IdTaken:
            if key is not None and (made := await self._made(job_id, tenant)) is not None:
                return made
            raise
        log.info("job.created", job_id=job.id, files=len(uploads))
        return job, await self._begun(uploads)

    async def add(self, job_id: str, wishes: Sequence[FileWish], request: RequestContext) -> Sequence[Upload]:
        """More files, all or none.

        Raises:
            JobNotFound: 404. JobClosed: 409. InvalidRequest: 422, they are too many. FileRefused: one may not be.
        """
        job = await self._with_room(job_id, len(wishes), request)
        # Who reaches all tenants adds to the job's.
        request = replace(request, grant=replace(request.grant, tenant=job.tenant))
        files = await self._prepared(wishes, request, job_id)

        async def add() -> Sequence[Upload]:
            # Counted again, one after the other: while hooks were asked, others may have filled it.
            async with self._adding[hash(job_id) % ADDING_TURNS]:
                await self._with_room(job_id, len(files), request)
                return await self._store.add_files(job_id, job.tenant, files)

        uploads = await self._to_the_end(add())
        log.info("job.extended", job_id=job_id, files=len(uploads))
        return await self._begun(uploads)

    async def look(self, job_id: str, request: RequestContext) -> tuple[Job, JobCounts]:
        """A job with its counts.

        Raises:
            JobNotFound: 404.
        """
        found = await self._store.job(job_id, request.grant.tenant)
        if found is None:
            raise JobNotFound
        return found

    async def cancel(self, job_id: str, request: RequestContext) -> tuple[Job, JobCounts]:
        """Let no more files come, and end the unfinished ones; finished ones stay. Again: nothing more happens. What
        takes longer than `CANCEL_WAIT_SECONDS` goes on behind the answer, and after a crash.

        Raises:
            JobNotFound: 404. TusError: a hook keeps one of the files; then nothing has changed.
        """
        job, _ = await self.look(job_id, request)
        if job.cancelled_at is None:
            unfinished = [upload async for upload in self._unfinished(job_id)]
            await _each(unfinished, lambda upload: self._gate.pre_terminate(upload, request))
        if await self._to_the_end(self._store.cancel_job(job_id, job.tenant)) is None:
            raise JobNotFound
        with suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_WAIT_SECONDS):
                await asyncio.shield(self._ending_of(job_id))
        return await self.look(job_id, request)

    async def recover(self) -> int:
        """Bring to their end the files that a crash has left: of cancelled jobs, and those without bytes. Deletes no
        rows: 0."""
        left = await self._store.left_files(PAGE)

        async def bring_to_end(upload: Upload) -> None:
            try:
                await self._bring_to_end(upload)
            except TusError:  # the store is away
                raise
            except Exception:  # it is met again, and holds up none of the others
                log.exception("job.file.not_ended", upload_id=upload.id)

        await _each(left, bring_to_end)
        return 0

    async def purge(self, ended_seconds: float) -> int:
        """Forget jobs whose files have all ended, this long after they were made. Returns how many."""
        purged = 0
        while batch := await self._store.purge_jobs(ended_seconds=ended_seconds, limit=PURGE_BATCH):
            purged += batch
        return purged

    async def close(self, deadline_seconds: float) -> None:
        """Await what has begun. The rest is for `recover`."""
        await self._tasks.close(deadline_seconds)

    # --- making --------------------------------------------------------------------------------------------------

    async def _made(self, job_id: str, tenant: str | None) -> tuple[Job, Sequence[Upload]] | None:
        found = await self._store.job(job_id, tenant)
        if found is None:
            return None
        return found[0], [upload async for upload in self._all(job_id)]

    async def _with_room(self, job_id: str, files: int, request: RequestContext) -> Job:
        job, counts = await self.look(job_id, request)
        if sum(counts.files.values()) + files > self.most_files:
            raise InvalidRequest(f"a job has at most {self.most_files} files")
        return job

    async def _prepared(self, wishes: Sequence[FileWish], request: RequestContext, job_id: str) -> list[NewFile]:
        async def prepare(numbered: tuple[int, FileWish]) -> NewFile:
            index, wish = numbered
            try:
                return await self._uploads.prepare(self._proposal(wish, request, job_id))
            except (InvalidMetadata, HeadersTooLarge) as error:
                raise FileRefused(InvalidRequest(str(error)), index, "metadata") from error
            except UploadTooLarge as error:
                raise FileRefused(error, index, "length") from error
            except FixRequest as error:
                raise FileRefused(error, index) from error

        return await _each(list(enumerate(wishes)), prepare)

    def _proposal(self, wish: FileWish, request: RequestContext, job_id: str) -> Proposal:
        upload_metadata = wish.upload_metadata(self._uploads.policy)
        if wish.length is not None:
            self._uploads.policy.check_length(wish.length)
        return Proposal(
            request=request,
            upload_length=wish.length,
            upload_metadata=upload_metadata,
            metadata=metadata_text(upload_metadata),
            job_id=job_id,
        )

    async def _begun(self, uploads: Sequence[Upload]) -> Sequence[Upload]:
        """What has become of new uploads once those without bytes are finished, or were waited for long enough."""
        self._wakeup.notify()
        empty = [upload for upload in uploads if upload.upload_length == 0]
        if not empty:
            return uploads
        finished: dict[str, Upload] = {}

        async def finish(upload: Upload) -> None:
            with suppress(TusError):  # `recover` finishes it
                finished[upload.id] = await self._finish_empty(upload)

        with suppress(TimeoutError):
            async with asyncio.timeout(EMPTY_WAIT_SECONDS):
                await self._to_the_end(_each(empty, finish))
        return [finished.get(upload.id, upload) for upload in uploads]

    async def _finish_empty(self, upload: Upload) -> Upload:
        """A sweep may be at it, too: then one of the two is told to come again, and finds it finished."""
        for _ in range(FINISH_TRIES):
            with suppress(UploadBusy):
                return await self._uploads.finish_empty(upload.id)
            await asyncio.sleep(FINISH_AGAIN_SECONDS)
        return await self._uploads.finish_empty(upload.id)

    # --- ending --------------------------------------------------------------------------------------------------

    def _ending_of(self, job_id: str) -> asyncio.Task[None]:
        """Those who cancel one job at once wait for the same work."""
        task = self._ending.get(job_id)
        if task is None:
            task = self._ending[job_id] = self._tasks.start(self._end_all(job_id))
            task.add_done_callback(lambda _: self._ending.pop(job_id, None))
        return task

    async def _end_all(self, job_id: str) -> None:
        unfinished = [upload async for upload in self._unfinished(job_id)]
        await _each(unfinished, self._end)
        log.info("job.cancelled", job_id=job_id, files=len(unfinished))
        self._wakeup.notify()

    async def _bring_to_end(self, upload: Upload) -> None:
        if upload.upload_length == 0 and upload.writer is None:
            job = None if upload.job_id is None else await self._store.job(upload.job_id, None)
            if job is None or job[0].cancelled_at is None:
                with suppress(TusError):  # the next sweep tries again
                    await self._finish_empty(upload)
                return
        await self._end(upload)

    async def _end(self, upload: Upload) -> None:
        try:
            async with asyncio.timeout(self._end_seconds):
                await self._uploads.cancel(upload.id)
        except (TusError, TimeoutError) as error:
            log.warning("job.file.not_ended", upload_id=upload.id, reason=type(error).__name__)

    # --- walking -------------------------------------------------------------------------------------------------

    async def _all(self, job_id: str) -> AsyncIterator[Upload]:
        after = 0
        while page := await self._store.job_files(job_id, after=after, limit=PAGE):
            for upload in page:
                after = max(after, upload.job_number or 0)
                yield upload

    async def _unfinished(self, job_id: str) -> AsyncIterator[Upload]:
        async for upload in self._all(job_id):
            if upload.status is UploadStatus.UPLOADING:
                yield upload

    async def _to_the_end(self, work: Awaitable[Result]) -> Result:
        """Go on where the request is cancelled."""

        async def run() -> Result:
            return await work

        return await asyncio.shield(self._tasks.start(run()))


async def _each(items: Sequence[Item], do: Callable[[Item], Awaitable[Result]]) -> list[Result]:
    """`do` for each, some at once, results in their order. After the first failure no more are begun."""
    results: list[Result | None] = [None] * len(items)
    left = iter(range(len(items)))
    errors: list[Exception] = []

    async def work() -> None:
        for index in left:
            if errors:
                return
            try:
                results[index] = await do(items[index])
            except Exception as error:  # told by whoever called; the others are not left behind
                errors.append(error)
            if index % BREATH == 0:
                await asyncio.sleep(0)

    await asyncio.gather(*(work() for _ in range(min(AT_ONCE, len(items)))))
    if errors:
        raise min(errors, key=lambda error: getattr(error, "index", -1))
    return results  # type: ignore[return-value]  # all are there where none has failed


def _id_from(key: bytes, tenant: str | None) -> str:
    """An id that only those know who know the key."""
    who = b"" if tenant is None else b"=" + tenant.encode()
    return hashlib.sha256(b"tuspy-server job\0%d\0%b\0%b" % (len(who), who, key)).hexdigest()[:32]

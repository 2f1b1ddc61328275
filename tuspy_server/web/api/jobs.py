"""Routes of jobs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tuspy_server.access import Intent, RequestContext
from tuspy_server.jobs.service import Jobs
from tuspy_server.jobs.wishes import FileWish
from tuspy_server.model import Upload
from tuspy_server.ports import FileStatus, Job, JobCounts, JobStore
from tuspy_server.protocol.errors import (
    BodyTooLarge,
    IdTaken,
    InvalidHeader,
    InvalidJson,
    InvalidRequest,
    JobClosed,
    JobNotFound,
    NotJson,
    TypeNotAllowed,
    UploadTooLarge,
)
from tuspy_server.protocol.fields import RequestHead
from tuspy_server.web.answers import Answer
from tuspy_server.web.api.addresses import Addresses
from tuspy_server.web.api.answering import shown
from tuspy_server.web.api.models import FilesAsked, FilesShown, JobShown, JobsShown
from tuspy_server.web.api.reading import BodyReader, before, cursor_of, whole
from tuspy_server.web.api.routes import Call, Parameter, Route
from tuspy_server.web.api.views import show_job, show_uploads
from tuspy_server.web.authority import Authority

FILES_OF_A_PAGE: Final = 1000
JOBS_OF_A_PAGE: Final = 100
MOST_OF_A_PAGE: Final = 1000

_KEY: Final = re.compile(r"[\x21-\x7e]{16,255}")
_MAKING: Final = (
    InvalidHeader,
    InvalidJson,
    BodyTooLarge,
    UploadTooLarge,
    NotJson,
    TypeNotAllowed,
    InvalidRequest,
    IdTaken,
)

IDEMPOTENCY: Final = Parameter(
    name="Idempotency-Key",
    schema={"type": "string", "minLength": 16, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
    description="Random, such as a UUID: the same request with the same key gives the same job.",
)
_LIMIT_FILES: Final = Parameter(
    name="limit",
    schema={"type": "integer", "minimum": 0, "maximum": MOST_OF_A_PAGE, "default": FILES_OF_A_PAGE},
    description="Most files in the answer; 0 for the counts alone.",
)
_AFTER: Final = Parameter(
    name="after",
    schema={"type": "integer", "minimum": 0, "maximum": 999_999_999, "default": 0},
    description="Only files with a higher number.",
)
LIMIT: Final = Parameter(
    name="limit",
    schema={"type": "integer", "minimum": 1, "maximum": MOST_OF_A_PAGE, "default": JOBS_OF_A_PAGE},
    description="Most in the answer.",
)
BEFORE: Final = Parameter(
    name="before", schema={"type": "string"}, description="Only older ones: `nextBefore` of an earlier answer."
)


class JobRoutes:
    """Makes, shows and cancels jobs."""

    def __init__(
        self, jobs: Jobs, store: JobStore, authority: Authority, addresses: Addresses, reader: BodyReader
    ) -> None:
        self._jobs = jobs
        self._store = store
        self._authority = authority
        self._addresses = addresses
        self._reader = reader

    def routes(self) -> Sequence[Route]:
        """All of them, with their other names."""
        return (
            self._making("/api/jobs", "createJob"),
            self._making("/commands/upload-jobs", "createUploadJob"),
            Route(
                method="GET",
                path="/api/jobs",
                name="listJobs",
                summary="List jobs, the newest first",
                handler=self._list,
                answers={200: JobsShown},
                query=(LIMIT, BEFORE),
                tagged=True,
            ),
            self._showing("/api/jobs/{jobId}", "getJob"),
            self._showing("/queries/upload-jobs/{jobId}", "getUploadJob"),
            Route(
                method="DELETE",
                path="/api/jobs/{jobId}",
                name="cancelJob",
                summary="Cancel a job: end its unfinished files, and take no more",
                description="Finished files stay. Cancelled already: nothing more happens. "
                "202: it is cancelled, and some files are still to be ended.",
                handler=self._cancel,
                answers={200: JobShown, 202: JobShown},
                problems=(JobNotFound,),
                by_hooks=True,
            ),
            Route(
                method="POST",
                path="/api/jobs/{jobId}/cancel",
                name="cancelJobByPost",
                summary="The same as DELETE",
                handler=self._cancel,
                answers={200: JobShown, 202: JobShown},
                problems=(JobNotFound,),
                by_hooks=True,
            ),
            Route(
                method="POST",
                path="/api/jobs/{jobId}/files",
                name="addFiles",
                summary="Add files to a job, all or none",
                handler=self._add,
                body=FilesAsked,
                answers={201: FilesShown},
                problems=(JobNotFound, JobClosed, *_MAKING),
                by_hooks=True,
            ),
        )

    def _making(self, path: str, name: str) -> Route:
        return Route(
            method="POST",
            path=path,
            name=name,
            summary="Make a job: an upload for each file, all or none",
            description="Send the bytes of each file to its `url` with any tus client. Files of length 0 are finished.",
            handler=self._create,
            body=FilesAsked,
            headers=(IDEMPOTENCY,),
            answers={201: JobShown},
            problems=_MAKING,
            by_hooks=True,
        )

    def _showing(self, path: str, name: str) -> Route:
        return Route(
            method="GET",
            path=path,
            name=name,
            summary="Show a job with its files",
            handler=self._show,
            answers={200: JobShown},
            query=(_LIMIT_FILES, _AFTER),
            problems=(JobNotFound,),
            tagged=True,
        )

    async def _create(self, call: Call) -> Answer:
        request = await self._authority.grant(Intent.CREATE, call.scope)
        key = _idempotency_key(call.head)
        asked, body = await self._reader.read(call.head, call.source, FilesAsked)
        seed = None if key is None else key.encode() + b"\0" + body
        job, uploads = await self._jobs.create(self._wishes(asked), request, key=seed)
        _, counts = await self._jobs.look(job.id, request)
        url = self._addresses.job(call, job.id)
        return shown(await self._job(call, job, counts, uploads), status=201, headers=(("Location", url),))

    async def _add(self, call: Call) -> Answer:
        job_id = call.ids["jobId"]
        request = await self._authority.grant(Intent.WRITE, call.scope, job_id=job_id)
        asked, _ = await self._reader.read(call.head, call.source, FilesAsked)
        uploads = await self._jobs.add(job_id, self._wishes(asked), request)
        files = await show_uploads(uploads, self._addresses.uploads(call))
        return shown(FilesShown.model_construct(job_id=job_id, files=files), status=201)

    async def _show(self, call: Call) -> Answer:
        job_id = call.ids["jobId"]
        request = await self._authority.grant(Intent.READ, call.scope, job_id=job_id)
        limit = whole(call.query, "limit", FILES_OF_A_PAGE, MOST_OF_A_PAGE)
        after = whole(call.query, "after", 0, 999_999_999)
        return shown(await self._page(call, job_id, request, after, limit), head=call.head)

    async def _cancel(self, call: Call) -> Answer:
        job_id = call.ids["jobId"]
        request = await self._authority.grant(Intent.TERMINATE, call.scope, job_id=job_id)
        _, counts = await self._jobs.cancel(job_id, request)
        is_over = not any(counts.files.get(status) for status in (FileStatus.QUEUED, FileStatus.UPLOADING))
        view = await self._page(call, job_id, request, 0, FILES_OF_A_PAGE)
        return shown(view, status=200 if is_over else 202)

    async def _list(self, call: Call) -> Answer:
        request = await self._authority.grant(Intent.READ, call.scope)
        limit = whole(call.query, "limit", JOBS_OF_A_PAGE, MOST_OF_A_PAGE, least=1)
        found = await self._store.jobs(request.grant.tenant, before=before(call.query), limit=limit + 1)
        page, more = found[:limit], len(found) > limit
        jobs = [show_job(job, counts, self._addresses.job(call, job.id)) for job, counts in page]
        last = page[-1][0] if more else None
        next_before = None if last is None else cursor_of(last.created_at, last.id)
        return shown(JobsShown(jobs=jobs, next_before=next_before), head=call.head)

    async def _page(self, call: Call, job_id: str, request: RequestContext, after: int, limit: int) -> JobShown:
        job, counts = await self._jobs.look(job_id, request)
        # One more than shown says whether there are more.
        found = await self._store.job_files(job_id, after=after, limit=limit + 1) if limit else ()
        view = await self._job(call, job, counts, found[:limit])
        if len(found) > limit > 0:
            return view.model_copy(update={"next_after": found[limit - 1].job_number})
        return view

    async def _job(self, call: Call, job: Job, counts: JobCounts, uploads: Sequence[Upload]) -> JobShown:
        summary = show_job(job, counts, self._addresses.job(call, job.id))
        files = await show_uploads(uploads, self._addresses.uploads(call))
        return JobShown.model_construct(**dict(summary), files=files, next_after=None)

    def _wishes(self, asked: FilesAsked) -> list[FileWish]:
        if len(asked.files) > self._jobs.most_files:
            raise InvalidRequest(f"a job has at most {self._jobs.most_files} files")
        return [
            FileWish(name=file.name, length=file.length, type=file.type, metadata=file.metadata) for file in asked.files
        ]


def _idempotency_key(head: RequestHead) -> str | None:
    key = head.one("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidHeader("Idempotency-Key", "must be 16 to 255 visible ASCII characters, and should be random")
    return key

"""Routes of uploads: found, listed, summed; and what clients say of their progress."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from tuspy_server.access import Intent, RequestContext
from tuspy_server.model import Upload
from tuspy_server.ports import Catalogue, FileStatus, UploadFilter, UploadStore
from tuspy_server.protocol.errors import (
    BodyTooLarge,
    InvalidJson,
    InvalidParameter,
    InvalidRequest,
    NotJson,
    UploadNotFound,
)
from tuspy_server.web.answers import Answer
from tuspy_server.web.api.addresses import Addresses
from tuspy_server.web.api.answering import shown, tagged, wanted_format
from tuspy_server.web.api.jobs import BEFORE, LIMIT, MOST_OF_A_PAGE
from tuspy_server.web.api.models import ProgressAsked, StatsShown, UploadShown, UploadsShown
from tuspy_server.web.api.reading import BodyReader, before, cursor_of, instant, whole
from tuspy_server.web.api.routes import Call, Parameter, Route
from tuspy_server.web.api.tables import CONTENT_TYPE, stats_table, uploads_table
from tuspy_server.web.api.views import show_sums, show_upload, show_uploads
from tuspy_server.web.authority import Authority

UPLOADS_OF_A_PAGE: Final = 100
ID_CHARACTERS: Final = 64
PROGRESS_BYTES: Final = 4096
"""More than its body can need."""

_FILTERS: Final = (
    Parameter(
        name="status",
        schema={"type": "string", "enum": [status.value for status in FileStatus]},
        description="Only those that stand so.",
    ),
    Parameter(
        name="job",
        schema={"type": "string", "minLength": 1, "maxLength": ID_CHARACTERS},
        description="Only those of this job.",
    ),
    Parameter(
        name="createdFrom",
        schema={"type": "string", "format": "date-time"},
        description="Only those made then or later.",
    ),
    Parameter(
        name="createdBefore", schema={"type": "string", "format": "date-time"}, description="Only those made before."
    ),
)
_FORMAT: Final = Parameter(
    name="format",
    schema={"type": "string", "enum": ["json", "csv"]},
    description="In place of `Accept`.",
)

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

Heard = Callable[[Upload, ProgressAsked], None]


class UploadRoutes:
    """Shows uploads."""

    def __init__(
        self,
        store: UploadStore,
        catalogue: Catalogue,
        authority: Authority,
        addresses: Addresses,
        reader: BodyReader,
        heard: Heard | None,
    ) -> None:
        """`heard`: told what clients say of their progress."""
        self._store = store
        self._catalogue = catalogue
        self._authority = authority
        self._addresses = addresses
        self._reader = reader
        self._heard = heard

    def routes(self) -> Sequence[Route]:
        """All of them."""
        return (
            Route(
                method="GET",
                path="/api/uploads",
                name="listUploads",
                summary="List uploads, the newest first",
                handler=self._list,
                answers={200: UploadsShown},
                query=(*_FILTERS, LIMIT, BEFORE, _FORMAT),
                tables=True,
                tagged=True,
            ),
            Route(
                method="GET",
                path="/api/uploads/{uploadId}",
                name="getUpload",
                summary="Show an upload",
                handler=self._show,
                answers={200: UploadShown},
                problems=(UploadNotFound,),
                tagged=True,
            ),
            Route(
                method="GET",
                path="/api/stats",
                name="getStats",
                summary="Sum uploads up",
                handler=self._sum,
                answers={200: StatsShown},
                query=(*_FILTERS, _FORMAT),
                tables=True,
                tagged=True,
            ),
            Route(
                method="POST",
                path="/commands/upload/progress",
                name="tellProgress",
                summary="Say how far an upload's client believes to have come",
                description="Best effort: those who follow the upload are told the offset that the server has.",
                handler=self._progress,
                body=ProgressAsked,
                answers={202: None},
                problems=(UploadNotFound, InvalidJson, BodyTooLarge, NotJson, InvalidRequest),
            ),
        )

    async def _list(self, call: Call) -> Answer:
        wanted = await self._filter(call)
        answer_format = wanted_format(call.head, call.query)
        limit = whole(call.query, "limit", UPLOADS_OF_A_PAGE, MOST_OF_A_PAGE, least=1)
        found = await self._catalogue.list_uploads(wanted, before=before(call.query), limit=limit + 1)
        page, more = found[:limit], len(found) > limit
        uploads = await show_uploads(page, self._addresses.uploads(call))
        next_before = cursor_of(page[-1].created_at, page[-1].id) if more else None
        if answer_format == "csv":
            headers = () if next_before is None else (("Next-Before", next_before),)
            return tagged(uploads_table(uploads), CONTENT_TYPE, call.head, headers)
        return shown(UploadsShown.model_construct(uploads=uploads, next_before=next_before), head=call.head)

    async def _show(self, call: Call) -> Answer:
        upload_id = call.ids["uploadId"]
        request = await self._authority.grant(Intent.READ, call.scope, upload_id=upload_id)
        upload = await self._find(upload_id, request)
        return shown(show_upload(upload, self._addresses.uploads(call)), head=call.head)

    async def _sum(self, call: Call) -> Answer:
        wanted = await self._filter(call)
        answer_format = wanted_format(call.head, call.query)
        stats = show_sums(await self._catalogue.sum_uploads(wanted))
        if answer_format == "csv":
            return tagged(stats_table(stats), CONTENT_TYPE, call.head)
        return shown(stats, head=call.head)

    async def _progress(self, call: Call) -> Answer:
        # Who it is about stands in the body, so that it is read first.
        asked, _ = await self._reader.read(call.head, call.source, ProgressAsked, most_bytes=PROGRESS_BYTES)
        if not _ID.fullmatch(asked.upload_id):
            raise UploadNotFound
        request = await self._authority.grant(Intent.WRITE, call.scope, upload_id=asked.upload_id)
        upload = await self._find(asked.upload_id, request)
        if asked.job_id is not None and asked.job_id != upload.job_id:
            raise UploadNotFound
        if self._heard is not None and not upload.is_gone:
            self._heard(upload, asked)
        return Answer(status=202, headers=(("Cache-Control", "no-store"),))

    async def _find(self, upload_id: str, request: RequestContext) -> Upload:
        upload = await self._store.get(upload_id)
        if upload is None or not request.grant.reaches(upload.tenant):
            raise UploadNotFound
        return upload

    async def _filter(self, call: Call) -> UploadFilter:
        job_id = call.query.get("job")
        if job_id is not None and not _ID.fullmatch(job_id):
            raise InvalidParameter("job", "must be the id of a job")
        request = await self._authority.grant(Intent.READ, call.scope, job_id=job_id)
        return UploadFilter(
            tenant=request.grant.tenant,
            job_id=job_id,
            status=_status(call.query.get("status")),
            created_from=instant(call.query, "createdFrom"),
            created_before=instant(call.query, "createdBefore"),
        )


def _status(text: str | None) -> FileStatus | None:
    try:
        return None if text is None else FileStatus(text)
    except ValueError as error:
        raise InvalidParameter("status", f"must be one of {', '.join(FileStatus)}") from error

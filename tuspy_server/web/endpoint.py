"""The uploads' own ASGI edge: a request's head to a decision of the protocol, to the lifecycle, to an answer."""

from __future__ import annotations

import time
from typing import Final, Literal

import structlog
from starlette.types import Receive, Scope, Send

from tuspy_server.access import Intent, RequestContext
from tuspy_server.model import UPLOAD_ID, UploadStatus
from tuspy_server.ports import BlobStore, BodySource
from tuspy_server.protocol.core import (
    ALL_METHODS,
    COLLECTION_METHODS,
    UPLOAD_METHODS,
    decide_head,
    effective_method,
    parse_patch,
    patch_headers,
)
from tuspy_server.protocol.creation import creation_headers, decide_create
from tuspy_server.protocol.errors import (
    TUS_VERSION,
    BytesMissing,
    ClientDisconnected,
    JobClosed,
    NotDownloadable,
    Refused,
    TusError,
    UploadGone,
    UploadNotFound,
)
from tuspy_server.protocol.fields import RequestHead
from tuspy_server.uploads.lifecycle import Uploads
from tuspy_server.web.answers import Answer, refuse
from tuspy_server.web.authority import Authority
from tuspy_server.web.body import body_source
from tuspy_server.web.cors import Cors
from tuspy_server.web.download import decide_download, link_headers, representation_headers
from tuspy_server.web.location import Locations
from tuspy_server.web.metrics import Metrics
from tuspy_server.web.request_id import identify

log = structlog.get_logger("tuspy_server.web")

Downloads = Literal["serve", "redirect", "off"]
NOT_MODIFIED: Final = 304

CLIENT_LEFT: Final = 499
"""What logs and metrics say where nobody was left to answer; never sent."""

_TUS_RESUMABLE: Final = (b"tus-resumable", TUS_VERSION.encode())
_INTENTS: Final = {
    "HEAD": Intent.READ,
    "GET": Intent.READ,
    "PATCH": Intent.WRITE,
    "DELETE": Intent.TERMINATE,
}


def route_path(scope: Scope) -> str:
    """The path below the place where the app is mounted."""
    path: str = scope["path"]
    mount: str = scope.get("root_path", "")
    inside = path.startswith(mount) and path[len(mount) :][:1] in ("", "/")
    return path[len(mount) :] if inside else path


class UploadsEndpoint:
    """ASGI app of the creation URL and everything below it."""

    def __init__(
        self,
        uploads: Uploads,
        blobs: BlobStore,
        *,
        authority: Authority,
        locations: Locations,
        cors: Cors,
        metrics: Metrics,
        downloads: Downloads,
    ) -> None:
        self._uploads = uploads
        self._blobs = blobs
        self._policy = uploads.policy
        self._authority = authority
        self._locations = locations
        self._cors = cors
        self._metrics = metrics
        self._downloads = downloads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        started = time.perf_counter()
        self._metrics.request_began()
        request_id, origin = identify(scope)
        status = 500
        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            answer = await self._answer(scope, receive)
            common = (
                _TUS_RESUMABLE,
                (b"x-request-id", request_id.encode()),
                *self._cors.raw_headers(origin, preflight=scope["method"] == "OPTIONS"),
            )
            status = answer.status
            await answer.send(send, receive, common)
        except ClientDisconnected:
            status = CLIENT_LEFT
        finally:
            duration_seconds = time.perf_counter() - started
            method = scope["method"] if scope["method"] in ALL_METHODS else "other"
            self._metrics.request_ended(method, status, duration_seconds)
            log.info("request.finished", method=method, status=status, duration_ms=round(duration_seconds * 1000, 1))
            structlog.contextvars.reset_contextvars(**bound)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        method = scope["method"]
        try:
            head = RequestHead.from_raw(method, scope["headers"], self._policy.max_header_bytes)
            source = body_source(scope, receive)
            path = route_path(scope)
            is_collection = path in ("", "/")
            method = effective_method(head, COLLECTION_METHODS if is_collection else UPLOAD_METHODS)
            # Preflights of any URL succeed: a 404 would hide the real answer from a browser's client (CORE-OPT-06).
            if method == "OPTIONS":
                return Answer(status=204, headers=self._policy.describe(delivers_trailers=source.delivers_trailers))
            if is_collection:
                return await self._create(scope, head, source)
            upload_id = path[1:].removesuffix("/")
            if not UPLOAD_ID.fullmatch(upload_id):
                raise UploadNotFound
            return await self._upload(method, upload_id, scope, head, source)
        except TusError as error:
            return refuse(error, method)
        except ClientDisconnected:
            raise
        except Exception:  # a defect: the client gets fixed text, the log gets the rest
            log.exception("request.crashed")
            return refuse(TusError("internal error"), method)

    async def _create(self, scope: Scope, head: RequestHead, source: BodySource) -> Answer:
        create = decide_create(head, self._policy, delivers_trailers=source.delivers_trailers)
        request = await self._authority.grant(Intent.CREATE, scope)
        try:
            upload = await self._uploads.create(create, source, request)
        except JobClosed as error:
            # Clients send what gets a 409 again, and nothing opens a job again.
            raise Refused(str(error)) from error
        location = self._locations.location(scope, head, upload.id)
        return Answer(status=201, headers=creation_headers(location, upload, create))

    async def _upload(self, method: str, upload_id: str, scope: Scope, head: RequestHead, source: BodySource) -> Answer:
        if method == "GET" and self._downloads == "off":
            raise NotDownloadable
        patch = None
        if method == "PATCH":
            patch = parse_patch(head, self._policy, delivers_trailers=source.delivers_trailers)
        request = await self._authority.grant(_INTENTS[method], scope, upload_id=upload_id)
        if patch is not None:
            upload = await self._uploads.append(upload_id, patch, source, request.grant, request)
            return Answer(status=204, headers=patch_headers(upload))
        match method:
            case "HEAD":
                return await self._head(upload_id, head, request)
            case "DELETE":
                await self._uploads.terminate(upload_id, request)
                return Answer(status=204)
            case _:
                return await self._get(upload_id, head, request)

    async def _head(self, upload_id: str, head: RequestHead, request: RequestContext) -> Answer:
        upload = await self._uploads.look(upload_id, request.grant)
        headers = decide_head(upload)
        # Without Tus-Resumable it is a download's client that asks, and it wants the download's headers. Not by an
        # overridden POST: its answer may not announce a body that does not follow.
        asks_for_download = head.method == "HEAD" and head.one("Tus-Resumable") is None
        if self._downloads != "off" and upload.status is UploadStatus.FINISHED and asks_for_download:
            length = ("Content-Length", str(upload.upload_offset))
            return Answer(status=200, headers=(*headers, *representation_headers(upload), length))
        return Answer(status=200, headers=headers)

    async def _get(self, upload_id: str, head: RequestHead, request: RequestContext) -> Answer:
        upload = await self._uploads.find(upload_id, request.grant)
        download = decide_download(head, upload)
        if self._downloads == "redirect" and download.status != NOT_MODIFIED:
            url = await self._blobs.link(upload, link_headers(upload))
            if url is not None:
                return Answer(status=302, headers=(("Location", url), ("Cache-Control", "no-store")))
        if download.start == download.stop:
            return Answer(status=download.status, headers=download.headers)
        stream = self._blobs.read(upload, download.start, download.stop)
        try:
            # Before the status is sent: a file that is not there must not begin as a 200.
            first = await anext(stream)
        except BytesMissing as error:
            log.exception("download.bytes_missing", upload_id=upload_id)
            raise UploadGone from error
        return Answer(status=download.status, headers=download.headers, body=first, stream=stream)

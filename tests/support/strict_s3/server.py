"""The layer as a server: each request through the faults planned for it, the rules, and on to the gateway."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self, TypeAlias

from aiohttp import ClientPayloadError, web

from tests.support.strict_s3 import body as bodies
from tests.support.strict_s3 import operations, signature
from tests.support.strict_s3.answers import Answer, of_error
from tests.support.strict_s3.errors import Cut, S3Error, not_implemented
from tests.support.strict_s3.faults import Fault, Stage
from tests.support.strict_s3.listing import Listing
from tests.support.strict_s3.multiparts import Multiparts
from tests.support.strict_s3.objects import Objects
from tests.support.strict_s3.operations import Call
from tests.support.strict_s3.parting import Parting
from tests.support.strict_s3.plan import Logged, Plan
from tests.support.strict_s3.received import Received
from tests.support.strict_s3.rules import Rules
from tests.support.strict_s3.upstream import Upstream
from tests.support.strict_s3.writing import Writing
from trial.gateways import Bucket

READ_BUFFER_BYTES: Final = 1 << 20
SDK_HEADERS: Final = ("x-amz-sdk-checksum-algorithm", "x-amz-trailer")
Handler: TypeAlias = Callable[[Received], Awaitable[Answer]]


class StrictS3(Plan):
    """An S3 server on 127.0.0.1 in front of a gateway; `bucket` is how clients reach it."""

    def __init__(self, upstream: Bucket, rules: Rules | None = None, *, port: int = 0) -> None:
        super().__init__()
        self.rules = Rules() if rules is None else rules
        self._account = upstream
        self._port = port
        self._folder = Path(tempfile.mkdtemp(prefix="strict-s3-"))
        self._upstream = Upstream(upstream)
        self.multiparts = Multiparts(self._folder, self.rules)
        self._objects = Objects(self._upstream, self.rules)
        self._listing = Listing(self._upstream, self._objects, self.rules)
        self._writing = Writing(self._upstream, self._objects, self.rules)
        self._parting = Parting(self.multiparts, self._objects, self._listing, self._writing, self.rules)
        self._handlers = self._table()
        self._broken: list[Exception] = []
        self._requests: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self._upstream.__aenter__()
        self._web = web.Server(self._handle, access_log=None, read_bufsize=READ_BUFFER_BYTES)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._web, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._requests:
            task.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)
        await self._web.shutdown(1)
        await self._upstream.__aexit__()
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._broken:
            raise ExceptionGroup("the strict layer itself is broken", self._broken)

    @property
    def port(self) -> int:
        if self._server is None:
            raise RuntimeError("not entered")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def bucket(self) -> Bucket:
        return Bucket(
            endpoint_url=f"http://127.0.0.1:{self.port}",
            name=self._account.name,
            region=self._account.region,
            access_key_id=self._account.access_key_id,
            secret_access_key=self._account.secret_access_key,
        )

    @property
    def under_way(self) -> int:
        """Requests that are not over, held ones too."""
        return len(self._requests)

    def expire_multiparts_after(self, days: int) -> None:
        """The bucket says so in its lifecycle configuration; nothing is reaped by it."""
        self._listing.lifecycles[self._account.name] = (
            "<LifecycleConfiguration><Rule><ID>multiparts</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>"
            f"<AbortIncompleteMultipartUpload><DaysAfterInitiation>{days}</DaysAfterInitiation>"
            "</AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>"
        ).encode()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        # A task of its own: what has been sent lands, also when the client has gone.
        sent: asyncio.Future[web.StreamResponse] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._serve(request, sent))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        task.add_done_callback(lambda ended: _settle(ended, sent))
        return await sent

    async def _serve(self, request: web.BaseRequest, sent: asyncio.Future[web.StreamResponse]) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        target = request.raw_path
        logged = Logged("?", target)
        faults: list[Fault] = []
        try:
            answer = await self._answered(request, target, headers, logged, faults)
            close = answer.close
            try:
                for fault in faults:
                    answer = fault.answer(answer)
                logged.status = answer.status
                response = await self._send(request, answer)
            finally:
                logged.bytes_out = answer.bytes_out
                close()
        except (Cut, ConnectionError, ClientPayloadError):
            logged.status = 0
            if request.transport is not None:
                request.transport.abort()
            response = web.Response()
        except Exception as error:
            # A fault of the layer itself; the test is told at its end.
            self._broken.append(error)
            raise
        finally:
            self.over(logged, faults)
        if not sent.done():
            sent.set_result(response)

    async def _answered(
        self, request: web.BaseRequest, target: str, headers: Mapping[str, str], logged: Logged, faults: list[Fault]
    ) -> Answer:
        try:
            call = operations.read(request.method, target, headers)
            logged.operation, logged.key, logged.part_number = call.operation, call.key, call.part_number
            faults += self.meet(call)
            await _pass(faults, "before_body", call)
            signature.check(self._account, request.method, target, headers, call.query)
            self._refuse(headers)
            with self._parting.begun(call):
                return await self._applied(request, call, logged, faults)
        except S3Error as error:
            return of_error(error)
        finally:
            if self.rules.latency_seconds:
                await asyncio.sleep(self.rules.latency_seconds)

    async def _applied(self, request: web.BaseRequest, call: Call, logged: Logged, faults: Sequence[Fault]) -> Answer:
        handler = self._handlers.get(call.operation)
        if handler is None:
            raise not_implemented(call.operation)
        body = await self._body(request, call, logged, faults)
        body, trailers = bodies.opened(body, call.headers)
        for fault in faults:
            body = fault.body(body)
        keeps = self.rules.keeps_checksums
        # Complete sends the checksum of an object, not of its own body.
        fields = {} if call.operation == "CompleteMultipartUpload" else {**call.headers, **trailers}
        checksums = await asyncio.to_thread(bodies.compare, body, fields, checksums=keeps)
        for fault in faults:
            body = fault.stored(body)
        await _pass(faults, "before_apply", call)
        self._weigh(call, len(body))
        answer = await handler(Received(call=call, body=body, checksums=checksums, faults=faults))
        try:
            await _pass(faults, "after_apply", call)
        except BaseException:
            answer.close()
            raise
        return answer

    @staticmethod
    async def _body(request: web.BaseRequest, call: Call, logged: Logged, faults: Sequence[Fault]) -> bytes:
        expected = bodies.wire_bytes(call.headers)
        if expected and call.headers.get("expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        cuts = [fault.cut_body_after_bytes for fault in faults if fault.cut_body_after_bytes is not None]
        chunks = []
        while chunk := await request.content.readany():
            chunks.append(chunk)
            logged.bytes_in += len(chunk)
            if cuts and logged.bytes_in >= min(cuts):
                raise Cut
        if logged.bytes_in != expected:
            raise S3Error(400, "IncompleteBody", "You did not provide the number of bytes specified by Content-Length")
        return b"".join(chunks)

    def _refuse(self, headers: Mapping[str, str]) -> None:
        if self.rules.refuses_sdk_checksums:
            for name in SDK_HEADERS:
                if name in headers:
                    raise not_implemented(name)
        if self.rules.refuses_checksums:
            for name in headers:
                if name.startswith(bodies.CHECKSUM) and name != "x-amz-checksum-mode":
                    raise not_implemented(name)

    def _weigh(self, call: Call, added_bytes: int) -> None:
        quota_bytes = self.rules.quota_bytes
        if quota_bytes is None or call.operation not in {"PutObject", "UploadPart"}:
            return
        if self._objects.stored_bytes + self.multiparts.stored_bytes + added_bytes > quota_bytes:
            raise S3Error(self.rules.quota_status, "QuotaExceeded", "The quota of the bucket is used up")

    @staticmethod
    async def _send(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        length = len(answer.body) if answer.length is None else answer.length
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
        response = web.StreamResponse(status=answer.status, headers=headers)
        if answer.status not in {204, 304}:
            response.content_length = length
        await response.prepare(request)
        if request.method != "HEAD" and answer.status not in {204, 304}:
            if answer.chunks is None:
                answer.bytes_out = len(answer.body)
                await response.write(answer.body)
            else:
                async for chunk in answer.chunks:
                    answer.bytes_out += len(chunk)
                    await response.write(chunk)
        await response.write_eof()
        return response

    def _table(self) -> dict[str, Handler]:
        return {
            "PutObject": self._writing.put,
            "CopyObject": self._writing.copy,
            "GetObject": self._writing.get,
            "HeadObject": self._writing.get,
            "DeleteObject": self._writing.delete,
            "DeleteObjects": self._writing.delete_many,
            "CreateMultipartUpload": self._parting.create,
            "UploadPart": self._parting.upload,
            "UploadPartCopy": self._parting.copy,
            "CompleteMultipartUpload": self._parting.complete,
            "AbortMultipartUpload": self._parting.abort,
            "ListParts": self._parting.parts,
            "ListMultipartUploads": self._parting.uploads,
            "ListObjectsV2": self._listing.objects_v2,
            "HeadBucket": self._listing.head_bucket,
            "CreateBucket": self._listing.create_bucket,
            "GetBucketLocation": self._listing.location,
            "GetBucketVersioning": self._listing.versioning,
            "GetBucketLifecycleConfiguration": self._listing.lifecycle,
            "PutBucketLifecycleConfiguration": self._listing.put_lifecycle,
            "DeleteBucketLifecycle": self._listing.delete_lifecycle,
        }


def _settle(task: asyncio.Task[None], sent: asyncio.Future[web.StreamResponse]) -> None:
    if sent.done():
        return
    error = None if task.cancelled() else task.exception()
    if error is None:
        sent.cancel()
    else:
        sent.set_exception(error)


async def _pass(faults: Sequence[Fault], stage: Stage, call: Call) -> None:
    for fault in faults:
        await fault.at(stage, call)

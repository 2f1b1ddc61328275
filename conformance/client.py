"""A small tus client that hides nothing: one for each case, with what all cases need done the same way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urljoin

from conformance.case import Failure, Skip
from conformance.expect import offset_of
from conformance.message import Closed, Exchange, Fields, Origin, Response, request_target
from conformance.target import TUS_VERSION, Target
from conformance.wire import Connection, connect

OFFSET_OCTET_STREAM = "application/offset+octet-stream"
METADATA = "filename eC5iaW4=,filetype YXBwbGljYXRpb24vb2N0ZXQtc3RyZWFt"
"""What a browser's client would send for a file x.bin of type application/octet-stream."""

Headers = Mapping[str, str | None] | Mapping[str, str] | Sequence[tuple[str, str | None]] | Fields
"""Header fields of a request. A value of None leaves out a field that is sent by default."""

REST_SECONDS = 0.2
"""How long an offset must stay as it is to be taken for final."""


class Tus:
    """What a case holds: the target, a client for it, and a place for notes.

    Every request goes out on a fresh connection or on one that its last response left in good order.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.exchanges: list[Exchange] = []
        self.notes: list[str] = []
        self.slowest_seconds = 0.0
        self._created: list[str] = []
        self._open: list[Connection] = []
        self._idle: list[Connection] = []

    @property
    def url(self) -> str:
        """The creation URL."""
        return self.target.url

    def note(self, text: str) -> None:
        """Record something that the report shows and that decides nothing."""
        if text not in self.notes:
            self.notes.append(text)

    def needs(self, *extensions: str) -> None:
        """Skip the case unless all these extensions are advertised."""
        for extension in extensions:
            if not self.target.advertises(extension):
                raise Skip(f"{extension} is not advertised")

    def fields(self, origin: Origin, headers: Headers = ()) -> list[tuple[str, str]]:
        """Put Host, Tus-Resumable and the operator's headers before the given ones, unless those replace them."""
        given = _pairs(headers)
        replaced = {name.lower() for name, _ in given}
        defaults = [("Host", origin.authority), ("Tus-Resumable", TUS_VERSION), *self.target.options.headers]
        kept = [(name, value) for name, value in defaults if name.lower() not in replaced]
        return kept + [(name, value) for name, value in given if value is not None]

    async def connect(self, url: str | None = None) -> Connection:
        """Open a connection to the origin of a URL; the runner closes it when the case ends."""
        options = self.target.options
        connection = await connect(
            Origin.of(url or self.url), self.exchanges, min(options.answer_seconds, 15), verify=options.verify_tls
        )
        self._open.append(connection)
        return connection

    async def _connection(self, url: str) -> Connection:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if not connection.ended and now - connection.used_at < 1 and connection.origin == Origin.of(url):
                return connection
            connection.transport.close()
        return await self.connect(url)

    def send_head(
        self, connection: Connection, method: str, url: str, headers: Headers = (), body: bytes = b""
    ) -> None:
        """Send a head with the default fields on a connection of the case's own, and body bytes in the same write."""
        connection.send_head(method, request_target(url), self.fields(Origin.of(url), headers), body)

    async def receive(self, connection: Connection, *, interim: bool = False) -> Response:
        """Read the next response of a connection of the case's own."""
        started = asyncio.get_running_loop().time()
        try:
            return await connection.receive(self.target.options.answer_seconds, interim=interim)
        finally:
            self.slowest_seconds = max(self.slowest_seconds, asyncio.get_running_loop().time() - started)

    async def request(
        self, method: str, url: str, headers: Headers = (), body: bytes | None = None, *, chunked: bool = False
    ) -> Response:
        """Send one request and read its response; Content-Length or Transfer-Encoding is added."""
        framed = _pairs(headers)
        if chunked:
            framed.append(("Transfer-Encoding", "chunked"))
        elif body is not None or method in {"POST", "PATCH", "PUT"}:
            framed.append(("Content-Length", str(len(body or b""))))
        connection = await self._connection(url)
        self.send_head(connection, method, url, framed)
        sender = asyncio.ensure_future(_send_body(connection, body or b"", chunked=chunked))
        try:
            response = await self.receive(connection)
        finally:
            sent = sender.done()
            if not sent:
                sender.cancel()
            with contextlib.suppress(Closed, asyncio.CancelledError):
                await sender
        if response.keeps_alive and response.status < 300 and sent and not connection.unread:
            self._idle.append(connection)
        else:
            connection.transport.close()
        return response

    async def post(self, headers: Headers = (), body: bytes | None = None, *, chunked: bool = False) -> Response:
        """POST to the creation URL; a Location in the answer is remembered for the clean-up.

        Upload-Metadata as browsers send it goes with it unless the headers say otherwise: some servers want it, and
        that fault should cost them the cases on metadata, not all.
        """
        fields = _pairs(headers)
        if "upload-metadata" not in {name.lower() for name, _ in fields}:
            fields.append(("Upload-Metadata", METADATA))
        response = await self.request("POST", self.url, fields, body, chunked=chunked)
        if response.get("Location"):
            self._created.append(self.location(response))
        return response

    async def create(self, length: int | None, headers: Mapping[str, str | None] | None = None) -> str:
        """Create an upload and return its URL. A length of None leaves Upload-Length to the given headers."""
        limit = self.target.tus_max_size
        if length is not None and limit is not None and length > limit:
            raise Skip(f"needs an upload of {length} bytes, Tus-Max-Size is {limit}")
        fields: dict[str, str | None] = {} if length is None else {"Upload-Length": str(length)}
        response = await self.post({**fields, **(headers or {})})
        if response.status == 201 and response.get("Location"):
            return self.location(response)
        if self.target.advertises("creation"):
            raise Failure(f"201 with Location for a valid creation, got {response.status}", response)
        raise Skip(f"no upload could be created: POST answers {response.status}, creation is not advertised")

    async def create_full(self, content: bytes, headers: Mapping[str, str | None] | None = None) -> str:
        """Create an upload, send all its content by one PATCH, and return its URL."""
        url = await self.create(len(content), headers)
        if content:
            response = await self.patch(url, 0, content)
            if response.status != 204:
                raise Failure(f"204 for a valid PATCH of the whole content, got {response.status}", response)
        return url

    def location(self, response: Response) -> str:
        """Resolve the Location of a response to a POST against the creation URL (RFC 3986)."""
        location = response.get("Location")
        if not location:
            raise Failure("a Location header", response)
        return urljoin(self.url, location)

    async def head(self, url: str, headers: Headers = ()) -> Response:
        """HEAD an upload."""
        return await self.request("HEAD", url, headers)

    async def delete(self, url: str, headers: Headers = ()) -> Response:
        """DELETE an upload."""
        return await self.request("DELETE", url, headers)

    def patch_headers(
        self, offset: int | str, headers: Mapping[str, str | None] | None = None
    ) -> dict[str, str | None]:
        """Return the header fields of a valid PATCH at this offset, changed by the given ones."""
        return {"Content-Type": OFFSET_OCTET_STREAM, "Upload-Offset": str(offset), **(headers or {})}

    async def patch(
        self,
        url: str,
        offset: int | str,
        body: bytes,
        headers: Mapping[str, str | None] | None = None,
        *,
        chunked: bool = False,
    ) -> Response:
        """PATCH bytes at an offset."""
        return await self.request("PATCH", url, self.patch_headers(offset, headers), body, chunked=chunked)

    @property
    def lock_seconds(self) -> float:
        """How long an upload may stay locked after a lost connection."""
        return self.target.options.lock_seconds

    async def unlocked_head(self, url: str) -> Response:
        """HEAD an upload; while the answer is 423 ask again, as long as a lock may last."""
        deadline = asyncio.get_running_loop().time() + self.lock_seconds
        while True:
            response = await self.head(url)
            if response.status != 423 or asyncio.get_running_loop().time() > deadline:
                return response
            await asyncio.sleep(0.05)

    async def offset(self, url: str) -> int:
        """Return the Upload-Offset in bytes that HEAD reports; anything but a clean answer is a failure."""
        response = await self.unlocked_head(url)
        return offset_of(response)

    async def settled_offset(self, url: str, expected: int, seconds: float = 3.0) -> int:
        """Return the offset once it has stayed the expected one for a while, or what it is at the deadline.

        A server may still be writing what a lost connection brought, or not have noticed the loss; only where the
        offset comes to rest counts. One above the expected is returned at once.
        """
        clock = asyncio.get_running_loop().time
        deadline, rest = clock() + seconds, None
        while True:
            offset = await self.offset(url)
            rest = (rest or clock() + REST_SECONDS) if offset == expected else None
            if offset > expected or clock() > min(deadline, rest or deadline):
                return offset
            await asyncio.sleep(0.05)

    async def content(self, url: str) -> bytes | None:
        """Return the bytes that GET serves; None, with a note, if the server does not serve this upload."""
        response = await self.request("GET", url, {"Tus-Resumable": None})
        if response.status == 200:
            return response.body
        self.note(f"content not compared: GET answers {response.status}")
        return None

    async def finish(self, url: str, length: int, rest: bytes) -> None:
        """Resume from the offset that HEAD reports with `rest`, which holds the bytes of the whole upload."""
        offset = await self.offset(url)
        if offset < length:
            response = await self.patch(url, offset, rest[offset:length])
            if response.status != 204:
                raise Failure(f"204 for a PATCH at the offset {offset} that HEAD reported", response)

    @asynccontextmanager
    async def open_patch(
        self, url: str, offset: int, declared: int | None, headers: Mapping[str, str | None] | None = None
    ) -> AsyncIterator[Connection]:
        """Start a PATCH whose body the case sends itself; `declared` is its Content-Length, None means chunked."""
        framing = {"Transfer-Encoding": "chunked"} if declared is None else {"Content-Length": str(declared)}
        connection = await self.connect(url)
        self.send_head(connection, "PATCH", url, {**self.patch_headers(offset, headers), **framing})
        try:
            yield connection
        finally:
            connection.abort()

    async def close(self) -> None:
        """Close all connections, and delete what was created if the server lets clients do so."""
        if self.target.options.cleanup and self.target.advertises("termination"):
            with contextlib.suppress(Exception):
                async with asyncio.timeout(5):
                    for url in self._created:
                        await self.delete(url)
        for connection in self._open:
            connection.abort()


def _pairs(headers: Headers) -> list[tuple[str, str | None]]:
    return list(headers.items()) if isinstance(headers, Mapping) else list(headers)


async def _send_body(connection: Connection, body: bytes, *, chunked: bool) -> None:
    if chunked:
        if body:
            await connection.send_chunk(body)
        await connection.end_chunks()
    elif body:
        await connection.send(body)

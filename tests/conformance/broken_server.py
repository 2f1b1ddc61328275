"""A small, correct tus server in memory, as a pure ASGI app, with a switch for each fault that the suite must find.

`/files/` behaves. `/fault/NAME/files/` behaves but for one fault, listed in `broken_faults.py`. `/expires/N` before
`/files/` makes unfinished uploads expire after N seconds. Every handler reads as the rule it obeys, and `on(NAME)`
marks the place where the fault breaks it.
"""

import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from tests.conformance.broken_append import patch
from tests.conformance.broken_creation import create
from tests.conformance.broken_request import Answer, Disconnected, Receive, Request
from tests.conformance.broken_uploads import ALGORITHMS, MAX_SIZE, Upload, metadata_pairs

EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "termination",
    "concatenation",
)
METHODS = "POST, HEAD, PATCH, OPTIONS, DELETE, GET"
REQUEST_HEADERS = (
    "Tus-Resumable, Upload-Length, Upload-Offset, Upload-Metadata, Upload-Defer-Length, Upload-Concat, Upload-Checksum,"
    " Content-Type, Authorization, X-Requested-With, X-Request-ID, X-HTTP-Method-Override"
)

Send = Callable[[dict[str, Any]], Awaitable[None]]


class BrokenServer:
    """The ASGI app; its uploads live as long as it does."""

    def __init__(self) -> None:
        self.uploads: dict[str, Upload] = {}

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(self.uploads, scope, receive)
        try:
            await handle(request)
            answer = Answer(500)
        except Answer as decided:
            answer = decided
        except Disconnected:
            return
        headers = request.finish(answer)
        body = b"" if request.real_method == "HEAD" or answer.status == 204 else answer.body
        lines = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": lines})
        await send({"type": "http.response.body", "body": body})


async def handle(request: Request) -> None:  # noqa: C901 -- one branch a fault
    """Decide; every way out is an Answer."""
    on = request.on
    if not request.found:
        raise Answer(404)
    override = request.get("X-HTTP-Method-Override")
    if override and request.real_method == "POST" and not on("no-override"):
        request.method = override.upper()
    if request.method == "OPTIONS":
        options(request)
    if request.method == "GET":
        serve(request)
    if on("gate-after-lookup") and request.id:
        request.upload()
    gate(request)
    if on("redirects-slash") and request.bare:
        raise Answer(307, {"Location": request.base + "/"})
    if request.id:
        if request.method == "POST" and on("post-resets-upload"):
            request.upload().length = request.number("Upload-Length", "")
            raise Answer(201, {"Location": f"{request.base}/{request.id}"})
        handlers = {"HEAD": head, "PATCH": patch, "DELETE": delete}
        if request.method not in handlers:
            raise Answer(405, {} if on("405-without-allow") else {"Allow": METHODS})
        await handlers[request.method](request)
    if request.method == "POST":
        await create(request)
    raise Answer(405, {} if on("405-without-allow") else {"Allow": "POST, OPTIONS"})


def gate(request: Request) -> None:
    """Refuse other versions of tus before anything else."""
    on = request.on
    version = request.get("Tus-Resumable")
    head = request.method == "HEAD"
    if head and version is None and on("head-without-version-500"):
        raise Answer(500)
    lenient = on("accepts-any-version") or (version is None and on("version-optional"))
    if version != "1.0.0" and not lenient and not (head and on("head-skips-version")):
        raise Answer(412, {} if on("412-without-tus-version") else {"Tus-Version": "1.0.0"})


def options(request: Request) -> None:
    """Say what the server can do."""
    on = request.on
    if on("preflight-404") and request.id:
        raise Answer(404)
    if on("options-checks-version") and (request.get("Tus-Resumable") or "1.0.0") != "1.0.0":
        raise Answer(412)
    if on("options-wants-credentials") and request.get("Authorization") is None:
        raise Answer(401)
    extensions = [name for name in EXTENSIONS if not (on("creation-unadvertised") and name == "creation")]
    headers = {
        "Tus-Version": "1.0.0,,0.2.2" if on("empty-version-member") else "1.0.0",
        "Tus-Extension": ",".join(extensions) + (",,x" if on("empty-extension-member") else ""),
        "Tus-Checksum-Algorithm": "md5,crc32" if on("no-sha1") else ",".join(ALGORITHMS),
        "Access-Control-Allow-Methods": "GET, POST" if on("preflight-without-patch") else METHODS,
        "Access-Control-Allow-Headers": "Content-Type" if on("preflight-few-headers") else REQUEST_HEADERS,
    }
    if not on("length-as-float"):
        headers["Tus-Max-Size"] = f"{MAX_SIZE} bytes" if on("max-size-with-unit") else str(MAX_SIZE)
    raise Answer(204, headers)


def serve(request: Request) -> None:
    """Send a completed upload, always as an attachment."""
    on = request.on
    upload = request.upload()
    if not upload.complete:
        raise Answer(403)
    data = bytes(upload.data)
    headers = {"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff"}
    headers["Content-Disposition"] = "inline" if on("serves-inline") else "attachment"
    if on("metadata-in-headers"):
        filename = dict(metadata_pairs(upload.metadata or "") or []).get("filename", b"")
        headers["X-Name"] = filename.decode("latin-1").replace("\r\n", " ")
    raise Answer(200, headers, data[::-1] if on("serves-wrong-bytes") else data)


async def head(request: Request) -> None:
    """Report offset and length."""
    if request.on("unknown-head-200") and request.id not in request.uploads:
        raise Answer(200, {"Upload-Offset": "0"})
    upload = request.upload()
    if upload.writing and request.on("head-busy-409"):
        raise Answer(409)
    if upload.writing and request.on("lock-survives-abort"):
        raise Answer(423)
    raise Answer(200, upload.describe(request.on))


async def delete(request: Request) -> None:
    """Forget the upload; a PATCH that is running fails."""
    on = request.on
    upload = request.upload()
    if upload.complete and on("keeps-completed"):
        raise Answer(400)
    if not on("delete-does-nothing"):
        del request.uploads[request.id]
        upload.gone = True
    raise Answer(200, body=b"deleted") if on("delete-200") else Answer(204)


@contextmanager
def running(app: Any = None) -> Iterator[str]:
    """Run the server, or another ASGI app, by uvicorn in a thread on a free loopback port, and yield its origin."""
    config = uvicorn.Config(app or BrokenServer(), host="127.0.0.1", port=0, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        if time.monotonic() > deadline:
            raise TimeoutError("the broken server did not start")
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(10)


if __name__ == "__main__":
    with running() as origin:
        print(f"{origin}/files/", flush=True)
        threading.Event().wait()

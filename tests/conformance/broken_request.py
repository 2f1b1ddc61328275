"""One request to the broken server: its header fields, its body, and what every response carries."""

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from tests.conformance.broken_uploads import Upload, digits

PATH = re.compile(
    r"(?P<base>(/fault/(?P<fault>[a-z0-9-]+))?(/expires/(?P<expires>\d+))?/files)(?P<slash>/(?P<id>.*))?", re.DOTALL
)

RESPONSE_HEADERS = (
    "Location, Upload-Offset, Upload-Length, Upload-Metadata, Upload-Defer-Length, Upload-Concat, Upload-Expires,"
    " Tus-Version, Tus-Resumable, Tus-Max-Size, Tus-Extension, Tus-Checksum-Algorithm"
)

Receive = Callable[[], Awaitable[dict[str, Any]]]


class Answer(Exception):
    """A response, raised from wherever it is decided."""

    def __init__(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers or {}
        self.body = body


class Disconnected(Exception):
    """The client is gone; nobody wants an answer."""


class Request:
    """One request on its way through the rules."""

    def __init__(self, uploads: dict[str, Upload], scope: dict[str, Any], receive: Receive) -> None:
        path = PATH.fullmatch(scope["path"])
        self.uploads = uploads
        self.receive = receive
        self.real_method = self.method = str(scope["method"])
        self.lines = [(name.decode(), value.decode("latin-1").strip()) for name, value in scope["headers"]]
        self.query = bytes(scope["query_string"])
        self.found = path is not None
        self.fault = (path["fault"] or "") if path else ""
        self.base = path["base"] if path else "/files"
        self.expires_seconds = int(path["expires"] or 3600) if path else 3600
        self.bare = path is not None and path["slash"] is None
        self.id = (path["id"] or "").rstrip("/") if path else ""

    def on(self, fault: str) -> bool:
        """Whether this fault is switched on for this request."""
        return self.fault == fault

    def get(self, name: str) -> str | None:
        """Return a header field; two differing lines of one are refused."""
        values = [value for known, value in self.lines if known == name.lower()]
        if len(set(values)) > 1 and not self.on("first-duplicate-wins"):
            raise Answer(400)
        return values[0] if values else None

    def number(self, name: str, lax: str) -> int | None:
        """Return a header field of digits, None if absent; 400 if it is no number and the fault `lax` is off."""
        value = self.get(name)
        if value is None:
            return None
        if self.on(lax):
            with contextlib.suppress(ValueError):
                return int(value.encode("latin-1").decode("utf-8", "replace"))
        number = digits(value)
        if number is None:
            raise Answer(500 if self.on("malformed-offset-500") else 400)
        return number

    def upload(self) -> Upload:
        """Return the upload that the URL names; 404 or 410 if there is none."""
        upload = self.uploads.get(self.id)
        if upload is None and self.on("hostile-500") and not self.id.isalnum():
            raise Answer(500)
        if upload is None or (self.query and self.on("query-is-another-upload")):
            raise Answer(404)
        if upload.expired() and not self.on("serves-expired") and (not upload.complete or self.on("finished-expire")):
            raise Answer(404 if self.on("expired-404") else 410)
        return upload

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes; Disconnected if the client goes before its end."""
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    def finish(self, answer: Answer) -> dict[str, str]:
        """Return the header fields of a response, with those that every response carries."""
        headers = dict(answer.headers)
        error = answer.status >= 400
        without = (self.on("forgets-tus-resumable") and error) or (
            self.on("options-without-version") and self.method == "OPTIONS"
        )
        if not without:
            headers["Tus-Resumable"] = "1.0.0"
        if not (self.on("no-cors-on-errors") and error):
            headers["Access-Control-Allow-Origin"] = "*"
            headers["Access-Control-Expose-Headers"] = "Location" if self.on("exposes-little") else RESPONSE_HEADERS
        if self.on("echoes-origin-without-vary"):
            headers["Access-Control-Allow-Origin"] = dict(self.lines).get("origin", "null")
        if (answer.status != 204 or self.on("204-with-length")) and self.real_method != "HEAD":
            headers["Content-Length"] = str(len(answer.body))
        return headers

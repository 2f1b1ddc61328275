"""A minimal server of the IETF draft in memory, as an ASGI app, with one fault at most."""

import secrets
from dataclasses import dataclass, field
from typing import Any

from tests.conformance.broken_request import Receive
from tests.conformance.broken_server import Send


@dataclass
class RufhServer:
    """Creation, offset, append and cancellation; `fault` names what it gets wrong."""

    fault: str = ""
    uploads: dict[str, bytearray] = field(default_factory=dict)
    lengths: dict[str, str] = field(default_factory=dict)
    complete: set[str] = field(default_factory=set)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        status, answer = self.answer(scope["method"], scope["path"].rpartition("/")[2], headers, body)
        lines = [(name.encode(), value.encode()) for name, value in answer.items()]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body"})

    def answer(self, method: str, name: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str]]:
        """Decide status and header fields of a request."""
        if method == "POST":
            return self._create(headers, body)
        if name not in self.uploads:
            return 404, {}
        if method == "HEAD":
            return 204, self._describe(name)
        if method == "DELETE":
            if self.fault != "keeps-cancelled":
                del self.uploads[name]
            return 204, {}
        return self._append(name, headers, body)

    def _create(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str]]:
        complete, length = headers.get("upload-complete"), headers.get("upload-length")
        if complete == "?1" and length not in {None, str(len(body))} and self.fault != "any-length":
            return 400, {}
        name = secrets.token_hex(16)
        self.uploads[name] = bytearray(body)
        if length and self.fault != "forgets-length":
            self.lengths[name] = length
        return 201, {"Location": f"/files/{name}", "Upload-Complete": complete or "?0"}

    def _describe(self, name: str) -> dict[str, str]:
        fields = {"Upload-Offset": str(len(self.uploads[name]))}
        fields["Upload-Complete"] = "?1" if name in self.complete else "?0"
        if name in self.lengths:
            fields["Upload-Length"] = self.lengths[name]
        if self.fault != "cacheable":
            fields["Cache-Control"] = "no-store"
        return fields

    def _append(self, name: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str]]:
        data, offset = self.uploads[name], headers.get("upload-offset", "")
        if self.fault != "any-offset":
            if not offset.isdigit():
                return 400, {}
            if offset != str(len(data)):
                return 409, {"Upload-Offset": str(len(data)), "Upload-Complete": "?0"}
        data += body
        if headers.get("upload-complete") == "?1":
            self.complete.add(name)
        complete = "true" if self.fault == "complete-as-text" else headers.get("upload-complete", "?0")
        return 204, {"Upload-Complete": complete}

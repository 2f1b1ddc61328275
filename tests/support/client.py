"""A tus client that a test can look into: it knows each offset that it was shown, and none may ever be taken back."""

from __future__ import annotations

import base64
import hashlib
import http.client
import random
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final, Self
from urllib.parse import urljoin, urlsplit

TUS: Final = {"Tus-Resumable": "1.0.0"}
ANSWER_SECONDS: Final = 60.0
CONNECTION_LOST: Final = (OSError, http.client.HTTPException)
"""What a client sees of a server that was killed."""


def make_bytes(length: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(length)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Answer:
    """A status, its fields by lower-case name, and the body."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.fields = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    def __repr__(self) -> str:
        return f"{self.status} {self.fields} {self.body[:200]!r}"


def request(
    method: str, url: str, fields: Mapping[str, str] | None = None, body: bytes | None = None, *, tus: bool = True
) -> Answer:
    """One request on a connection of its own."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS)
    try:
        connection.request(method, parts.path, body, {**(TUS if tus else {}), **(fields or {})})
        return Answer(connection.getresponse())
    finally:
        connection.close()


class TusUpload:
    """One upload as its client knows it."""

    def __init__(self, url: str, *, acknowledged: int = 0) -> None:
        self.url = url
        self.acknowledged = acknowledged

    @classmethod
    def create(cls, creation_url: str, length: int | None, *, body: bytes | None = None, name: str = "") -> TusUpload:
        fields = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        if name:
            fields["Upload-Metadata"] = f"filename {base64.b64encode(name.encode()).decode()}"
        if body is not None:
            fields["Content-Type"] = "application/offset+octet-stream"
        answer = request("POST", creation_url, fields, body)
        assert answer.status == 201, answer
        upload = cls(urljoin(creation_url, answer.fields["location"]))
        if body is not None:
            upload.acknowledge(int(answer.fields["upload-offset"]))
        return upload

    @property
    def id(self) -> str:
        return self.url.rpartition("/")[2]

    def acknowledge(self, offset: int) -> int:
        """The server has shown this offset: it must be at least every one that it has shown before (I1, I3)."""
        assert offset >= self.acknowledged, f"offset fell from {self.acknowledged} to {offset}"
        self.acknowledged = offset
        return offset

    def head(self) -> int:
        answer = request("HEAD", self.url)
        assert answer.status == 200, answer
        return self.acknowledge(int(answer.fields["upload-offset"]))

    def patch(self, body: bytes, offset: int | None = None) -> Answer:
        """Append at the acknowledged offset; a 204 acknowledges more."""
        fields = {
            "Upload-Offset": str(self.acknowledged if offset is None else offset),
            "Content-Type": "application/offset+octet-stream",
        }
        answer = request("PATCH", self.url, fields, body)
        if answer.status == 204:
            self.acknowledge(int(answer.fields["upload-offset"]))
        return answer

    def delete(self) -> int:
        return request("DELETE", self.url).status

    def finish(self, content: bytes) -> None:
        """Resume by HEAD and send all that is missing."""
        offset = self.head()
        if offset < len(content):
            answer = self.patch(content[offset:])
            assert answer.status == 204, answer
        assert self.head() == len(content)

    def download(self) -> bytes:
        answer = request("GET", self.url, tus=False)
        assert answer.status == 200, answer
        return answer.body


class OpenPatch:
    """A PATCH whose body the test sends bit by bit."""

    def __init__(self, upload: TusUpload, body_bytes: int) -> None:
        parts = urlsplit(upload.url)
        self.sent = 0
        self._socket = socket.create_connection((parts.hostname, parts.port or 80), timeout=ANSWER_SECONDS)
        head = (
            f"PATCH {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nTus-Resumable: 1.0.0\r\n"
            f"Upload-Offset: {upload.acknowledged}\r\nContent-Type: application/offset+octet-stream\r\n"
            f"Content-Length: {body_bytes}\r\n\r\n"
        )
        self._socket.sendall(head.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, block: bytes | memoryview) -> None:
        self._socket.sendall(block)
        self.sent += len(block)

    def reset(self) -> None:
        """Close with an RST instead of a FIN."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def answer(self) -> Answer | None:
        """None where the server closed the connection without one."""
        with suppress(*CONNECTION_LOST):
            response = http.client.HTTPResponse(self._socket, method="PATCH")
            try:
                response.begin()
                return Answer(response)
            finally:
                response.close()
        return None

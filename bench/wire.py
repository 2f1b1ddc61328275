"""HTTP/1.1 as the load generator speaks it: heads are bytes made beforehand, answers are cut out of what came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TUS: Final = "Tus-Resumable: 1.0.0\r\n"
METADATA: Final = "Upload-Metadata: filename YmVuY2guYmlu,filetype YXBwbGljYXRpb24vb2N0ZXQtc3RyZWFt\r\n"
"""As the common clients send it; tuspyserver answers no HEAD without."""

HEAD_END: Final = b"\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
NO_BODY: Final = frozenset({204, 304})


class Broken(Exception):
    """The server did not do what the load asked for: its figure does not count."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response's status and head; its body is dropped."""

    status: int
    head: bytes

    def header(self, name: str) -> str | None:
        """The value of one header field."""
        lowered = name.lower().encode() + b":"
        for line in self.head.split(b"\r\n")[1:]:
            if line[: len(lowered)].lower() == lowered:
                return line[len(lowered) :].strip().decode("latin-1")
        return None

    @property
    def closes(self) -> bool:
        """Whether the server ends the connection after it."""
        return (self.header("Connection") or "").lower() == "close"

    def expect(self, status: int, what: str) -> None:
        """Raise `Broken` unless the status is the one."""
        if self.status != status:
            raise Broken(f"{what}: {self.status} in place of {status}")


def cut_answer(received: bytearray, *, to_head: bool) -> Answer | None:
    """Take one whole answer off the front of `received`; None if it is not all there yet.

    Args:
        received: bytes of one connection, in order.
        to_head: whether it answers a HEAD, so that no body follows.
    """
    end = received.find(HEAD_END)
    if end < 0:
        return None
    answer = Answer(int(received[9:12]), bytes(received[:end]))
    stop = end + len(HEAD_END)
    if not to_head and answer.status not in NO_BODY:
        length = answer.header("Content-Length")
        if length is not None:
            stop += int(length)
        elif (answer.header("Transfer-Encoding") or "").lower() == "chunked":
            last = received.find(LAST_CHUNK, stop)
            if last < 0:
                return None
            stop = last + len(LAST_CHUNK)
        if len(received) < stop:
            return None
    del received[:stop]
    return answer


def post(path: str, host: str, length: int, *, with_body: bool) -> bytes:
    """Head of a creation; `with_body`: all bytes follow (creation-with-upload)."""
    body = f"Content-Type: application/offset+octet-stream\r\nContent-Length: {length}\r\n" if with_body else ""
    body = body or "Content-Length: 0\r\n"
    return f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{TUS}Upload-Length: {length}\r\n{METADATA}{body}\r\n".encode()


def patch(path: str, host: str, upload_offset: int, count: int) -> bytes:
    """Head of a PATCH of `count` bytes."""
    return (
        f"PATCH {path} HTTP/1.1\r\nHost: {host}\r\n{TUS}Upload-Offset: {upload_offset}\r\n"
        f"Content-Type: application/offset+octet-stream\r\nContent-Length: {count}\r\n\r\n"
    ).encode()


def head(path: str, host: str) -> bytes:
    """A HEAD."""
    return f"HEAD {path} HTTP/1.1\r\nHost: {host}\r\n{TUS}\r\n".encode()


def options(path: str, host: str) -> bytes:
    """An OPTIONS."""
    return f"OPTIONS {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()

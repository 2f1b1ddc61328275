"""STOMP 1.2 frames, to and from bytes; knows no socket and no clock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

HEAD_BYTES: Final = 16 << 10
BODY_BYTES: Final = 64 << 10
MOST_HEADERS: Final = 64

_PLAIN: Final = frozenset({"CONNECT", "STOMP", "CONNECTED"})
"""Frames whose headers are not escaped, as in STOMP 1.0."""

_BODY: Final = frozenset({"SEND", "MESSAGE", "ERROR"})
_ESCAPES: Final = {"\\": "\\\\", "\r": "\\r", "\n": "\\n", ":": "\\c"}
_UNESCAPES: Final = {escaped: plain for plain, escaped in _ESCAPES.items()}
_ESCAPED: Final = re.compile(r"\\(.?)", re.DOTALL)
_SPECIAL: Final = re.compile(r"[\\\r\n:]")


class BadFrame(Exception):
    """The client breaks the protocol; the text says how, and holds nothing of what it sent."""


@dataclass(frozen=True, slots=True)
class StompFrame:
    """One frame. Of a header that came several times, the first is the one."""

    command: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def encode(command: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> bytes:
    """As it is sent."""
    lines = [command]
    if command in _PLAIN:
        lines += [f"{name}:{value}" for name, value in headers]
    else:
        lines += [f"{_escape(name)}:{_escape(value)}" for name, value in headers]
    if command in _BODY:
        lines.append(f"content-length:{len(body)}")
    return "\n".join(lines).encode() + b"\n\n" + body + b"\0"


def _escape(text: str) -> str:
    return _SPECIAL.sub(lambda match: _ESCAPES[match[0]], text)


def _unescape(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[0] not in _UNESCAPES:
            raise BadFrame("a header has an undefined escape sequence")
        return _UNESCAPES[match[0]]

    return _ESCAPED.sub(one, text) if "\\" in text else text


class Parser:
    """Takes bytes as they come, split anywhere, and gives whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[StompFrame]:
        """The frames that are complete now. Ends of lines between frames are heartbeats, and skipped.

        Raises:
            BadFrame: the parser is of no use any more.
        """
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> StompFrame | None:
        buffer = self._buffer
        start = 0
        while start < len(buffer) and buffer[start] in b"\r\n":
            start += 1
        del buffer[:start]
        if not buffer:
            return None
        found = _HEAD_END.search(buffer, 0, HEAD_BYTES)
        if found is None:
            if len(buffer) >= HEAD_BYTES:
                raise BadFrame(f"a frame's head has more than {HEAD_BYTES} bytes")
            if b"\0" in buffer:
                raise BadFrame("a frame ends in its head")
            return None
        command, headers = _parse_head(bytes(buffer[: found.start()]))
        end = self._body_end(found.end(), headers)
        if end is None:
            return None
        body = bytes(buffer[found.end() : end])
        del buffer[: end + 1]
        if body and command not in _BODY:
            raise BadFrame(f"a {command} frame has no body" if command in COMMANDS else "a frame has a body")
        return StompFrame(command, headers, body)

    def _body_end(self, start: int, headers: Mapping[str, str]) -> int | None:
        """Where the frame's NUL is; None while it has not come."""
        buffer = self._buffer
        given = headers.get("content-length")
        if given is None:
            end = buffer.find(b"\0", start, start + BODY_BYTES + 1)
            if end < 0 and len(buffer) - start > BODY_BYTES:
                raise BadFrame(f"a body has more than {BODY_BYTES} bytes")
            return end if end >= 0 else None
        if not (given.isascii() and given.isdecimal() and len(given) <= len(str(BODY_BYTES))):
            raise BadFrame("content-length is no number, or too large")
        end = start + int(given)
        if int(given) > BODY_BYTES:
            raise BadFrame(f"a body has more than {BODY_BYTES} bytes")
        if len(buffer) <= end:
            return None
        if buffer[end] != 0:
            raise BadFrame("a body is longer than its content-length")
        return end


COMMANDS: Final = frozenset(
    "CONNECT STOMP SEND SUBSCRIBE UNSUBSCRIBE BEGIN COMMIT ABORT ACK NACK DISCONNECT".split()  # noqa: SIM905
)
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")


def _parse_head(head: bytes) -> tuple[str, dict[str, str]]:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadFrame("a frame's head is no UTF-8") from error
    if "\0" in text:
        raise BadFrame("a frame ends in its head")
    command, *lines = (line.removesuffix("\r") for line in text.split("\n"))
    if len(lines) > MOST_HEADERS:
        raise BadFrame(f"a frame has more than {MOST_HEADERS} headers")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name:
            raise BadFrame("a header is not name:value")
        if command not in _PLAIN:
            if ":" in value:
                raise BadFrame("a header's value has a colon that is not escaped")
            name, value = _unescape(name), _unescape(value)
        headers.setdefault(name, value)
    return command, headers

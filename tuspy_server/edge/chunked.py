"""The chunked transfer coding (RFC 9112 7.1), decoded strictly and in pieces of any size."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

LINE_LIMIT_BYTES: Final = 256
"""A chunk's size with its extensions."""

TRAILER_LIMIT_BYTES: Final = 8192
"""All trailers together."""

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
# The "bad whitespace" that the grammar allows is refused: parsers differ about it, and differences are for smugglers.
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;%b(?:=(?:%b|%b))?)*" % (_TOKEN, _TOKEN, _QUOTED))
_PLAIN_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_TRAILER: Final = re.compile(rb"(%b):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*" % _TOKEN)

FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
"""Fields that must not be trailers (RFC 9110 6.5.1)."""


class _State(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()
    DONE = auto()
    BROKEN = auto()


class ChunkedDecoder:
    """Feed it what arrives; it says what is body, and where the message ends.

    Attributes:
        trailers: lower-case names with values; complete when `done`. They are kept apart from the headers, because a
            trailer must not change what has been decided by the head (RFC 9110 6.5.1).
    """

    def __init__(self) -> None:
        self.trailers: list[tuple[bytes, bytes]] = []
        self._state = _State.SIZE
        self._left = 0
        self._line = bytearray()
        self._trailer_bytes = 0

    @property
    def done(self) -> bool:
        """Whether the last chunk and its trailers have been read."""
        return self._state is _State.DONE

    @property
    def broken(self) -> bool:
        """Whether the coding is malformed: where the body ends is unknown, so the connection cannot go on."""
        return self._state is _State.BROKEN

    def decode(self, data: memoryview) -> tuple[list[memoryview], int]:
        """Take what arrived next.

        Returns:
            Pieces of the body, views into `data`; and how many bytes of `data` belong to this message: all of them
            unless it is `done` or `broken`.
        """
        pieces: list[memoryview] = []
        position = 0
        while position < len(data) and self._state not in (_State.DONE, _State.BROKEN):
            if self._state is _State.DATA:
                piece = data[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _State.DATA_END
                continue
            if self._state is _State.SIZE and not self._line:
                position = _whole_chunks(data, position, pieces)
            if position < len(data):
                position = self._take_line(data, position)
        return pieces, position

    def _take_line(self, data: memoryview, position: int) -> int:
        """Add to the current line, and act on it where it ends. Only CRLF ends a line."""
        limit = TRAILER_LIMIT_BYTES if self._state is _State.TRAILERS else LINE_LIMIT_BYTES
        window = bytes(data[position : position + limit + 2])
        end = window.find(b"\n")
        self._line += window if end < 0 else window[: end + 1]
        position += len(window) if end < 0 else end + 1
        if len(self._line) > limit:
            self._state = _State.BROKEN
        elif end >= 0:
            line, self._line = bytes(self._line), bytearray()
            if line.endswith(b"\r\n"):
                self._end_line(line[:-2])
            else:
                self._state = _State.BROKEN
        return position

    def _end_line(self, line: bytes) -> None:
        if self._state is _State.DATA_END:
            self._state = _State.BROKEN if line else _State.SIZE  # more data than the size said
        elif self._state is _State.SIZE:
            match = _SIZE.fullmatch(line)
            if match is None:
                self._state = _State.BROKEN
                return
            self._left = int(match[1], 16)
            self._state = _State.DATA if self._left else _State.TRAILERS
        elif not line:
            self._state = _State.DONE
        else:
            self._trailer_bytes += len(line)
            match = _TRAILER.fullmatch(line)
            name = b"" if match is None else match[1].lower()
            # A second framing behind the first one's end is a request hidden in this one's trailers.
            if match is None or name in FRAMING or self._trailer_bytes > TRAILER_LIMIT_BYTES:
                self._state = _State.BROKEN
                return
            self.trailers.append((name, match[2]))


def _whole_chunks(data: memoryview, position: int, pieces: list[memoryview]) -> int:
    """Take those that lie there with both their lines, as small ones do: by tens of thousands in one read, each of
    which would hold the loop (fault R08). What is left of them, or is none, is for the lines one by one."""
    while (match := _PLAIN_SIZE.match(data, position)) is not None:
        end = match.end() + int(match[1], 16)
        if end == match.end() or bytes(data[end : end + 2]) != b"\r\n":
            break
        pieces.append(data[match.end() : end])
        position = end + 2
    return position

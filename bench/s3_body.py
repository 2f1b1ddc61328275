"""Bodies as the S3 sink takes them: framings taken off, small bytes kept, large ones counted and let go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

SAMPLE_BYTES: Final = 32
"""Of each end of a body whose bytes are let go: enough to see that a part is at its place."""


class Body:
    """One request's payload. `length` and both ends are always there; `data` only where it was to be kept."""

    __slots__ = ("data", "first", "last", "length")

    def __init__(self, *, keep: bool) -> None:
        self.length = 0
        self.first = b""
        self.last = b""
        self.data: bytearray | None = bytearray() if keep else None

    def take(self, view: memoryview) -> None:
        """The next bytes; the view is free again afterwards."""
        self.length += len(view)
        if self.data is not None:
            self.data += view
        if len(self.first) < SAMPLE_BYTES:
            self.first += bytes(view[: SAMPLE_BYTES - len(self.first)])
        self.last = (self.last + bytes(view[-SAMPLE_BYTES:]))[-SAMPLE_BYTES:]


class Chunks:
    """Takes a chunked framing off: that of HTTP/1.1, and that of S3 (`aws-chunked`), whose grammar is the same.

    A chunk's signature is an extension to this grammar, and is not looked at.
    """

    def __init__(self, take: Callable[[memoryview], None]) -> None:
        """`take`: is given the payload as it comes."""
        self.trailers: dict[str, str] = {}
        self.done = False
        self._take = take
        self._line = bytearray()
        self._left = 0
        self._in_trailers = False
        self._after_data = False

    def feed(self, view: memoryview) -> int:
        """Take from the front of `view`; returns how many bytes of it belong to this body.

        Raises:
            ValueError: it is no such framing.
        """
        position, end = 0, len(view)
        while position < end and not self.done:
            if self._left:
                stop = min(end, position + self._left)
                self._take(view[position:stop])
                self._left -= stop - position
                position = stop
                self._after_data = not self._left
                continue
            rest = bytes(view[position : position + 4096])
            found = rest.find(b"\n")
            taken = len(rest) if found < 0 else found + 1
            self._line += rest[:taken]
            position += taken
            if found >= 0:
                line = self._line.decode("latin-1").rstrip("\r\n")
                self._line.clear()
                self._ended(line)
        return position

    def _ended(self, line: str) -> None:
        if self._after_data:
            if line:
                raise ValueError(f"a chunk goes on past its size: {line[:40]!r}")
            self._after_data = False
        elif self._in_trailers:
            if not line:
                self.done = True
                return
            name, _, value = line.partition(":")
            self.trailers[name.strip().lower()] = value.strip()
        else:
            self._left = int(line.partition(";")[0], 16)
            self._in_trailers = not self._left

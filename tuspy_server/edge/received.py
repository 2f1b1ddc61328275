"""What a connection has received ahead of its next request: one whole head at a time is taken out of it."""

from __future__ import annotations

import re
from typing import Final

from tuspy_server.edge.head import BadHead

_METHOD: Final = re.compile(rb"[A-Z]")
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")


class Received:
    """Bytes in their order."""

    def __init__(self, head_limit_bytes: int) -> None:
        self._head_limit_bytes = head_limit_bytes
        self._bytes = bytearray()
        self._searched = 0

    def __len__(self) -> int:
        return len(self._bytes)

    @property
    def begun(self) -> bool:
        """Whether a part of a head has been looked at, and waits for the rest."""
        return self._searched > 0

    @property
    def unread(self) -> bool:
        """Whether there are bytes in which no head has been looked for yet."""
        return len(self._bytes) > self._searched

    def append(self, data: bytes | memoryview) -> None:
        """Add what arrived."""
        self._bytes += data

    def take_head(self) -> bytes | None:
        """A head with its empty line; None while its end has not arrived.

        Raises:
            BadHead: 400, it can no longer become one; 414, 431, it is too long.
        """
        received = self._bytes
        if not _METHOD.match(received):
            self._skip_empty_lines()
            if not received or received == b"\r":
                return None
            # No further byte makes a head of it: TLS on a plain port, for one.
            if not _METHOD.match(received):
                raise BadHead(400, "a request begins with its method")
        end = received.find(b"\r\n\r\n", max(0, self._searched - 3))
        if end < 0:
            if _BARE_LF.search(received, max(0, self._searched - 1)):
                raise BadHead(400, "the request's head is malformed")
            self._searched = len(received)
        if max(end, self._searched) > self._head_limit_bytes:
            if b"\r\n" in received[: self._head_limit_bytes]:
                raise BadHead(431, "the request's headers are too large")
            raise BadHead(414, "the request's target is too long")
        if end < 0:
            return None
        self._searched = 0
        head = bytes(received[: end + 4])
        del received[: end + 4]
        return head

    def take_rest(self) -> bytes:
        """All that is left."""
        rest = bytes(self._bytes)
        self._bytes.clear()
        return rest

    def _skip_empty_lines(self) -> None:
        """RFC 9112 2.2: empty lines before a request line are ignored."""
        start = 0
        while self._bytes.startswith(b"\r\n", start):
            start += 2
        if start:
            del self._bytes[:start]

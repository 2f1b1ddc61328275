"""The limits of a connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeOptions:
    """What a client may ask of one connection.

    Attributes:
        head_bytes: the request line and all headers.
        head_seconds: from the first byte of a head to its last.
        least_bytes_per_second: of a body, while the client is waited for.
        linger_seconds, linger_most_seconds, linger_bytes: what is still taken and thrown away after an early answer, so
            that the client can read it instead of a reset (fault N08): as long as it goes on sending, the first of them
            without a byte at most.
        stopping_linger_seconds: the same while the server stops.
        unread_seconds: without one byte taken by the client, while an answer waits for it.
    """

    head_bytes: int = 48 << 10
    head_seconds: float = 15.0
    least_bytes_per_second: float = 128.0
    linger_seconds: float = 5.0
    linger_most_seconds: float = 30.0
    linger_bytes: int = 256 << 20
    stopping_linger_seconds: float = 0.5
    unread_seconds: float = 60.0

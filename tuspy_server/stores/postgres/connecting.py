"""What is done once for each new connection."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final

import asyncpg

TYPES: Final = "SELECT $1::bigint[], $2::integer[], $3::boolean[], $4::text[]"
"""What statements take that asyncpg asks about on each connection: half the cost of a new one, and not a call's."""

KEEPALIVE: Final = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 25_000}
"""Seconds, but the last: milliseconds."""


async def prepare(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """What each connection is told before its first statement."""
    _keep_alive(connection)
    try:
        await connection.fetchrow(TYPES, None, None, None, None)
    except BaseException:
        connection.terminate()  # asyncpg would close it with good manners, beyond the caller's deadline
        raise


def _keep_alive(connection: object) -> None:
    """Let the kernel notice a server that is gone without a word, also while nothing is asked."""
    transport = getattr(connection, "_transport", None)
    peer = None if transport is None else transport.get_extra_info("socket")
    if peer is None or peer.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with suppress(OSError):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

"""What `connection` relies on in uvicorn, tried at start-up: a release that changes it must not break a server."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from typing import Any, Final

import uvicorn
from uvicorn.lifespan.off import LifespanOff

from tuspy_server.edge.connection import HEAD_SCRATCH, EdgeConnection
from tuspy_server.ports import BODY_EXTENSION

SECONDS: Final = 1.0

KNOWN: Final = bytes(range(256)) * (len(HEAD_SCRATCH) // 256 * 2)
"""Longer than what comes with a head, so that the socket fills the reader's buffer, too."""

REQUESTS: Final = (
    b"POST /known HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(KNOWN), KNOWN),
    b"POST /chunked HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n0\r\nname: trailer\r\n\r\n",
)
SEEN: Final = [
    ("/known", KNOWN, []),
    ("/chunked", b"hello", [(b"name", b"trailer")]),
]


async def self_test(http: Any = EdgeConnection) -> str | None:
    """Serve two requests of one connection on loopback, then stop, as uvicorn would.

    Args:
        http: the protocol class, or a factory of it, as for `uvicorn.Config`.

    Returns:
        None where all is well; otherwise why the stock class must be used. Never raises.
    """
    try:
        async with asyncio.timeout(SECONDS):
            return await _serve(http)
    except TimeoutError:
        return "it hangs"
    except Exception as error:  # whatever it is, the stock class serves
        return f"{type(error).__name__}: {error}"


async def _serve(http: Any) -> str | None:
    seen: list[tuple[str, bytes, list[tuple[bytes, bytes]]]] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        source, buffer, body = scope["extensions"][BODY_EXTENSION], bytearray(len(KNOWN)), b""
        while count := await source.readinto(memoryview(buffer)):
            body += buffer[:count]
        seen.append((scope["path"], body, source.trailers))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    config = uvicorn.Config(
        app, http=http, ws="none", interface="asgi3", lifespan="off", log_config=None, access_log=False
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = LifespanOff(config)
    state = server.server_state
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        await server.startup([listener])
        stack.callback(_close, server)
        await server.on_tick(0)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        stack.callback(writer.close)
        answers = b""
        for request in REQUESTS:
            writer.write(request)
            answers += await reader.readuntil(b"\r\n\r\n")
        counted = (len(state.connections), state.total_requests)
        stopping = asyncio.ensure_future(server.shutdown())
        stack.callback(stopping.cancel)
        closed = await reader.read() == b""
        await stopping
    checks = {
        "the bodies differ": seen == SEEN,
        "the answers differ": answers.count(b"HTTP/1.1 204") == len(REQUESTS),
        "uvicorn's headers are missing": answers.count(b"date: ") == len(REQUESTS),
        "connections or requests are not counted": counted == (1, len(REQUESTS)),
        "a shutdown does not end the connections": closed and not state.connections and not state.tasks,
    }
    return next((problem for problem, holds in checks.items() if not holds), None)


def _close(server: uvicorn.Server) -> None:
    for listener in server.servers:
        listener.close()

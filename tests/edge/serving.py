"""A real uvicorn server with our protocol class on a loopback socket, and clients that do as they are told."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog
import uvicorn
from uvicorn.lifespan.off import LifespanOff

from tests.web.wire import Wire
from tuspy_server.edge.connection import EdgeConnection
from tuspy_server.edge.options import EdgeOptions

DEADLINE_SECONDS: Final = 20.0


@dataclass
class Edge:
    """One server."""

    server: uvicorn.Server
    port: int = 0
    problems: list[str] = field(default_factory=list)
    """Errors logged, and exceptions that nobody awaited."""
    crashes: int = 0
    """Applications' crashes that the test expects."""

    may_reset: bool = False
    wires: list[Wire] = field(default_factory=list)

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)

    async def connect(self, **options: Any) -> Wire:
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20, **options))
        self.wires.append(wire)
        return wire

    def socket(self) -> socket.socket:
        """A blocking one: what is sent by it is in the server's kernel when the call returns."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_SECONDS)

    async def exchange(self, data: bytes) -> bytes:
        """Send, then read to the end of the connection."""
        wire = await self.connect()
        try:
            await wire.send(data)
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await wire.reader.read()
        finally:
            await wire.close()


@asynccontextmanager
async def serving(
    app: Any, *, options: EdgeOptions | None = None, http: Any = None, **config: Any
) -> AsyncIterator[Edge]:
    """At its end no connection, task or problem may be left."""
    http = http or functools.partial(EdgeConnection, options=options)
    settings: dict[str, Any] = {"ws": "none", "lifespan": "off", "log_config": None, "access_log": False}
    server = uvicorn.Server(uvicorn.Config(app, http=http, **(settings | config)))
    server.config.load()
    server.lifespan = LifespanOff(server.config)
    edge = Edge(server)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: edge.problems.append(str(context)))
    handler = _Problems(edge.problems)
    logging.getLogger("asyncio").addHandler(handler)
    with structlog.testing.capture_logs() as logs:
        sockets = None if "uds" in config else [_listener()]
        await server.startup(sockets)
        await server.on_tick(0)
        if sockets:
            edge.port = sockets[0].getsockname()[1]
        try:
            yield edge
        finally:
            for wire in edge.wires:
                await wire.close()
            await _close(server)
            logging.getLogger("asyncio").removeHandler(handler)
    events = [entry for entry in logs if entry["log_level"] in ("warning", "error")]
    crashes = [entry for entry in events if entry["event"] in ("application.crashed", "application.answer_missing")]
    assert len(crashes) == edge.crashes, crashes
    edge.problems += [str(entry) for entry in events if entry not in crashes]
    assert edge.problems == []


def _listener() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    return listener


async def _close(server: uvicorn.Server) -> None:
    for listener in server.servers:
        listener.close()
    for connection in list(server.server_state.connections):
        connection.shutdown()
    await until(lambda: not server.server_state.connections and not server.server_state.tasks)


class _Problems(logging.Handler):
    def __init__(self, problems: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._problems = problems

    def emit(self, record: logging.LogRecord) -> None:
        self._problems.append(record.getMessage())


async def until(condition: Callable[[], object], seconds: float = DEADLINE_SECONDS) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what is waited for knows nothing of events
            await asyncio.sleep(0.002)


def reset(client: socket.socket) -> None:
    """Close with an RST instead of a FIN."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


async def respond(
    send: Any, body: bytes = b"", status: int = 200, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    if headers is None:
        headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Any) -> tuple[bytes, bool]:
    """All that ASGI gives, and whether it was the whole body."""
    body = bytearray()
    while True:
        message: MutableMapping[str, Any] = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body), False
        body += message["body"]
        if not message["more_body"]:
            return bytes(body), True


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with method, path and body."""
    body, whole = await read_body(receive)
    if whole:
        await respond(send, f"{scope['method']} {scope['path']} ".encode() + body)


@dataclass(frozen=True)
class Tls:
    certificate: Path
    key: Path

    @property
    def server(self) -> dict[str, Any]:
        return {"ssl_certfile": str(self.certificate), "ssl_keyfile": str(self.key)}

    @property
    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))


def self_signed(folder: Path) -> Tls:
    tls = Tls(folder / "certificate.pem", folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([*command, "-keyout", tls.key, "-out", tls.certificate], check=True, capture_output=True)
    return tls

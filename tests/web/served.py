"""A real server on a port, with what tests ask of it over and over."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeAlias

import uvicorn
from starlette.types import ASGIApp
from uvicorn.lifespan.on import LifespanOn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tests.web.wire import BODY, TUS, Fields, Reply, Wire
from tuspy_server import Settings, TusServer
from tuspy_server.edge.connection import EdgeConnection
from tuspy_server.edge.websocket import MESSAGE_BYTES, EdgeWebSocket

Snapshot: TypeAlias = dict[str, Any]
HttpClass: TypeAlias = type[HttpToolsProtocol] | type[EdgeConnection]


@asynccontextmanager
async def listen(
    app: ASGIApp, *, lifespan: bool = True, root_path: str = "", http: HttpClass = HttpToolsProtocol
) -> AsyncIterator[int]:
    """Serve an app by one of uvicorn's HTTP classes, or ours, in this event loop; yields the port.

    `uvicorn.Server` itself would take the signals of pytest, and sleep 0.2 s at each of hundreds of ends.
    """
    config = uvicorn.Config(
        app,
        ws=EdgeWebSocket,
        ws_max_size=MESSAGE_BYTES,
        ws_per_message_deflate=False,
        lifespan="on",
        root_path=root_path,
        log_config=None,
        proxy_headers=False,
    )
    config.load()
    state = ServerState()
    life = LifespanOn(config)
    if lifespan:
        await life.startup()
        assert not life.should_exit, "the lifespan's start has failed"
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: http(config=config, server_state=state, app_state=life.state), "127.0.0.1", 0
    )
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for connection in list(state.connections):
            connection.shutdown()
        await asyncio.gather(*state.tasks)
        async with asyncio.timeout(20):
            # Some linger until their client is seen to have closed.
            while state.connections:  # noqa: ASYNC110 - uvicorn's set tells nobody
                await asyncio.sleep(0.001)
        if lifespan:
            await life.shutdown()


class Served:
    """One server's address, and requests to it, each on a connection of its own."""

    def __init__(self, port: int, tus: TusServer, path: str = "/files/") -> None:
        self.port = port
        self.tus = tus
        self.path = path

    async def request(self, method: str, target: str, fields: Fields = (), body: bytes = b"") -> Reply:
        wire = await Wire.connect(self.port)
        try:
            return await wire.request(method, target, fields, body)
        finally:
            await wire.close()

    async def raw(self, data: bytes, method: str = "GET") -> Reply:
        wire = await Wire.connect(self.port)
        try:
            await wire.send(data)
            return await wire.receive(method)
        finally:
            await wire.close()

    async def post(self, fields: Fields = (), body: bytes = b"") -> Reply:
        return await self.request("POST", self.path, {**TUS, **dict(fields)}, body)

    async def create(self, length: int | None = 10, body: bytes = b"", metadata: str | None = None) -> str:
        """The path of a new upload."""
        fields = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        if metadata is not None:
            fields["Upload-Metadata"] = metadata
        reply = await self.post({**fields, **(BODY if body else {})}, body)
        assert reply.status == 201, reply.text
        return reply["Location"]

    async def patch(self, target: str, offset: int, body: bytes = b"", fields: Fields = ()) -> Reply:
        return await self.request("PATCH", target, {**BODY, "Upload-Offset": str(offset), **dict(fields)}, body)

    async def look(self, target: str) -> Reply:
        return await self.request("HEAD", target, TUS)

    async def offset(self, target: str) -> int:
        return int((await self.look(target))["Upload-Offset"])

    async def content(self, target: str) -> bytes:
        path = await self.tus.path(upload_id(target))
        assert path is not None
        return await asyncio.to_thread(path.read_bytes) if await asyncio.to_thread(path.exists) else b""

    def snapshot(self) -> Snapshot:
        """Every row and every byte of the data folder: what a refused request must leave as it was."""
        return snapshot(self.tus.settings.data)


def upload_id(target: str) -> str:
    return target.rpartition("/")[2]


def snapshot(data: Path) -> Snapshot:
    found: Snapshot = {}
    with closing(sqlite3.connect(data / "tuspy.sqlite3")) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for name in names:
            # The relay numbers events, and consumers are seen, whatever requests do.
            columns = [column for (column,) in database.execute(f"SELECT name FROM pragma_table_info('{name}')")]
            wanted = ", ".join(column for column in columns if column != "relayed")
            if name not in ("consumers", "deliveries"):
                found[name] = sorted(database.execute(f"SELECT {wanted} FROM {name}"), key=repr)
    for file in (data / "files").rglob("*"):
        if file.is_file():
            found[str(file)] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def settings(data: Path, **changes: Any) -> Settings:
    """Fast on a disk that tests share; crashes are tested elsewhere."""
    wanted: dict[str, Any] = {"data": data, "durability": "process"}
    return Settings(**(wanted | changes))

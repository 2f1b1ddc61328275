"""An HTTP/1.1 front of the broken server that does on the wire what uvicorn would never let an app do.

It holds each request whole before the app sees it, so it knows checksum trailers; aborted bodies are not its business.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import h11

from tests.conformance.broken_server import BrokenServer

Fields = list[tuple[bytes, bytes]]


class Front:
    """One server; `fault` names what it does wrong on the wire."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.app = BrokenServer()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        connection = h11.Connection(h11.SERVER)
        with suppress(h11.RemoteProtocolError, ConnectionError):
            while await self._one(connection, reader, writer):
                connection.start_next_cycle()
        writer.close()

    async def _one(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        head: h11.Request | None = None
        body, trailers = bytearray(), Fields()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue and self.fault != "never-continues":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                    connection.send(h11.InformationalResponse(status_code=100, headers=[]))
                if self.fault == "resets-409" and head is not None and (b"upload-offset", b"5") in head.headers:
                    self._reset(writer)
                    return False
                connection.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                trailers = list(event.headers)
                break
            else:
                return False
        assert head is not None
        status, fields, answer = await self._ask(head, bytes(body), trailers)
        self._answer(connection, head, writer, status, fields, answer)
        await writer.drain()
        return connection.our_state is h11.DONE

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def _ask(self, head: h11.Request, body: bytes, trailers: Fields) -> tuple[int, Fields, bytes]:
        headers = list(head.headers)
        announced = dict(headers).get(b"trailer", b"").lower()
        if self.fault == "merges-trailers":
            headers = [field for field in headers if field[0] not in dict(trailers)] + trailers
        elif self.fault != "ignores-trailers":
            headers += [field for field in trailers if field[0] == announced == b"upload-checksum"]
        if self.fault == "refuses-trailers" and trailers:
            return 400, [], b""
        if self.fault == "keeps-whitespace" and head.method == b"PATCH" and dict(headers)[b"tus-resumable"] == b"1.0.0":
            raw = dict(head.headers.raw_items())
            headers = headers if b"Tus-Resumable" in raw else [(b"tus-resumable", b"x")]
        path, _, query = head.target.partition(b"?")
        scope = {"type": "http", "method": head.method.decode(), "path": path.decode(), "query_string": query}
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app({**scope, "headers": headers}, receive, send)
        fields = [
            (name, value + b",checksum-trailer" if name == b"tus-extension" else value)
            for name, value in sent[0]["headers"]
            if not (self.fault == "trailer-without-checksum" and name == b"tus-checksum-algorithm")
        ]
        return sent[0]["status"], fields, sent[1]["body"]

    def _answer(
        self,
        connection: h11.Connection,
        head: h11.Request,
        writer: asyncio.StreamWriter,
        status: int,
        fields: Fields,
        answer: bytes,
    ) -> None:
        names = dict(head.headers)
        if b"content-length" in names and b"transfer-encoding" in names and self.fault != "two-framings":
            fields = [*fields, (b"connection", b"close")]
        writer.write(connection.send(h11.Response(status_code=status, headers=fields)) or b"")
        writer.write(connection.send(h11.Data(data=answer)) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        if self.fault == "head-with-body" and head.method == b"HEAD":
            writer.write(b"surplus")


@asynccontextmanager
async def raw_front(fault: str = "") -> AsyncIterator[str]:
    """Run the front in this event loop on a free loopback port and yield the creation URL."""
    server = await asyncio.start_server(Front(fault).serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/files/"

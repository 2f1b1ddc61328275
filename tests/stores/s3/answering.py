"""A server of a few lines that answers the client as it is told to, and the calls that are made to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tuspy_server.stores.s3.client import S3Client
from tuspy_server.stores.s3.crc import crc32c_of
from tuspy_server.stores.s3.values import CompletedPart, ObjectHeaders, S3Options

PLAIN = ObjectHeaders()
PART = CompletedPart(part_number=1, etag="e", crc32c=1)
OK = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n'
CUT = b""


def answer(status: int, code: str = "", body: str | None = None, headers: str = "") -> bytes:
    document = f"<Error><Code>{code}</Code></Error>" if body is None and code else body or ""
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(document)}\r\n{headers}\r\n{document}".encode()


@dataclass
class Request:
    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """Answers each request with the next of `answers`; the last one stays. An empty answer cuts the connection, None
    never answers."""

    answers: list[bytes | None]
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.requests.append(Request(head[0], headers, body))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    await reader.read()
                    return
                if not answer:
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    *answers: bytes | None, tls: ssl.SSLContext | None = None, **changes: object
) -> AsyncIterator[tuple[S3Client, Server]]:
    server = Server(list(answers))
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    settings: dict[str, object] = {
        "bucket": "bucket",
        "endpoint_url": f"{'http' if tls is None else 'https'}://127.0.0.1:{server.port}",
        "region": "us-east-1",
        "addressing_style": "path",
        "access_key_id": "key",
        "secret_access_key": "secret",
        "most_attempts": 3,
        **changes,
    }
    client = S3Client(S3Options(**settings))  # type: ignore[arg-type]
    await client.open()
    try:
        yield client, server
    finally:
        await client.close()
        listening.close()
        await listening.wait_closed()


Call = Callable[[S3Client], Awaitable[object]]
BODY = [memoryview(bytearray(b"hello "))[:6], memoryview(b"world")]


async def part(client: S3Client) -> str:
    return await client.upload_part("k", "u/+ 1", 1, BODY, crc32c=crc32c_of(BODY))


async def put_new(client: S3Client) -> str:
    return await client.put_object("k", BODY, crc32c=crc32c_of(BODY), headers=PLAIN, if_none_match=True)


async def complete(client: S3Client) -> str:
    return await client.complete_multipart("k", "u", [PART])


async def copy(client: S3Client) -> str:
    return await client.copy_part("k", "u", 1, "s")


async def delete(client: S3Client) -> None:
    await client.delete_objects(["a", "b"])


async def head(client: S3Client) -> object:
    return await client.head_object("k")

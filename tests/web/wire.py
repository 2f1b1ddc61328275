"""A client that sends exactly the bytes that a test asks for, and reads what comes back; httpx would mend both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

Fields = Mapping[str, str] | Iterable[tuple[str, str]]

TUS: Final = {"Tus-Resumable": "1.0.0"}
BODY: Final = {**TUS, "Content-Type": "application/offset+octet-stream"}
ANSWER_SECONDS: Final = 20.0


@dataclass(frozen=True)
class Reply:
    """One response; names in lower case."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def __getitem__(self, name: str) -> str:
        """The value of a field that comes once."""
        (value,) = self.all(name)
        return value

    def __contains__(self, name: object) -> bool:
        return any(known == str(name).lower() for known, _ in self.fields)

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.fields if known == name.lower()]

    def members(self, name: str) -> set[str]:
        """A comma-separated list's members."""
        return {member.strip() for value in self.all(name) for member in value.split(",")}

    @property
    def text(self) -> str:
        """All that the server said, head and body."""
        return "\n".join(f"{name}: {value}" for name, value in self.fields) + "\n" + self.body.decode("latin-1")


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int) -> Wire:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def request(self, method: str, target: str, fields: Fields = (), body: bytes = b"") -> Reply:
        await self.send(head(method, target, fields, len(body)) + body)
        return await self.receive(method)

    async def receive(self, method: str = "GET") -> Reply:
        """The next final response. HEAD has no body whatever it announces."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                status = int(lines[0].split(" ", 2)[1])
                if status >= 200:
                    break
            pairs = [line.partition(":") for line in lines[1:] if line]
            fields = tuple((name.lower(), value.strip()) for name, _, value in pairs)
            length = next((int(value) for name, value in fields if name == "content-length"), 0)
            if ("transfer-encoding", "chunked") in fields:
                return Reply(status, fields, await self._chunks())
            return Reply(status, fields, b"" if method == "HEAD" else await self.reader.readexactly(length))

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return body

    async def close(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


def head(method: str, target: str, fields: Fields = (), body_bytes: int | None = None) -> bytes:
    """A request's head as it goes out; lines may repeat, and are sent in their order."""
    lines = list(fields.items() if isinstance(fields, Mapping) else fields)
    names = {name.lower() for name, _ in lines}
    if "host" not in names:
        lines.insert(0, ("Host", "tus.test"))
    if body_bytes and not names & {"content-length", "transfer-encoding"}:
        lines.append(("Content-Length", str(body_bytes)))
    return "".join((f"{method} {target} HTTP/1.1\r\n", *(f"{k}: {v}\r\n" for k, v in lines), "\r\n")).encode("latin-1")


def chunked(*pieces: bytes) -> bytes:
    """A body in the chunked transfer coding."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"

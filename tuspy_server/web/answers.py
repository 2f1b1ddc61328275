"""Answers to requests, and what turns an error into one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import lru_cache

from starlette.types import Receive, Send

from tuspy_server.protocol.errors import ClientDisconnected, FixRequest, Headers, Resend, TryLater, TusError, UploadBusy

RawHeaders = Sequence[tuple[bytes, bytes]]
"""As ASGI has them: names in lower case."""


def encode(headers: Headers) -> list[tuple[bytes, bytes]]:
    """As ASGI wants them."""
    return [(_raw_name(name), value.encode("latin-1")) for name, value in headers]


@lru_cache(maxsize=256)  # the names of headers are ours, and few
def _raw_name(name: str) -> bytes:
    return name.lower().encode("latin-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One response. `stream`, where set, follows `body`; `Content-Length` is then among the headers."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    stream: AsyncGenerator[bytes, None] | None = field(default=None, compare=False)

    async def send(self, send: Send, receive: Receive, further: RawHeaders = ()) -> None:
        """Send it by ASGI. 204 and 304 have no framing; others without a length of their own get one.

        Args:
            send, receive: see ASGI.
            further: headers of every answer, which follow those of this one.

        Raises:
            ClientDisconnected: in the middle of a stream.
        """
        raw = encode(self.headers)
        if self.status not in (204, 304) and not any(name == b"content-length" for name, _ in raw):
            raw.append((b"content-length", b"%d" % len(self.body)))
        raw += further
        start = {"type": "http.response.start", "status": self.status, "headers": raw}
        if self.stream is None:
            await send(start)
            await send({"type": "http.response.body", "body": self.body})
            return
        async with aclosing(self.stream) as blocks:
            await send(start)
            await send({"type": "http.response.body", "body": self.body, "more_body": True})
            # Servers swallow what is sent to a client that has left: without this, its whole file would still be read.
            leaving = asyncio.ensure_future(_client_left(receive))
            try:
                async for block in blocks:
                    if leaving.done():
                        raise ClientDisconnected
                    await send({"type": "http.response.body", "body": block, "more_body": True})
            finally:
                leaving.cancel()
        await send({"type": "http.response.body", "body": b""})


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def refuse(error: TusError, method: str) -> Answer:
    """The answer that an error becomes.

    HEAD never answers 5xx: tus-js-client starts again from zero after any failed HEAD but 423. So trouble that passes
    is 423 there, with `Retry-After`.
    """
    if method == "HEAD" and not isinstance(error, FixRequest | Resend):
        seconds = error.retry_after_seconds if isinstance(error, TryLater) else 1
        error = UploadBusy("the server cannot answer at the moment", seconds)
    headers = [*error.headers(), ("Cache-Control", "no-store")]
    if error.closes:
        headers.append(("Connection", "close"))
    if method == "HEAD":
        return Answer(status=error.status, headers=tuple(headers))
    headers.append(("Content-Type", "text/plain; charset=utf-8"))
    return Answer(status=error.status, headers=tuple(headers), body=f"{error.code}: {error}\n".encode())

"""One request and its response, as ASGI's `scope`, `receive` and `send`."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any, Final, Protocol, cast

import structlog

from tuspy_server.edge.body import RequestBody
from tuspy_server.edge.head import ParsedHead
from tuspy_server.edge.response import Response, informational
from tuspy_server.protocol.errors import BodyStalled, ClientDisconnected

log = structlog.get_logger("tuspy_server.edge")

RECEIVE_BYTES: Final = 64 << 10


class Wire(Protocol):
    """What an exchange asks of its connection."""

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of every response."""

    def write(self, output: bytes) -> None:
        """Send bytes."""

    @property
    def is_writable(self) -> bool:
        """Whether the client keeps up with what is written."""

    async def writable(self) -> None:
        """Wait while the client reads slower than is written."""

    def response_completed(self) -> None:
        """The whole response is handed over."""

    def response_abandoned(self) -> None:
        """The application is done, and there will be no whole response."""


class Exchange:
    """Runs the application for one request; the connection goes on when `complete`.

    Attributes:
        head_sent: whether the response can no longer become another one.
        complete: whether the whole response is handed over.
    """

    def __init__(self, wire: Wire, head: ParsedHead, body: RequestBody) -> None:
        self.head = head
        self.body = body
        self.response = Response(head.method, head.http_version, keep_alive=head.keep_alive)
        self.head_sent = False
        self.complete = False
        self._wire = wire
        self._waiting_for_continue = head.expects_continue
        self._over = asyncio.Event()
        self._started = False
        self._pending_head = b""
        self._body_given = False

    async def run(self, app: Any, scope: dict[str, Any]) -> None:
        """Call the application to its end."""
        try:
            await app(scope, self.receive, self.send)
            if not self.complete and not self._over.is_set():
                log.error("application.answer_missing")
        except Exception:  # the application's defect ends its own exchange, never the server
            log.exception("application.crashed")
        finally:
            if not self.complete:
                self._wire.response_abandoned()

    # --- request -------------------------------------------------------------------------------------------------

    def send_continue(self) -> None:
        """`100 Continue`, once, and only where the client waits for it (RFC 9110 10.1.1)."""
        if self._waiting_for_continue and not self._started:
            self._wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._waiting_for_continue = False

    def lose(self) -> None:
        """The client is gone, or its request is over: nothing that is sent from here on goes anywhere."""
        self._over.set()
        self.body.lose()

    async def receive(self) -> dict[str, Any]:
        """See ASGI. `http.disconnect` comes after the whole body that was received, or after the response."""
        if self._body_given:
            await self._over.wait()
            return {"type": "http.disconnect"}
        buffer = bytearray(RECEIVE_BYTES)
        try:
            count = await self.body.readinto(memoryview(buffer))
        except (ClientDisconnected, BodyStalled):
            return {"type": "http.disconnect"}
        more_body = count > 0 and not self.body.drained
        self._body_given = not more_body
        return {"type": "http.request", "body": bytes(memoryview(buffer)[:count]), "more_body": more_body}

    # --- response ------------------------------------------------------------------------------------------------

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """See ASGI. `http.response.informational` (ours) sends a 1xx with headers before the response.

        Raises:
            RuntimeError: messages out of order, a header that would break the response, or a body that is not as long
                as its `Content-Length`.
        """
        if self._over.is_set():
            return
        kind = message["type"]
        if kind == "http.response.start" and not self._started:
            # A body that is not read to its end would be taken for the next request.
            if not self.body.received:
                self.response.keep_alive = False
            headers = message.get("headers", ())
            self._pending_head = self.response.start(message["status"], headers, self._wire.default_headers)
            self._started = True
        elif kind == "http.response.body" and self._started:
            await self._send_body(message.get("body", b""), bool(message.get("more_body", False)))
        elif kind == "http.response.informational" and not self._started:
            output = informational(message["status"], cast(Any, message.get("headers", ())))
            if self.head.http_version == "1.1":  # RFC 9110 15.2: HTTP/1.0 knows none
                self._wire.write(output)
        else:
            raise RuntimeError(f"the ASGI message {kind!r} is out of order")

    def send_now(self, body: bytes) -> bool:
        """More of a body that is under way, without a task that has to be woken for it. False, and nothing is sent,
        where the client reads slower than is written, or no body is under way."""
        if not self.head_sent or self._over.is_set() or not self._wire.is_writable:
            return False
        self._wire.write(self.response.body(body, more_body=True))
        return True

    async def _send_body(self, body: bytes, more_body: bool) -> None:
        output = self._pending_head + self.response.body(body, more_body=more_body)
        self._pending_head = b""
        if output:
            self.head_sent = True
            self._wire.write(output)
        if more_body:
            await self._wire.writable()
            return
        self.complete = True
        self._over.set()
        self._wire.response_completed()

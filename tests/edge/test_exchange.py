"""ASGI's `receive` and `send` for one request, without a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog

from tests.web.wire import head
from tuspy_server.edge.body import RequestBody
from tuspy_server.edge.exchange import Exchange
from tuspy_server.edge.head import parse_head

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
BODY = {"type": "http.response.body", "body": b"ok"}


class Wire:
    """Notes what an exchange does."""

    def __init__(self) -> None:
        self.default_headers: list[tuple[bytes, bytes]] = []
        self.output = b""
        self.ends: list[str] = []
        self.is_writable = True

    def write(self, output: bytes) -> None:
        self.output += output

    async def writable(self) -> None: ...

    def response_completed(self) -> None:
        self.ends.append("completed")

    def response_abandoned(self) -> None:
        self.ends.append("abandoned")

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def gather(self, least_bytes: int) -> None: ...

    def send_continue(self) -> None: ...


def exchange_of(request: bytes) -> tuple[Exchange, Wire]:
    wire, parsed = Wire(), parse_head(request)
    return Exchange(wire, parsed, RequestBody(wire, parsed.body_bytes, 0.0)), wire


@pytest.mark.parametrize(
    "messages",
    [
        [BODY],
        [START, START],
        [START, {"type": "http.response.informational", "status": 104}],
        [{"type": "http.response.informational", "status": 200}],
        [{"type": "websocket.accept"}],
        [START, {"type": "http.response.body", "body": b"too long"}],
        [START, {"type": "http.response.body", "body": b""}],
    ],
)
async def test_messages_out_of_order_are_refused(messages: list[dict[str, Any]]) -> None:
    exchange, wire = exchange_of(head("GET", "/"))
    *before, last = messages
    for message in before:
        await exchange.send(message)
    with pytest.raises(RuntimeError):
        await exchange.send(last)
    assert not exchange.head_sent
    assert wire.output == b""


async def test_the_head_goes_out_with_the_first_of_the_body() -> None:
    exchange, wire = exchange_of(head("GET", "/"))
    await exchange.send(START)
    assert wire.output == b""
    await exchange.send(BODY)
    assert wire.output.endswith(b"\r\n\r\nok")
    assert wire.ends == ["completed"]
    await exchange.send(BODY)  # as with any server, too late is not an error
    assert wire.output.endswith(b"\r\n\r\nok")


async def test_a_part_of_a_body_is_sent_at_once_or_not_at_all() -> None:
    """Not before its head, not to a client that is behind, and not after the end."""
    exchange, wire = exchange_of(head("GET", "/"))
    assert not exchange.send_now(b"early")
    await exchange.send({"type": "http.response.start", "status": 200, "headers": []})
    assert not exchange.send_now(b"early")
    await exchange.send({"type": "http.response.body", "body": b"one", "more_body": True})
    assert exchange.send_now(b"two")
    wire.is_writable = False
    assert not exchange.send_now(b"three")
    wire.is_writable = True
    await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})
    assert not exchange.send_now(b"late")
    assert wire.output.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_nothing_is_sent_to_a_client_that_left() -> None:
    exchange, wire = exchange_of(head("GET", "/"))
    exchange.lose()
    await exchange.send(START)
    await exchange.send(BODY)
    assert (wire.output, wire.ends) == (b"", [])
    assert (await exchange.receive())["type"] == "http.request"
    assert (await exchange.receive())["type"] == "http.disconnect"


async def test_continue_is_sent_once_and_not_after_an_answer_has_begun() -> None:
    request = head("PATCH", "/", {"Expect": "100-continue", "Content-Length": "3"})
    exchange, wire = exchange_of(request)
    exchange.send_continue()
    exchange.send_continue()
    assert wire.output == b"HTTP/1.1 100 Continue\r\n\r\n"
    late, wire = exchange_of(request)
    await late.send(START)
    late.send_continue()
    assert wire.output == b""


async def test_a_listener_hears_of_the_end_of_the_response() -> None:
    exchange, _ = exchange_of(head("GET", "/"))
    assert (await exchange.receive()) == {"type": "http.request", "body": b"", "more_body": False}
    listening = asyncio.ensure_future(exchange.receive())
    await asyncio.sleep(0)
    await exchange.send(START)
    await exchange.send(BODY)
    assert (await listening)["type"] == "http.disconnect"


@pytest.mark.parametrize(
    ("error", "event"), [(ZeroDivisionError, "application.crashed"), (None, "application.answer_missing")]
)
async def test_an_application_without_an_answer_is_logged_and_abandoned(error: type[Exception], event: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if error:
            raise error

    exchange, wire = exchange_of(head("GET", "/"))
    with structlog.testing.capture_logs() as logs:
        await exchange.run(app, {})
    assert [entry["event"] for entry in logs] == [event]
    assert wire.ends == ["abandoned"]


async def test_an_application_that_is_cancelled_is_abandoned_without_a_log() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    exchange, wire = exchange_of(head("GET", "/"))
    with structlog.testing.capture_logs() as logs:
        running = asyncio.ensure_future(exchange.run(app, {}))
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert (logs, wire.ends) == ([], ["abandoned"])

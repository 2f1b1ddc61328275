"""The way out: to checked addresses alone, within bounds."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpcore2
import pytest

from tests.events.webhooks.conftest import MakeReceiver
from tests.support.receivers import Call, Receiver, Reply, always, hang
from tests.uploads.rig import until
from tuspy_server.events.webhooks.client import AddressRefused, Answer, HttpClient


class Clients(list[HttpClient]):
    def make(self, url: str, **options: object) -> HttpClient:
        self.append(HttpClient(url, **{"at_once": 4, "private": True, **options}))  # type: ignore[arg-type]
        return self[-1]


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    clients = Clients()
    yield clients
    for client in clients:
        await client.close()


async def post(client: HttpClient, *, seconds: float = 10, most: int = 100) -> Answer:
    return await client.post({"X-Some": "thing"}, b"body", most_body_bytes=most, deadline_seconds=seconds)


async def test_it_sends_and_hears(make_receiver: MakeReceiver, clients: Clients) -> None:
    receiver = await make_receiver(always(200, b"well", x_some="header"))
    answer = await post(clients.make(receiver.url))
    assert (answer.status, answer.body, answer.whole, answer.headers["x-some"]) == (200, b"well", True, "header")
    [call] = receiver.calls
    assert (call.path, call.body, call.headers["x-some"]) == ("/hook", b"body", "thing")
    assert call.headers["host"] == f"127.0.0.1:{receiver.port}"


async def test_connections_are_used_again(make_receiver: MakeReceiver, clients: Clients) -> None:
    receiver = await make_receiver()
    client = clients.make(receiver.url)
    for _ in range(5):
        await post(client)
    assert receiver.connections == 1


async def test_no_more_connections_than_allowed(make_receiver: MakeReceiver, clients: Clients) -> None:
    """I10."""
    receiver = await make_receiver()
    client = clients.make(receiver.url, at_once=2)
    await asyncio.gather(*(post(client) for _ in range(20)))
    assert receiver.connections == 2


async def test_a_call_has_a_deadline(make_receiver: MakeReceiver, clients: Clients) -> None:
    """S04; and the connection of the call is not used again."""
    receiver = await make_receiver(hang)
    client = clients.make(receiver.url, at_once=1)
    with pytest.raises(TimeoutError):
        await post(client, seconds=0.05)
    receiver.answer = always(200)
    assert (await post(client)).status == 200


async def test_an_endless_answer_is_cut(make_receiver: MakeReceiver, clients: Clients) -> None:
    """I10."""
    receiver = await make_receiver(always(500, b"x" * 1_000_000))
    client = clients.make(receiver.url)
    answer = await post(client, most=100)
    assert (len(answer.body), answer.whole) == (100, False)
    receiver.answer = always(204)
    assert (await post(client)).status == 204


async def test_a_redirect_is_an_answer_like_any_other(make_receiver: MakeReceiver, clients: Clients) -> None:
    """X11: nobody follows it, wherever it leads."""
    inside = await make_receiver()
    receiver = await make_receiver(always(307, location=inside.url))
    assert (await post(clients.make(receiver.url))).status == 307
    assert not inside.calls


async def test_no_proxy_of_the_environment_is_asked(
    make_receiver: MakeReceiver, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X11: it would connect for us, unchecked."""
    proxy, receiver = await make_receiver(), await make_receiver()
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    await post(clients.make(receiver.url))
    assert (len(proxy.calls), len(receiver.calls)) == (0, 1)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_private_addresses_are_refused_in_any_spelling(
    make_receiver: MakeReceiver, clients: Clients, host: str
) -> None:
    """X11: after the resolver has read them, as a connection would."""
    receiver = await make_receiver()
    with pytest.raises((AddressRefused, OSError)):
        await post(clients.make(f"http://{host}:{receiver.port}/", private=False))
    assert receiver.connections == 0


async def test_the_decimal_spelling_is_a_connection_where_private_addresses_are_allowed(
    make_receiver: MakeReceiver, clients: Clients
) -> None:
    """So that the test above is one of the check, not of a resolver that cannot read it."""
    receiver = await make_receiver()
    assert (await post(clients.make(f"http://2130706433:{receiver.port}/"))).status == 204


async def test_of_several_addresses_only_the_public_ones_are_called(
    make_receiver: MakeReceiver, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X11."""
    receiver = await make_receiver()
    tried: list[str] = []

    async def connect(_: object, host: str, *args: object, **named: object) -> httpcore2.AsyncNetworkStream:
        tried.append(host)
        raise httpcore2.ConnectError("unreachable here")

    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", connect)

    def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1", "192.0.2.1", "8.8.8.8", "fe80::1", "2606:4700::1"]

    client = clients.make(f"http://app.example:{receiver.port}/", private=False, resolve=resolve)
    with pytest.raises(httpcore2.ConnectError):
        await post(client)
    assert tried == ["8.8.8.8", "2606:4700::1"]


async def test_a_name_that_changes_its_mind_gains_nothing(
    make_receiver: MakeReceiver, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X12, DNS rebinding: public at the check, private at the connection. There is one look alone."""
    receiver = await make_receiver()
    answers = iter([["8.8.8.8"], ["127.0.0.1"], ["127.0.0.1"]])
    connected: list[str] = []

    async def connect(_: object, host: str, *args: object, **named: object) -> httpcore2.AsyncNetworkStream:
        connected.append(host)
        raise httpcore2.ConnectTimeout

    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", connect)
    client = clients.make(
        f"http://rebind.example:{receiver.port}/", private=False, resolve=lambda _host, _port: next(answers)
    )
    with pytest.raises(httpcore2.ConnectTimeout):
        await post(client)
    with pytest.raises(AddressRefused):
        await post(client)
    assert connected == ["8.8.8.8"]
    assert receiver.connections == 0


async def test_a_connection_goes_to_the_address_that_was_checked(make_receiver: MakeReceiver, clients: Clients) -> None:
    """X12: the name goes into `Host` alone."""
    receiver = await make_receiver()
    client = clients.make(f"http://app.example:{receiver.port}/", resolve=lambda _host, _port: ["127.0.0.1"])
    assert (await post(client)).status == 204
    assert receiver.calls[0].headers["host"] == f"app.example:{receiver.port}"


async def test_the_next_address_is_tried_where_one_is_dead(make_receiver: MakeReceiver, clients: Clients) -> None:
    receiver = await make_receiver()
    client = clients.make(f"http://app.example:{receiver.port}/", resolve=lambda _host, _port: ["::1", "127.0.0.1"])
    assert (await post(client)).status == 204


async def test_the_next_address_is_tried_where_one_says_nothing(
    make_receiver: MakeReceiver, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S04: behind a wall that drops packets no connection fails, and none is made."""
    receiver = await make_receiver()
    connect = httpcore2.AnyIOBackend.connect_tcp

    async def walled(
        network: httpcore2.AnyIOBackend,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's
        **named: Any,
    ) -> httpcore2.AsyncNetworkStream:
        if host == "127.0.0.1":
            return await connect(network, host, port, timeout, **named)
        if timeout is None or timeout >= 1:  # of the call: nothing would be left for the others
            await asyncio.Event().wait()
        raise httpcore2.ConnectTimeout

    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", walled)
    client = clients.make(f"http://app.example:{receiver.port}/", resolve=lambda _host, _port: ["::1", "127.0.0.1"])
    assert (await post(client, seconds=1)).status == 204


async def test_a_resolver_that_hangs_takes_one_thread_and_no_loop(
    make_receiver: MakeReceiver, clients: Clients
) -> None:
    """I12: nobody else waits for it."""
    released, lookups = threading.Event(), 0

    def resolve(host: str, port: int) -> Sequence[str]:
        nonlocal lookups
        lookups += 1
        released.wait(30)
        return ["127.0.0.1"]

    receiver = await make_receiver()
    client = clients.make(f"http://app.example:{receiver.port}/", resolve=resolve, at_once=50)
    calls = [asyncio.create_task(post(client, seconds=0.1)) for _ in range(50)]
    try:
        assert all(isinstance(end, TimeoutError) for end in await asyncio.gather(*calls, return_exceptions=True))
        assert (await post(clients.make(receiver.url))).status == 204
    finally:
        released.set()
    assert lookups == 1


async def test_a_name_that_nobody_knows_is_a_failure(clients: Clients) -> None:
    def resolve(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    for _ in range(2):
        with pytest.raises(OSError, match="unknown"):
            await post(clients.make("https://nowhere.example/", private=False, resolve=resolve))


async def test_a_receiver_that_speaks_no_http_is_a_failure(clients: Clients) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises((httpcore2.ProtocolError, httpcore2.NetworkError)):
        await post(clients.make(f"http://127.0.0.1:{port}/"))
    server.close()


async def test_a_cancelled_call_leaves_no_connection_behind(make_receiver: MakeReceiver, clients: Clients) -> None:
    receiver: Receiver = await make_receiver(hang)
    client = clients.make(receiver.url, at_once=1)
    calling = asyncio.create_task(post(client))
    await until(lambda: receiver.calls)
    calling.cancel()
    await asyncio.wait([calling])

    async def answer(call: Call) -> Reply:
        return Reply(201)

    receiver.answer = answer
    assert (await post(client)).status == 201

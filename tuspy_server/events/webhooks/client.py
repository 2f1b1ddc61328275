"""The way out: one POST over a pool of connections, to checked addresses alone."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import httpcore2

from tuspy_server.events.webhooks.addresses import Address, is_public

KEEPALIVE_SECONDS: Final = 30.0
LOOKUPS_AT_ONCE: Final = 16
SILENT_SECONDS: Final = 3.0
"""How long an address may say nothing while there are others: one behind a wall that drops packets (IPv6, most often)
would take the whole deadline of every call, and the receiver would never be reached."""

Resolve = Callable[[str, int], Sequence[str]]
"""Addresses of a host, as text; blocking."""


class AddressRefused(Exception):
    """None of the host's addresses may be called."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `body`: as far as it was read; `whole`: whether that was all. Names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool


class HttpClient:
    """Calls of one endpoint. Follows no redirect, keeps no cookie, asks no proxy of the environment."""

    def __init__(self, url: str, *, at_once: int, private: bool, resolve: Resolve | None = None) -> None:
        """Opens nothing yet.

        Args:
            url: http or https, without name and password.
            at_once: most connections; further calls wait for one.
            private: whether addresses that are not public may be called.
            resolve: in place of the system's resolver.
        """
        self._url = httpcore2.URL(url)
        self._at_once = at_once
        self._network = CheckedNetwork(private=private, resolve=resolve or resolve_by_system)
        self._pool: httpcore2.AsyncConnectionPool | None = None

    async def post(
        self, headers: Mapping[str, str], content: bytes, *, most_body_bytes: int, deadline_seconds: float
    ) -> Answer:
        """Send and hear the answer, its body to at most `most_body_bytes`.

        Raises:
            TimeoutError: not all of it came in time. AddressRefused. OSError, httpcore2.NetworkError,
            httpcore2.ProtocolError: the other side cannot be reached, or does not speak HTTP.
        """
        raw = [(name.encode("ascii"), value.encode("utf-8")) for name, value in headers.items()]
        raw.append((b"Host", _host_header(self._url)))
        raw.append((b"Content-Length", str(len(content)).encode("ascii")))
        timeouts = {"connect": deadline_seconds}
        request = httpcore2.Request("POST", self._url, headers=raw, content=content, extensions={"timeout": timeouts})
        async with asyncio.timeout(deadline_seconds):
            response = await self._opened().handle_async_request(request)
            try:
                body, whole = await _read(response, most_body_bytes)
            finally:
                await response.aclose()
        return Answer(
            status=response.status,
            headers={
                name.decode("latin-1").lower(): value.decode("latin-1").strip() for name, value in response.headers
            },
            body=body,
            whole=whole,
        )

    async def close(self) -> None:
        """Close all connections. May be called twice, and without a call before."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    def _opened(self) -> httpcore2.AsyncConnectionPool:
        if self._pool is None:
            self._pool = httpcore2.AsyncConnectionPool(
                ssl_context=_tls() if self._url.scheme == b"https" else None,
                max_connections=self._at_once,
                max_keepalive_connections=self._at_once,
                keepalive_expiry=KEEPALIVE_SECONDS,
                network_backend=self._network,
            )
        return self._pool


async def _read(response: httpcore2.Response, most_bytes: int) -> tuple[bytes, bool]:
    body = bytearray()
    async for block in response.aiter_stream():
        body += block
        if len(body) > most_bytes:
            return bytes(body[:most_bytes]), False
    return bytes(body), True


def _host_header(url: httpcore2.URL) -> bytes:
    host = b"[" + url.host + b"]" if b":" in url.host else url.host
    default = {b"http": 80, b"https": 443}.get(url.scheme)
    return host if url.port in (None, default) else host + f":{url.port}".encode("ascii")


@cache
def _tls() -> ssl.SSLContext:
    """One for the process: to read the trusted certificates takes tens of milliseconds."""
    return httpcore2.default_ssl_context()


class CheckedNetwork(httpcore2.AsyncNetworkBackend):
    """Resolves a host, checks what it has got, and connects to exactly that: a name that changes its mind between check
    and connection (DNS rebinding, fault X12) gains nothing."""

    def __init__(self, *, private: bool, resolve: Resolve) -> None:
        self._network = httpcore2.AnyIOBackend()
        self._private = private
        self._resolve = resolve
        self._lookups: dict[tuple[str, int], asyncio.Future[Sequence[str]]] = {}

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to one of the host's addresses that may be called.

        Raises:
            AddressRefused: there is none.
        """
        addresses = [address for address in await self._addresses(host, port) if self._private or is_public(address)]
        if not addresses:
            raise AddressRefused("its address is not public (see allow_private)")
        failure: Exception | None = None
        share = SILENT_SECONDS if timeout is None else min(timeout / len(addresses), SILENT_SECONDS)
        for number, address in enumerate(addresses, 1):
            try:
                return await self._network.connect_tcp(
                    str(address),
                    port,
                    None if number == len(addresses) else share,  # the call's own deadline ends the last one
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore2.ConnectError("no address")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """No webhook goes there."""
        raise AddressRefused("a webhook goes to no UNIX socket")

    async def sleep(self, seconds: float) -> None:
        """Between httpcore's own attempts; there is one alone."""
        await asyncio.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> Sequence[Address]:
        try:
            return [ipaddress.ip_address(host)]
        except ValueError:
            pass
        # One lookup of a host at a time, whoever waits for it: a resolver that hangs takes one thread.
        lookup = self._lookups.get((host, port))
        if lookup is None:
            lookup = asyncio.get_running_loop().run_in_executor(_threads(), partial(self._resolve, host, port))
            self._lookups[host, port] = lookup
            lookup.add_done_callback(lambda _: self._lookups.pop((host, port), None))
        return [ipaddress.ip_address(text) for text in await asyncio.shield(lookup)]


@cache
def _threads() -> ThreadPoolExecutor:
    """For lookups alone: a resolver that hangs takes no thread from anything else."""
    return ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="tuspy-lookup")


def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """What the system's resolver says, in its order."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))

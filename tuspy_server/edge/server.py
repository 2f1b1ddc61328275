"""One uvicorn process that ends well: it drains at SIGTERM and exits 0 within its deadline."""

from __future__ import annotations

import asyncio
import errno
import faulthandler
import functools
import gc
import math
import os
import signal
import socket
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final, Protocol, cast

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from tuspy_server.edge.connection import EdgeConnection
from tuspy_server.edge.options import EdgeOptions
from tuspy_server.edge.selftest import self_test
from tuspy_server.edge.websocket import MESSAGE_BYTES, EdgeWebSocket
from tuspy_server.settings import Settings

log = structlog.get_logger("tuspy_server.edge")

BACKLOG: Final = 1024
"""Connections that wait for `accept`; the kernel may hold it lower (`net.core.somaxconn`)."""

KEEP_ALIVE_SECONDS: Final = 75
"""Longer than proxies keep idle connections (60 s), so that it is they who close them, never we under a request."""

REQUEST_LINE_BYTES: Final = 16 << 10
"""Room for a request's line beside its headers."""

COLLECTOR_THRESHOLDS: Final = (10_000, 20, 20)
"""Of the garbage collector's generations; a tenth less time a small upload."""

CLOSE_SECONDS: Final = 5.0
"""What the stores get to close after `drain_seconds`, before the process is ended as kill -9 would."""

STDERR: Final = 2
INTERRUPTED: Final = 128 + signal.SIGINT


class Servable(Protocol):
    """What is served: `TusServer`, or an application around one."""

    @property
    def app(self) -> ASGIApp:
        """Answers requests; its lifespan is not run, for `start` and `stop` raise what an operator can read."""
        ...

    async def start(self) -> None:
        """Open everything."""
        ...

    def drain(self) -> None:
        """Bring running bodies to an end, refuse new ones; does not wait."""
        ...

    async def stop(self) -> None:
        """Close everything."""
        ...


def run(
    served: Servable,
    settings: Settings,
    on_listening: Callable[[str, int], None],
    listeners: list[socket.socket] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. To be called in the main thread of a process that has nothing else to do.

    Args:
        served: started after the address is bound, stopped after the last connection is closed.
        settings: `host`, `port` and `drain_seconds` are used.
        on_listening: called once connections are taken, with the address and the real port.
        listeners: bound sockets to serve on instead of the settings' address; closed at the end.

    Raises:
        OSError: the address cannot be bound. Whatever `served.start` raises.
    """
    listeners = listeners or bind(settings.host, settings.port)
    _calm_the_collector()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(DrainingServer(served, settings, on_listening).serve(listeners))
    finally:
        for listener in listeners:
            listener.close()


def _calm_the_collector() -> None:
    """What has been imported stays for good: never look at it again. And a request makes some hundred objects that are
    gone after it: with the usual threshold of 700, every few requests would pay for a collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


def bind(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of `host`, bound and not listening, all on one port.

    Raises:
        OSError: with a text that names host and port.
    """
    bound: list[socket.socket] = []
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(infos):
            listener = socket.socket(family, kind, protocol)
            bound.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            real_port = port or (bound[0].getsockname()[1] if len(bound) > 1 else 0)
            listener.bind((address[0], real_port, *address[2:]))
    except OSError as error:
        for listener in bound:
            listener.close()
        raise _cannot_listen(error, host, port) from error
    return bound


def _cannot_listen(error: OSError, host: str, port: int) -> OSError:
    taken = "another process listens there; name another port by --port"
    reason = taken if error.errno == errno.EADDRINUSE else error.strerror
    return OSError(f"cannot listen on {host}:{port}: {reason}")


class DrainingServer(uvicorn.Server):
    """`uvicorn.Server` that starts and stops what it serves, drains it before its own shutdown, and exits 0."""

    def __init__(self, served: Servable, settings: Settings, on_listening: Callable[[str, int], None]) -> None:
        super().__init__(
            uvicorn.Config(
                served.app,
                host=settings.host,
                port=settings.port,
                ws=EdgeWebSocket,
                ws_max_size=MESSAGE_BYTES,
                ws_per_message_deflate=False,
                interface="asgi3",
                lifespan="off",
                log_config=None,
                access_log=False,
                # The application evaluates them, for the proxies that its settings trust.
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=math.ceil(settings.drain_seconds),
            )
        )
        self._served = served
        self._settings = settings
        self._on_listening = on_listening

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Everything between two states of the process in which signals do what they do by default."""
        await self._pick_http_class()
        with self.capture_signals():
            try:
                await self._served.start()
                if not self.should_exit:
                    await self._serve(sockets)
            finally:
                await self._served.stop()
            # uvicorn raises what it caught once more; but we did what the signal asked for, and 0 says so.
            self._captured_signals.clear()
        log.info("server.stopped")

    async def _pick_http_class(self) -> None:
        """Ours leans on a few internals of uvicorn: where a release has changed them, the stock class serves."""
        self.config.http = "httptools"
        if self._settings.http == "stock":
            return
        options = EdgeOptions(
            head_bytes=self._settings.max_header_bytes + REQUEST_LINE_BYTES,
            head_seconds=self._settings.head_seconds,
            least_bytes_per_second=self._settings.body_least_bytes_per_second,
        )
        http = cast("type[asyncio.Protocol]", functools.partial(EdgeConnection, options=options))
        trouble = await self_test(http)
        if trouble is None:
            self.config.http = http
        else:
            log.warning("server.http_class.stock", reason=trouble)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        try:
            await super().startup(sockets)
        except OSError as error:
            raise _cannot_listen(error, self._settings.host, self._settings.port) from error
        address = _address(sockets or ())
        log.info("server.listening", host=address[0], port=address[1], pid=os.getpid())
        self._on_listening(*address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn; bodies under way are brought to their end first."""
        log.info("server.draining", connections=len(self.server_state.connections))
        self._served.drain()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains; the second Ctrl-C ends the process at once, which loses nothing acknowledged."""
        if self.should_exit:
            if sig == signal.SIGINT:
                os._exit(INTERRUPTED)
            return
        super().handle_exit(sig, frame)
        # Whatever hangs then, a disk for one, is seen in the traceback. Never cancelled: it also watches the end of the
        # interpreter, which waits for threads.
        deadline_seconds = self._settings.drain_seconds + CLOSE_SECONDS
        faulthandler.dump_traceback_later(deadline_seconds, exit=True, file=STDERR)


def _address(sockets: Sequence[socket.socket]) -> tuple[str, int]:
    host, port, *_ = sockets[0].getsockname()
    return host, port

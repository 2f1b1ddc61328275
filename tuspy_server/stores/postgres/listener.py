"""The one connection that listens: it comes back by itself, and is asked now and then whether it still is one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import asyncpg
import structlog

log = structlog.get_logger("tuspy_server.stores.postgres")

FIRST_RETRY_SECONDS: Final = 0.1
LONGEST_RETRY_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 1.0


class Listener:
    """Hands what comes on some channels to functions, for as long as there is a server. What is sent while there is no
    connection is lost: `changed` is called whenever it comes or goes."""

    def __init__(self, url: str, *, connect_seconds: float, check_seconds: float, changed: Callable[[], None]) -> None:
        """`check_seconds`: how long a silent connection is believed, and then waited for."""
        self._url = url
        self._connect_seconds = connect_seconds
        self._check_seconds = check_seconds
        self._changed = changed
        self._hears = False
        self._task: asyncio.Task[None] | None = None

    @property
    def hears(self) -> bool:
        """Whether what is sent now will be heard, as far as is known."""
        return self._hears

    def start(self, channels: Mapping[str, Callable[[str], None]]) -> None:
        """Begin, and go on until `stop`."""
        self._task = asyncio.get_running_loop().create_task(self._run(channels))

    async def stop(self) -> None:
        """May be called twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self, channels: Mapping[str, Callable[[str], None]]) -> None:
        delay_seconds = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._listen(channels)
            except Exception as error:  # whatever it is, the next connection may not have it
                log.warning("database.listener.failed", reason=f"{type(error).__name__}: {error}"[:200])
            finally:
                if self._hears:
                    delay_seconds = FIRST_RETRY_SECONDS
                self._hears = False
                self._changed()
            await asyncio.sleep(delay_seconds * random.uniform(0.5, 1.0))
            delay_seconds = min(2 * delay_seconds, LONGEST_RETRY_SECONDS)

    async def _listen(self, channels: Mapping[str, Callable[[str], None]]) -> None:
        connection = await asyncpg.connect(
            self._url, timeout=self._connect_seconds, command_timeout=self._check_seconds, statement_cache_size=0
        )
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        try:
            for channel, heard in channels.items():
                await connection.add_listener(channel, _payload_to(heard))
            self._hears = True
            self._changed()
            while not lost.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._check_seconds):
                        await lost.wait()
                if not lost.is_set():
                    await connection.fetchval("SELECT 1")
            raise ConnectionResetError("the server has closed the connection")
        except asyncio.CancelledError:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=CLOSE_SECONDS)
            raise
        finally:
            connection.terminate()


def _payload_to(heard: Callable[[str], None]) -> Callable[..., None]:
    def callback(_connection: Any, _pid: int, _channel: str, payload: Any) -> None:
        heard(str(payload))

    return callback

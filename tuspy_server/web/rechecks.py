"""Grants of streams are asked for again and again: what is revoked ends within a minute (fault X15)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from tuspy_server.access import Grant
from tuspy_server.protocol.errors import FixRequest, TusError

log = structlog.get_logger("tuspy_server.web")

EVERY_SECONDS: Final = 20.0
ASK_SECONDS: Final = 10.0
UNCONFIRMED_SECONDS: Final = 45.0
"""How long a stream goes on while nobody can say whether it may."""

AT_ONCE: Final = 32


@dataclass(eq=False, slots=True)
class Granted:
    """Something that goes on for as long as it is granted.

    Attributes:
        ask: for the grant, again; raises what a request would be refused with.
        grant: as it was when it began.
        end: called when it is over.
    """

    ask: Callable[[], Awaitable[Grant]]
    grant: Grant
    end: Callable[[], None]
    asked_at: float = field(default_factory=time.monotonic)
    confirmed_at: float = field(default_factory=time.monotonic)


class Rechecks:
    """Asks for each grant every `every_seconds`, in the order in which they are due."""

    def __init__(self, every_seconds: float = EVERY_SECONDS) -> None:
        self._every_seconds = every_seconds
        self._granted: dict[Granted, None] = {}
        self._running: asyncio.Task[None] | None = None

    def add(self, granted: Granted) -> None:
        """Ask for it from now on."""
        self._granted[granted] = None
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._run())

    def discard(self, granted: Granted) -> None:
        """Ask no more."""
        self._granted.pop(granted, None)

    async def close(self) -> None:
        """Ask for nothing more."""
        self._granted.clear()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    async def _run(self) -> None:
        while self._granted:
            now = time.monotonic()
            due: list[Granted] = []
            for granted in self._granted:
                if granted.asked_at + self._every_seconds > now or len(due) == AT_ONCE:
                    break
                due.append(granted)
            if due:
                await asyncio.gather(*(self._check(granted) for granted in due))
            else:
                first = next(iter(self._granted))
                await asyncio.sleep(first.asked_at + self._every_seconds - now)

    async def _check(self, granted: Granted) -> None:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                goes_on = await granted.ask() == granted.grant
        except FixRequest:
            goes_on = False
        except Exception as error:  # whoever decides cannot say
            goes_on = time.monotonic() - granted.confirmed_at < UNCONFIRMED_SECONDS
            code = error.code if isinstance(error, TusError) else type(error).__name__
            log.warning("stream.recheck.failed", code=code)
        else:
            granted.confirmed_at = time.monotonic()
        granted.asked_at = time.monotonic()
        if granted not in self._granted:
            return
        del self._granted[granted]
        if goes_on:
            self._granted[granted] = None
        else:
            log.info("stream.revoked", tenant=granted.grant.tenant)
            granted.end()

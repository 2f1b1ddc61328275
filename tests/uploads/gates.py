"""Ports whose calls stop at gates, before and after they take effect, and can be made to fail at either."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

Result = TypeVar("Result")

When = Literal["before", "after"]

STORE_CALLS: Final = (
    "create",
    "get",
    "claim",
    "commit",
    "finish",
    "end",
    "expired",
    "expire",
    "cleanups",
    "cleaned",
    "purge",
    "release_writers",
)
ASSEMBLY_CALLS: Final = ("complete", "assembly", "adopt", "cleanup", "tried")
BLOB_CALLS: Final = ("open_writer", "buffer", "sync", "rollback", "clean")


class DiskFull(Exception):
    """A sync made only so many of the new bytes durable; there was no room for the others (fault D02)."""

    def __init__(self, kept_bytes: int) -> None:
        super().__init__(kept_bytes)
        self.kept_bytes = kept_bytes


@dataclass(eq=False, slots=True)
class Gate:
    """A call that waits to be let go."""

    call: str
    when: When
    opened: asyncio.Future[None]
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Trap:
    """Holds the next call of this name, or fails it with `error`."""

    call: str
    when: When
    error: Callable[[], Exception] | None = None


@dataclass
class Gates:
    """One process's gates. Once it is dead nothing of it reaches a store any more."""

    hold_next: float = 0
    traps: list[Trap] = field(default_factory=list)
    waiting: list[Gate] = field(default_factory=list)
    failed: int = 0
    alive: bool = True

    async def call(self, name: str, work: Callable[[], Awaitable[Result]]) -> Result:
        await self.stop_at(name, "before")
        result = await work()
        await self.stop_at(name, "after")
        return result

    async def stop_at(self, name: str, when: When) -> None:
        if not self.alive:
            raise asyncio.CancelledError
        trap = next((trap for trap in self.traps if (trap.call, trap.when) == (name, when)), None)
        if trap is not None:
            self.traps.remove(trap)
            if trap.error is not None:
                self.failed += 1
                raise trap.error()
        if trap is not None or self.hold_next >= 1:
            self.hold_next -= trap is None
            gate = Gate(name, when, asyncio.get_running_loop().create_future())
            self.waiting.append(gate)
            try:
                await gate.opened
            finally:
                if gate in self.waiting:
                    self.waiting.remove(gate)
        if not self.alive:
            raise asyncio.CancelledError

    def let_go(self, gate: Gate, error: Exception | None = None) -> None:
        self.waiting.remove(gate)
        if gate.opened.done():
            return
        if error is None:
            gate.opened.set_result(None)
        else:
            self.failed += 1
            gate.opened.set_exception(error)

    def open_all(self) -> None:
        """No gate stops or fails anything any more."""
        self.hold_next = 0
        self.traps.clear()
        for gate in list(self.waiting):
            self.let_go(gate)

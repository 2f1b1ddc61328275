"""System calls of the adapter that a test holds, fails or counts, in the threads in which they are made."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tuspy_server.stores.filesystem import calls


class HeldCall:
    """The next call of a function waits in its thread until `go`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self._real: Callable[..., Any] = getattr(calls, name)
        self._began = threading.Event()
        self._gate = threading.Event()
        self._armed = threading.Semaphore(1)
        self.count = 0
        self.ended = 0
        monkeypatch.setattr(calls, name, self._call)

    def _call(self, *args: Any) -> Any:
        self.count += 1
        if self._armed.acquire(blocking=False):
            self._began.set()
            assert self._gate.wait(30)
        try:
            return self._real(*args)
        finally:
            self.ended += 1

    async def began(self) -> None:
        assert await asyncio.to_thread(self._began.wait, 30)

    def go(self) -> None:
        self._gate.set()


class FailingCall:
    """Calls of a function fail where `error` gives something to raise; `count` counts all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, error: Callable[..., BaseException | None]) -> None:
        self._real: Callable[..., Any] = getattr(calls, name)
        self._error = error
        self.count = 0
        self.arguments: list[tuple[Any, ...]] = []
        monkeypatch.setattr(calls, name, self._call)

    def _call(self, *args: Any) -> Any:
        self.count += 1
        self.arguments.append(args)
        error = self._error(*args)
        if error is not None:
            raise error
        return self._real(*args)


def once(error: BaseException) -> Callable[..., BaseException | None]:
    """`error` for the first call, nothing after."""
    errors = [error]
    return lambda *_: errors.pop() if errors else None

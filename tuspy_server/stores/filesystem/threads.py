"""Threads for calls that block, with as few handovers as can be.

A pool of the standard library pays for each call with a future that threads can wait for, its lock and condition, a
copy of its outcome into the loop's own future, and a wake-up of the loop. Here the loop's future is the only one, and
one wake-up tells all that has ended by then.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class StorageThreads(Executor):
    """`run` is the short way; by `submit` it is an executor like any other. For one event loop at a time."""

    def __init__(self, most: int, name: str) -> None:
        """`most` threads, each started when there is something for it."""
        self._most = most
        self._name = name
        self._threads: list[threading.Thread] = []
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._ended: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._telling = False
        self._closed = False

    def run(self, function: Callable[[], Result]) -> asyncio.Future[Result]:
        """Call in a thread; the future is the running loop's. A call that has begun is never cancelled."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def call() -> None:
            if future.cancelled():
                return
            result, error = None, None
            try:
                result = function()
            except BaseException as raised:  # whatever it is, it is the caller's
                error = raised
            self._ended.append((future, result, error))
            if not self._telling:
                self._telling = True
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(self._tell)

        self._put(call)
        return future

    def submit(
        self, fn: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Result]:
        """See `concurrent.futures`."""
        future: Future[Result] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # whatever it is, it is the caller's
                future.set_exception(error)

        self._put(call)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads when all that is queued is done."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _put(self, call: Callable[[], None]) -> None:
        if self._closed:
            raise RuntimeError("the threads have been shut down")
        self._queue.put(call)
        if len(self._threads) < self._most:
            name = f"{self._name}-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (call := self._queue.get()) is not None:
            call()
            del call  # what it holds must not live until the next one comes

    def _tell(self) -> None:
        # First this: what ends from here on either is seen below, or tells again.
        self._telling = False
        while self._ended:
            future, result, error = self._ended.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

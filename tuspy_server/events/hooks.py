"""Python hooks on events: `@tus.on("upload.finished")`."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from tuspy_server.events.recipients import Recipient
from tuspy_server.events.retries import Retries
from tuspy_server.model import Event, EventType
from tuspy_server.ports import Consumer

Hook = Callable[[Event], Awaitable[Any] | Any]
"""Takes the event. `async def`, or a plain function, which then runs in a thread."""

AnyHook = TypeVar("AnyHook", bound=Hook)

PREFIX: Final = "python:"

AT_ONCE: Final = 16
"""Most calls of one hook at once."""


@dataclass(frozen=True, slots=True)
class _Registered:
    consumer: Consumer
    hook: Hook
    threads: ThreadPoolExecutor
    """Of this hook alone: what hangs in them takes no thread from other hooks, or from the hashing of bodies."""


class Hooks:
    """The hooks of one server, each a consumer of the outbox under a name that outlives a restart."""

    def __init__(self) -> None:
        self._hooks: dict[str, _Registered] = {}

    def on(self, *types: str, name: str | None = None, processing: bool = False) -> Callable[[AnyHook], AnyHook]:
        """Register a hook for these event types; for all if none is given.

        Args:
            types: such as "upload.finished"; see `EventType`.
            name: under which deliveries are kept; by default module and name of the function. Events that waited for a
                hook that was renamed wait for its old name.
            processing: whether a finished upload counts as processed only when this hook has succeeded with it.

        Raises:
            ValueError: an unknown type, a name that is taken, or one that processes without wanting finished uploads.
        """
        wanted = frozenset(EventType(item) for item in types) or frozenset(EventType)
        if processing and EventType.FINISHED not in wanted:
            raise ValueError(f"a hook that processes uploads needs {EventType.FINISHED}")

        def register(hook: AnyHook) -> AnyHook:
            qualified = getattr(hook, "__qualname__", type(hook).__qualname__)
            key = PREFIX + (name or f"{hook.__module__}.{qualified}")
            if key in self._hooks:
                raise ValueError(f"a hook named {key.removeprefix(PREFIX)} exists; give this one a name=")
            threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix=f"tuspy-{key}")
            consumer = Consumer(name=key, types=wanted, processing=processing)
            self._hooks[key] = _Registered(consumer, hook, threads)
            return hook

        return register

    @property
    def consumers(self) -> Sequence[Consumer]:
        """As the outbox is to know them."""
        return [registered.consumer for registered in self._hooks.values()]

    def recipients(self, call_seconds: float, retries: Retries) -> Sequence[Recipient]:
        """Those that are registered by now, for the relay."""
        return [
            Recipient(
                consumer=registered.consumer,
                call=partial(self.call, name),
                at_once=AT_ONCE,
                call_seconds=call_seconds,
                retries=retries,
            )
            for name, registered in self._hooks.items()
        ]

    async def call(self, consumer: str, event: Event) -> None:
        """Run one hook to its end. Raises whatever it raises."""
        registered = self._hooks[consumer]
        hook = registered.hook
        if inspect.iscoroutinefunction(hook):
            await hook(event)
            return
        run = partial(contextvars.copy_context().run, hook, event)
        result = await asyncio.get_running_loop().run_in_executor(registered.threads, run)
        if inspect.isawaitable(result):
            await result

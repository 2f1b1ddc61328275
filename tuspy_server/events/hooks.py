"""Python hooks on events: `@tus.on("upload.finished")`."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from tuspy_server.model import Event, EventType

Hook = Callable[[Event], Awaitable[Any] | Any]
"""Takes the event. `async def`, or a plain function, which then runs in a thread."""

AnyHook = TypeVar("AnyHook", bound=Hook)

PREFIX: Final = "python:"

THREADS: Final = 16
"""Most calls of one plain hook at once."""


@dataclass(frozen=True, slots=True)
class _Registered:
    types: frozenset[EventType]
    hook: Hook
    threads: ThreadPoolExecutor
    """Of this hook alone: what hangs in them takes no thread from other hooks, or from the hashing of bodies."""


class Hooks:
    """The hooks of one server, each a consumer of the outbox under a name that outlives a restart."""

    def __init__(self) -> None:
        self._hooks: dict[str, _Registered] = {}

    def on(self, *types: str, name: str | None = None) -> Callable[[AnyHook], AnyHook]:
        """Register a hook for these event types; for all if none is given.

        Args:
            types: such as "upload.finished"; see `EventType`.
            name: under which deliveries are kept; by default module and name of the function. Events that waited for a
                hook that was renamed wait for its old name.

        Raises:
            ValueError: an unknown type, or a name that is taken.
        """
        wanted = frozenset(EventType(item) for item in types) or frozenset(EventType)

        def register(hook: AnyHook) -> AnyHook:
            qualified = getattr(hook, "__qualname__", type(hook).__qualname__)
            consumer = PREFIX + (name or f"{hook.__module__}.{qualified}")
            if consumer in self._hooks:
                raise ValueError(f"a hook named {consumer.removeprefix(PREFIX)} exists; give this one a name=")
            threads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"tuspy-{consumer}")
            self._hooks[consumer] = _Registered(wanted, hook, threads)
            return hook

        return register

    @property
    def consumers(self) -> Mapping[str, Set[EventType]]:
        """The outbox's consumers, with what each wants."""
        return {consumer: registered.types for consumer, registered in self._hooks.items()}

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

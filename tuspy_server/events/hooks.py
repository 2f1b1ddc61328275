"""Python hooks on events: `@tus.on("upload.finished")`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from tuspy_server.model import Event, EventType

Hook = Callable[[Event], Awaitable[Any] | Any]
"""Takes the event. `async def`, or a plain function, which then runs in a thread."""

AnyHook = TypeVar("AnyHook", bound=Hook)

PREFIX: Final = "python:"


@dataclass(frozen=True, slots=True)
class _Registered:
    types: frozenset[EventType]
    hook: Hook


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
            consumer = PREFIX + (name or f"{hook.__module__}.{hook.__qualname__}")
            if consumer in self._hooks:
                raise ValueError(f"a hook named {consumer.removeprefix(PREFIX)} exists; give this one a name=")
            self._hooks[consumer] = _Registered(wanted, hook)
            return hook

        return register

    @property
    def consumers(self) -> Mapping[str, Set[EventType]]:
        """The outbox's consumers, with what each wants."""
        return {consumer: registered.types for consumer, registered in self._hooks.items()}

    async def call(self, consumer: str, event: Event) -> None:
        """Run one hook to its end. Raises whatever it raises."""
        hook = self._hooks[consumer].hook
        if inspect.iscoroutinefunction(hook):
            await hook(event)
            return
        result = await asyncio.to_thread(hook, event)
        if inspect.isawaitable(result):
            await result

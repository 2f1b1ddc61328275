"""Python hooks: how they are registered and called."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from tuspy_server.events.hooks import Hooks
from tuspy_server.model import Event, EventType

EVENT = Event(
    id="e", type=EventType.FINISHED, upload_id="u", data={}, time=datetime(2026, 1, 1, tzinfo=UTC), position=1
)


def test_a_hook_wants_the_types_that_it_names() -> None:
    hooks = Hooks()
    hooks.on("upload.finished", "upload.failed", name="some")(print)
    [consumer] = hooks.consumers
    assert consumer.name == "python:some"
    assert consumer.types == {EventType.FINISHED, EventType.FAILED}


def test_a_hook_that_names_no_type_wants_all() -> None:
    hooks = Hooks()
    hooks.on(name="all")(print)
    [consumer] = hooks.consumers
    assert consumer.name == "python:all"
    assert consumer.types == set(EventType)


def test_a_hook_is_remembered_by_module_and_name() -> None:
    """Deliveries outlive a restart, and find it again."""
    hooks = Hooks()

    @hooks.on("upload.finished")
    def notify(event: Event) -> None: ...

    [consumer] = hooks.consumers
    assert consumer.name == f"python:{notify.__module__}.{notify.__qualname__}"


def test_registering_gives_the_function_back() -> None:
    assert Hooks().on(name="x")(print) is print


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"upload\.done"):
        Hooks().on("upload.done")


def test_a_name_that_is_taken_is_refused() -> None:
    """Two hooks under one name would share their deliveries."""
    hooks = Hooks()
    hooks.on(name="same")(print)
    with pytest.raises(ValueError, match="same"):
        hooks.on("upload.created", name="same")(print)


def test_a_hook_may_process_finished_uploads() -> None:
    hooks = Hooks()
    hooks.on("upload.finished", name="scan", processing=True)(print)
    hooks.on("upload.finished", name="tell")(print)
    assert [consumer.processing for consumer in hooks.consumers] == [True, False]


def test_a_hook_that_processes_without_finished_uploads_is_refused() -> None:
    with pytest.raises(ValueError, match=r"upload\.finished"):
        Hooks().on("upload.created", processing=True)


async def test_an_async_hook_runs_in_the_loop() -> None:
    hooks, seen = Hooks(), []

    @hooks.on(name="hook")
    async def hook(event: Event) -> None:
        await asyncio.sleep(0)
        seen.append((event, threading.current_thread()))

    await hooks.call("python:hook", EVENT)
    assert seen == [(EVENT, threading.main_thread())]


async def test_a_plain_hook_runs_in_a_thread() -> None:
    """R08: it may block."""
    hooks, threads = Hooks(), []

    @hooks.on(name="hook")
    def hook(event: Event) -> None:
        threads.append(threading.current_thread())

    await hooks.call("python:hook", EVENT)
    assert threads != [threading.main_thread()]


async def test_a_plain_hook_may_return_an_awaitable() -> None:
    hooks, seen = Hooks(), []

    async def work(event: Event) -> None:
        seen.append(event)

    @hooks.on(name="hook")
    def hook(event: Event) -> Coroutine[Any, Any, None]:
        return work(event)

    await hooks.call("python:hook", EVENT)
    assert seen == [EVENT]


async def test_an_object_with_an_async_call_is_a_hook() -> None:
    hooks, seen = Hooks(), []

    class Hook:
        async def __call__(self, event: Event) -> None:
            seen.append(event)

    hooks.on(name="hook")(Hook())
    await hooks.call("python:hook", EVENT)
    assert seen == [EVENT]


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_what_a_hook_raises_comes_through(kind: str) -> None:
    hooks = Hooks()

    async def fail(event: Event) -> None:
        raise ZeroDivisionError

    def fail_plainly(event: Event) -> None:
        raise ZeroDivisionError

    hooks.on(name="hook")(fail if kind == "async" else fail_plainly)
    with pytest.raises(ZeroDivisionError):
        await hooks.call("python:hook", EVENT)


async def test_plain_hooks_that_hang_take_no_thread_from_anybody_else() -> None:
    """B14, I12: neither from other hooks nor from the server, which hashes bodies in threads."""
    hooks, released = Hooks(), threading.Event()

    @hooks.on(name="stuck")
    def stuck(event: Event) -> None:
        released.wait(30)

    @hooks.on(name="other")
    def other(event: Event) -> None: ...

    stuck_calls = [asyncio.create_task(hooks.call("python:stuck", EVENT)) for _ in range(64)]
    try:
        async with asyncio.timeout(10):
            await hooks.call("python:other", EVENT)
            await asyncio.to_thread(int)
    finally:
        released.set()
    await asyncio.gather(*stuck_calls)

"""The same steps make the same history, however fast threads and sockets are: what Hypothesis builds on."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.uploads.gates import Gates, When
from tests.uploads.machine import UploadsMachine
from tests.uploads.postgres_world import PostgresWorld
from tests.uploads.scene import Scene
from tests.uploads.stepping import SteppedLoop
from tests.uploads.test_state_machine import DiskMachine, PostgresMachine
from tuspy_server.stores.filesystem.threads import StorageThreads
from tuspy_server.stores.sqlite.worker import Job

History = list[tuple[str, When]]


@pytest.fixture
def histories(monkeypatch: pytest.MonkeyPatch) -> list[History]:
    """The gates that each world's calls come to, in their order."""
    histories: list[History] = []
    begin, stop_at = Scene.__init__, Gates.stop_at

    def begin_history(scene: Scene) -> None:
        histories.append([])
        begin(scene)

    async def note(gates: Gates, name: str, when: When) -> None:
        histories[-1].append((name, when))
        await stop_at(gates, name, when)

    monkeypatch.setattr(Scene, "__init__", begin_history)
    monkeypatch.setattr(Gates, "stop_at", note)
    return histories


def pause() -> None:
    if random.random() < 0.2:
        time.sleep(random.random() * 0.001)


@pytest.fixture
def uneven_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    run_job, put = Job.run, StorageThreads._put

    def run_late(job: Job, connection: sqlite3.Connection) -> None:
        pause()
        run_job(job, connection)

    def put_late(threads: StorageThreads, call: Callable[[], None]) -> None:
        def late() -> None:
            pause()
            call()

        put(threads, late)

    monkeypatch.setattr(Job, "run", run_late)
    monkeypatch.setattr(StorageThreads, "_put", put_late)


def play_twice(machine: type[UploadsMachine], histories: list[History], examples: int) -> None:
    played: list[list[History]] = []
    for _ in range(2):
        histories.clear()
        run_state_machine_as_test(
            seed(3)(machine),
            settings=settings(
                max_examples=examples,
                stateful_step_count=30,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],
            ),
        )
        played.append(list(histories))
    assert sum(map(len, played[0])) > 20 * examples
    assert played[0] == played[1]


@pytest.mark.usefixtures("uneven_threads")
def test_threads_of_any_speed_make_the_same_history(histories: list[History]) -> None:
    play_twice(DiskMachine, histories, 10)


@pytest.mark.long
def test_sockets_of_any_speed_make_the_same_history(
    histories: list[History], postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PostgresWorld, "dsn", postgres_dsn, raising=False)
    play_twice(PostgresMachine, histories, 15)


def test_calls_of_threads_take_their_turns() -> None:
    """The slow one first; nothing goes on beside either, and what is cancelled before its turn does not begin."""
    loop = SteppedLoop()
    seen: list[str] = []

    def call(name: str, seconds: float) -> None:
        seen.append(f"{name} begins")
        time.sleep(seconds)
        seen.append(f"{name} ends")

    async def asked(name: str, seconds: float) -> None:
        await loop.run_in_executor(None, call, name, seconds)
        seen.append(f"{name} is told")
        await asyncio.sleep(0)
        seen.append(f"{name} has gone on")

    tasks: list[asyncio.Task[Any]] = [
        loop.create_task(asked("slow", 0.05)),
        loop.create_task(asked("cancelled", 0)),
        loop.create_task(asked("fast", 0)),
    ]
    loop.call_soon(lambda: loop.call_soon(tasks[1].cancel))
    loop.settle()
    loop.close()
    steps = ("begins", "ends", "is told", "has gone on")
    assert seen == [f"{name} {step}" for name in ("slow", "fast") for step in steps]
    assert [task.cancelled() for task in tasks] == [False, True, False]

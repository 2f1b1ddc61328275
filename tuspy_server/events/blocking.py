"""Questions that are put to a function of the application before something happens: `@tus.pre_create` and the like."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Final

import structlog

from tuspy_server.protocol.errors import HookFailed, TusError

log = structlog.get_logger("tuspy_server.events")

THREADS: Final = 16
"""Most calls of one plain function at once."""


class Question(StrEnum):
    """What a function may be asked. The values are the names of the decorators."""

    AUTHORIZE = "authorize"
    PRE_CREATE = "pre_create"
    PRE_FINISH = "pre_finish"
    PRE_TERMINATE = "pre_terminate"


@dataclass(frozen=True, slots=True)
class _Asked:
    function: Callable[..., Any]
    threads: ThreadPoolExecutor
    """Of this function alone: what hangs in them takes no thread from anything else. Started by the first call."""


class BlockingHooks:
    """At most one function for each question. It may be `async def`, or plain, and then runs in a thread."""

    def __init__(self, deadline_seconds: float) -> None:
        """`deadline_seconds`: of one answer."""
        self._deadline_seconds = deadline_seconds
        self._asked: dict[Question, _Asked] = {}

    def register(self, question: Question, function: Callable[..., Any]) -> None:
        """Put `question` to `function` from now on.

        Raises:
            ValueError: another is asked already.
        """
        if question in self._asked:
            raise ValueError(f"there is a function for {question} already; one function decides")
        self._asked[question] = _Asked(function, ThreadPoolExecutor(THREADS, thread_name_prefix=f"tuspy-{question}"))

    def has(self, question: Question) -> bool:
        """Whether there is somebody to ask."""
        return question in self._asked

    async def ask(self, question: Question, *arguments: object) -> Any:
        """The function's answer.

        Raises:
            TusError: what it has raised of these. HookFailed: 500, it has raised anything else, or takes too long; a
                thread cannot be stopped, and what it then says goes unheard.
        """
        asked = self._asked[question]
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await _call(asked, arguments)
        except TusError:
            raise
        except TimeoutError as error:
            log.exception("hook.call.late", hook=question.value, deadline_seconds=self._deadline_seconds)
            raise HookFailed from error
        except asyncio.CancelledError as error:  # ours, or that of something that the hook has awaited
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            log.exception("hook.call.failed", hook=question.value)
            raise HookFailed from error
        except Exception as error:  # a hook may raise anything
            log.exception("hook.call.failed", hook=question.value)
            raise HookFailed from error


async def _call(asked: _Asked, arguments: tuple[object, ...]) -> Any:
    if inspect.iscoroutinefunction(asked.function):
        return await asked.function(*arguments)
    run = partial(contextvars.copy_context().run, asked.function, *arguments)
    result = await asyncio.get_running_loop().run_in_executor(asked.threads, run)
    return await result if inspect.isawaitable(result) else result


def misanswered(question: Question, answer: object) -> HookFailed:
    """The error for an answer of a type that means nothing; the log says which."""
    log.error("hook.answer.unknown", hook=question.value, answer_type=type(answer).__name__)
    return HookFailed()

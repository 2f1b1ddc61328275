"""Who is asked: functions of the application, plain and async, with a deadline; and several gates in a row."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from tuspy_server.access import RequestContext
from tuspy_server.events.blocking import BlockingHooks, Question
from tuspy_server.events.gate import GateChain, HookGate, join
from tuspy_server.model import Upload, UploadStatus
from tuspy_server.ports import Creation, OpenGate, Proposal, StoredUpload
from tuspy_server.protocol.errors import HookFailed, Refused, TusError, UploadNotFound

REQUEST = RequestContext(method="POST", path="/files/")
PROPOSAL = Proposal(request=REQUEST, upload_length=3, upload_metadata=None, metadata={})
NOW = datetime(2026, 1, 1, tzinfo=UTC)
UPLOAD = Upload(
    id="u",
    status=UploadStatus.UPLOADING,
    upload_offset=0,
    upload_length=3,
    upload_metadata=None,
    writer=None,
    created_at=NOW,
    expires_at=None,
    ended_at=None,
    as_of=NOW,
)


async def nothing(start: int, stop: int) -> AsyncGenerator[bytes, None]:
    yield b""


STORED = StoredUpload(upload=UPLOAD, read=nothing, path=None)


def asking(question: Question, function: Callable[..., Any], deadline_seconds: float = 10) -> HookGate:
    hooks = BlockingHooks(deadline_seconds)
    hooks.register(question, function)
    return HookGate(hooks)


async def test_where_nobody_is_asked_all_may_pass() -> None:
    gate = HookGate(BlockingHooks(1))
    assert await gate.pre_create(PROPOSAL) == Creation()
    await gate.pre_finish(STORED)
    await gate.pre_terminate(UPLOAD, REQUEST)
    assert not gate.asks_before_finish


async def test_one_function_decides() -> None:
    hooks = BlockingHooks(1)
    hooks.register(Question.PRE_FINISH, lambda _: None)
    hooks.register(Question.PRE_CREATE, lambda _: None)
    with pytest.raises(ValueError, match="already"):
        hooks.register(Question.PRE_FINISH, lambda _: None)
    assert HookGate(hooks).asks_before_finish


async def test_a_function_is_told_and_heard() -> None:
    async def in_the_loop(proposal: Proposal) -> Creation:
        assert proposal is PROPOSAL
        return Creation(id="async")

    def in_a_thread(proposal: Proposal) -> Creation:
        assert threading.current_thread() is not threading.main_thread()
        return Creation(id="sync")

    class AnObject:
        async def __call__(self, proposal: Proposal) -> Creation:
            return Creation(id="object")

    for function, wanted in ((in_the_loop, "async"), (in_a_thread, "sync"), (AnObject(), "object")):
        assert (await asking(Question.PRE_CREATE, function).pre_create(PROPOSAL)).id == wanted
    assert await asking(Question.PRE_CREATE, lambda _: None).pre_create(PROPOSAL) == Creation()


async def test_a_plain_function_does_not_hold_the_loop() -> None:
    """R08."""
    release = threading.Event()
    gate = asking(Question.PRE_FINISH, lambda _: release.wait(10) and None)
    asked = asyncio.create_task(gate.pre_finish(STORED))
    async with asyncio.timeout(5):
        await asyncio.sleep(0.01)  # the loop turns
    assert not asked.done()
    release.set()
    await asked


@pytest.mark.parametrize("error", [Refused("no", 402), UploadNotFound()])
async def test_public_errors_pass(error: TusError) -> None:
    def refuse(*told: object) -> None:
        raise error

    for ask in (
        asking(Question.PRE_CREATE, refuse).pre_create(PROPOSAL),
        asking(Question.PRE_FINISH, refuse).pre_finish(STORED),
        asking(Question.PRE_TERMINATE, refuse).pre_terminate(UPLOAD, REQUEST),
    ):
        with pytest.raises(type(error)) as passed:
            await ask
        assert passed.value is error


@pytest.mark.parametrize("error", [RuntimeError("secret"), TimeoutError(), KeyError("x"), AssertionError()])
async def test_every_other_error_is_a_500_and_logged(error: Exception) -> None:
    async def fail(*told: object) -> None:
        raise error

    with capture_logs() as logs, pytest.raises(HookFailed) as failed:
        await asking(Question.PRE_FINISH, fail).pre_finish(STORED)
    assert "secret" not in str(failed.value)
    assert [entry["hook"] for entry in logs] == ["pre_finish"]


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_who_does_not_answer_in_time_has_failed(kind: str) -> None:
    release = threading.Event()

    async def hang(stored: StoredUpload) -> None:
        await asyncio.Event().wait()

    function = hang if kind == "async" else lambda _: release.wait(10) and None
    with capture_logs() as logs, pytest.raises(HookFailed):
        await asking(Question.PRE_FINISH, function, 0.01).pre_finish(STORED)
    release.set()
    assert logs[0]["event"] == "hook.call.late"


async def test_plain_functions_that_hang_hold_up_only_their_own_question() -> None:
    """B02: more of them than there are threads."""
    release, hooks = threading.Event(), BlockingHooks(0.2)
    hooks.register(Question.PRE_FINISH, lambda _: release.wait(10) and None)
    hooks.register(Question.PRE_TERMINATE, lambda *_: None)
    gate = HookGate(hooks)
    asked = [asyncio.create_task(gate.pre_finish(STORED)) for _ in range(40)]
    await gate.pre_terminate(UPLOAD, REQUEST)
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(result, HookFailed) for result in results)
    release.set()


@pytest.mark.parametrize("answer", [False, "no", 0, {}, Creation])
async def test_an_answer_that_means_nothing_lets_nothing_pass(answer: object) -> None:
    """A hook that returns False means to refuse, but has not said so: it is told by the log."""
    for work in (
        asking(Question.PRE_CREATE, lambda _: answer).pre_create(PROPOSAL),
        asking(Question.PRE_FINISH, lambda _: answer).pre_finish(STORED),
    ):
        with capture_logs() as logs, pytest.raises(HookFailed):
            await work
        assert logs[0]["event"] == "hook.answer.unknown"


async def test_gates_in_a_row_hold_all_limits() -> None:
    chain = GateChain(
        [
            OpenGate(),
            asking(
                Question.PRE_CREATE,
                lambda _: Creation(id="a", most_bytes=5, trusted_metadata={"a": 1, "b": 1}, types=("image/*",)),
            ),
            asking(
                Question.PRE_CREATE,
                lambda _: Creation(
                    key="k", most_bytes=9, trusted_metadata={"b": 2}, types=("image/png", "text/plain"), tenant="t"
                ),
            ),
        ]
    )
    assert await chain.pre_create(PROPOSAL) == Creation(
        id="a", key="k", most_bytes=5, trusted_metadata={"a": 1, "b": 2}, types=("image/png",), tenant="t"
    )
    assert not chain.asks_before_finish


async def test_what_one_gate_refuses_the_next_is_not_asked() -> None:
    asked: list[str] = []

    def refuse(*told: object) -> None:
        raise Refused

    def chain(question: Question) -> GateChain:
        return GateChain([asking(question, refuse), asking(question, lambda *_: asked.append("second"))])

    for work in (
        chain(Question.PRE_CREATE).pre_create(PROPOSAL),
        chain(Question.PRE_FINISH).pre_finish(STORED),
        chain(Question.PRE_TERMINATE).pre_terminate(UPLOAD, REQUEST),
    ):
        with pytest.raises(Refused):
            await work
    assert asked == []


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (None, None, None),
        (("a/b",), None, ("a/b",)),
        (None, ("a/*",), ("a/*",)),
        (("a/*", "c/d"), ("a/b", "C/D"), ("c/d", "a/b", "C/D")),
        (("a/b",), ("c/d",), ()),
        (("*/*",), ("c/*",), ("c/*",)),
    ],
)
def test_types_that_both_allow(
    first: tuple[str, ...] | None, second: tuple[str, ...] | None, both: tuple[str, ...] | None
) -> None:
    assert join(Creation(types=first), Creation(types=second)).types == both

"""Runs cases side by side against one target; nothing here prints."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Literal

from conformance.case import Case, Failure, Level, Requirement, Skip, all_cases
from conformance.client import Tus
from conformance.message import Exchange, WireError
from conformance.target import Target

Status = Literal["passed", "failed", "skipped"]

SHOWN_EXCHANGES = 2

STALL_SECONDS = 5.0
"""An answer slower than that may have held up the cases beside it, so what failed then is judged again alone."""


@dataclass(frozen=True)
class Result:
    """What one case found.

    `level` is the level of what failed, which may differ from the row's own. `seconds` is the time it took,
    `slowest_seconds` the longest wait for one response.
    """

    requirement: Requirement
    status: Status
    level: Level
    detail: str = ""
    notes: tuple[str, ...] = ()
    exchanges: tuple[Exchange, ...] = field(default=(), repr=False)
    seconds: float = 0.0
    slowest_seconds: float = 0.0

    @property
    def id(self) -> str:
        """The id of the row."""
        return self.requirement.id


def select(only: Sequence[str] = (), extensions: Sequence[str] = (), skip: Sequence[str] = ()) -> list[Case]:
    """Return the cases whose id matches one of the shell patterns `only`, and none of `skip`, within the extensions."""

    def matches(case: Case, patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(case.id, pattern) for pattern in patterns)

    return [
        case
        for case in all_cases()
        if (not only or matches(case, only))
        and not matches(case, skip)
        and (not extensions or case.requirement.extension in extensions or case.requirement.chapter in extensions)
    ]


async def run(target: Target, cases: Iterable[Case], on_result: Callable[[Result], None] | None = None) -> list[Result]:
    """Judge the target by these cases, `target.options.parallel` at a time, those that want it alone at the end.

    Args:
        target: the server.
        cases: what to judge it by.
        on_result: called with each result as it comes.

    Returns:
        The results in the order of the cases.
    """
    cases = list(cases)
    results: dict[str, Result] = {}
    slots = asyncio.Semaphore(target.options.parallel)

    async def one(case: Case) -> None:
        async with slots:
            result = await run_case(target, case)
        if case.id in results and result.status == "passed":
            before = f"failed once, while the server held up several cases: {results[case.id].detail}"
            result = replace(result, notes=(*result.notes, before))
        results[case.id] = result
        if on_result:
            on_result(result)

    async with asyncio.TaskGroup() as group:
        for case in cases:
            if not case.alone:
                group.create_task(one(case))
    stalled = target.options.parallel > 1 and any(result.slowest_seconds > STALL_SECONDS for result in results.values())
    for case in cases:
        if case.alone or (stalled and results[case.id].status == "failed"):
            await one(case)
    return [results[case.id] for case in cases]


def _verdict(error: Exception, case_seconds: float) -> Failure | Skip:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, Failure | Skip):
        return error
    if isinstance(error, TimeoutError):
        return Failure(f"an end before the deadline of a wait, or of the case, {case_seconds:g} s")
    if isinstance(error, WireError):
        return Failure(f"a complete response: {error}")
    # One case that cannot cope with a strange answer must not cost the whole run.
    return Failure(f"an answer that the suite can judge: {error!r}")


async def run_case(target: Target, case: Case) -> Result:
    """Judge the target by one case, within `target.options.case_seconds`."""
    requirement = case.requirement
    if requirement.chapter == "rufh" and target.rufh_version is None:
        return Result(requirement, "skipped", requirement.level, "the server does not answer to the IETF draft")
    if requirement.chapter == "tus" and not case.unadvertised and not target.advertises(requirement.extension):
        return Result(requirement, "skipped", requirement.level, f"{requirement.extension} is not advertised")
    tus = Tus(target)
    started = time.monotonic()
    try:
        async with asyncio.timeout(target.options.case_seconds):
            await case.function(tus)
        found: Failure | Skip | None = None
    except Exception as error:
        found = _verdict(error, target.options.case_seconds)
    finally:
        seconds = time.monotonic() - started
        exchanges = list(tus.exchanges)
        await tus.close()
    result = partial(Result, requirement, notes=tuple(tus.notes), seconds=seconds, slowest_seconds=tus.slowest_seconds)
    if found is None:
        return result("passed", requirement.level)
    if isinstance(found, Skip):
        return result("skipped", requirement.level, str(found))
    shown = [found.response.exchange] if found.response else exchanges[-SHOWN_EXCHANGES:]
    return result("failed", found.level or requirement.level, found.expected, exchanges=tuple(shown))

"""Who is asked before something happens to an upload: the application's functions, and others behind them."""

from __future__ import annotations

from collections.abc import Sequence

from tuspy_server.access import RequestContext
from tuspy_server.events.blocking import BlockingHooks, Question, misanswered
from tuspy_server.model import Upload
from tuspy_server.ports import Creation, Gate, Proposal, StoredUpload


class HookGate:
    """`ports.Gate`: asks the functions that the application has registered; where there is none, all may pass."""

    def __init__(self, hooks: BlockingHooks) -> None:
        """`hooks`: as they are when something is asked: an application may register some after the start."""
        self._hooks = hooks

    @property
    def asks_before_finish(self) -> bool:
        """See the port."""
        return self._hooks.has(Question.PRE_FINISH)

    async def pre_create(self, proposal: Proposal) -> Creation:
        """See the port. A function that returns nothing leaves everything as it would be."""
        if not self._hooks.has(Question.PRE_CREATE):
            return Creation()
        answer = await self._hooks.ask(Question.PRE_CREATE, proposal)
        if answer is None:
            return Creation()
        if not isinstance(answer, Creation):
            raise misanswered(Question.PRE_CREATE, answer)
        return answer

    async def pre_finish(self, stored: StoredUpload) -> None:
        """See the port."""
        if self._hooks.has(Question.PRE_FINISH):
            await self._let_pass(Question.PRE_FINISH, stored)

    async def pre_terminate(self, upload: Upload, request: RequestContext) -> None:
        """See the port."""
        if self._hooks.has(Question.PRE_TERMINATE):
            await self._let_pass(Question.PRE_TERMINATE, upload, request)

    async def _let_pass(self, question: Question, *arguments: object) -> None:
        answer = await self._hooks.ask(question, *arguments)
        # Only `Refused` refuses. Who returns False means that, too, but has said neither status nor text.
        if answer is not None and answer is not True:
            raise misanswered(question, answer)


class GateChain:
    """`ports.Gate`: several, one after the other. What one refuses the next is not asked."""

    def __init__(self, gates: Sequence[Gate]) -> None:
        self._gates = gates

    @property
    def asks_before_finish(self) -> bool:
        """See the port."""
        return any(gate.asks_before_finish for gate in self._gates)

    async def pre_create(self, proposal: Proposal) -> Creation:
        """See the port. Limits hold all, facts are joined; of all else what the last one has said counts."""
        creation = Creation()
        for gate in self._gates:
            creation = join(creation, await gate.pre_create(proposal))
        return creation

    async def pre_finish(self, stored: StoredUpload) -> None:
        """See the port."""
        for gate in self._gates:
            if gate.asks_before_finish:
                await gate.pre_finish(stored)

    async def pre_terminate(self, upload: Upload, request: RequestContext) -> None:
        """See the port."""
        for gate in self._gates:
            await gate.pre_terminate(upload, request)


def join(first: Creation, second: Creation) -> Creation:
    """What both want."""
    limits = [limit for limit in (first.most_bytes, second.most_bytes) if limit is not None]
    return Creation(
        id=first.id if second.id is None else second.id,
        key=first.key if second.key is None else second.key,
        bucket=first.bucket if second.bucket is None else second.bucket,
        most_bytes=min(limits, default=None),
        types=_common(first.types, second.types),
        expires_seconds=first.expires_seconds if second.expires_seconds is None else second.expires_seconds,
        trusted_metadata={**first.trusted_metadata, **second.trusted_metadata},
        tenant=first.tenant if second.tenant is None else second.tenant,
    )


def _common(first: tuple[str, ...] | None, second: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if first is None or second is None:
        return second if first is None else first
    both = [wanted for wanted in first if _covers(second, wanted)] + [
        wanted for wanted in second if _covers(first, wanted)
    ]
    return tuple(dict.fromkeys(both))


def _covers(types: tuple[str, ...], wanted: str) -> bool:
    return any(item.lower() in ("*/*", wanted.lower(), f"{wanted.partition('/')[0].lower()}/*") for item in types)

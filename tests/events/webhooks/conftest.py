"""Receivers, and relays over stores, which end with their test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.support.receivers import Answer, Receiver, take

MakeReceiver = Callable[..., Awaitable[Receiver]]


@pytest.fixture
async def make_receiver() -> AsyncIterator[MakeReceiver]:
    receivers: list[Receiver] = []

    async def make(answer: Answer = take) -> Receiver:
        receivers.append(await Receiver(answer).start())
        return receivers[-1]

    yield make
    for receiver in receivers:
        await receiver.stop()

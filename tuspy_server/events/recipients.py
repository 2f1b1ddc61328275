"""Those who get events from the relay, and how they are to be treated."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tuspy_server.events.retries import Retries
from tuspy_server.model import Event
from tuspy_server.ports import Consumer


class DeliveryFailed(Exception):
    """The recipient has not taken the event; the text is kept with the delivery.

    Attributes:
        retry_after_seconds: how long it has asked to be left alone; None where it has not.
    """

    def __init__(self, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class RecipientGone(Exception):
    """The recipient wants no more events at all; the text says how it has said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """A consumer that this process can reach.

    Attributes:
        consumer: as it is registered in the outbox.
        call: deliver one event; raising means that it has not been.
        at_once: most calls at once. Each recipient has places of its own: one that is slow holds up none of the others.
        ahead: times as many are leased beyond those that are called: then statements do not slow many short calls. 0
            where calls are long: other processes may have places for them.
        call_seconds: deadline of one call.
        retries: what follows a failure.
    """

    consumer: Consumer
    call: Callable[[Event], Awaitable[None]]
    at_once: int
    call_seconds: float
    retries: Retries
    ahead: int = 0

    @property
    def name(self) -> str:
        """Of the consumer."""
        return self.consumer.name

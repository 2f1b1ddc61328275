"""When a failed delivery is tried again, and when it is given up."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from tuspy_server.ports import Delivery

FIRST_SECONDS: Final = 1.0
LONGEST_HOOK_SECONDS: Final = 3600.0
LONGEST_WEBHOOK_SECONDS: Final = 12 * 3600.0

MOST_TIMES_TRIED: Final = 4
"""No delay is longer than so many times as what a delivery has been tried for: attempts that a crash of this server has
cut off count, but each doubles the delay in next to no time. Delays after failures alone never are."""

LEAST_ATTEMPTS: Final = 10
"""Before age alone gives a delivery up: this server may have been down for longer than the receiver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """Exponential, with full jitter in the upper half: 1, 2, 4 … seconds at most after attempts 1, 2, 3.

    Attributes:
        longest_seconds: between two attempts; what a receiver asks for is cut to it, too.
        most_attempts: the last attempt; None for no such end.
        most_seconds: a delivery that has been tried for this long is given up, after `LEAST_ATTEMPTS` at the earliest;
            None for no such end.
    """

    longest_seconds: float
    most_attempts: int | None = None
    most_seconds: float | None = None

    def delay_seconds(self, delivery: Delivery, asked_seconds: float | None = None) -> float | None:
        """How long to wait after this attempt has failed; None: give it up.

        Args:
            delivery: the attempt.
            asked_seconds: what the receiver has asked for (`Retry-After`).
        """
        if self.most_attempts is not None and delivery.attempt >= self.most_attempts:
            return None
        tried_for_long = self.most_seconds is not None and delivery.tried_seconds >= self.most_seconds
        if tried_for_long and delivery.attempt >= LEAST_ATTEMPTS:
            return None
        delay_seconds = self._own_seconds(delivery)
        if asked_seconds is not None:
            delay_seconds = max(delay_seconds, min(asked_seconds, self.longest_seconds))
        return delay_seconds

    def are_used_up(self, delivery: Delivery) -> bool:
        """Whether all attempts have begun before this one, and none has come to an end: each may have ended its
        process, and the next one would end this."""
        return self.most_attempts is not None and delivery.attempt > self.most_attempts

    def _own_seconds(self, delivery: Delivery) -> float:
        by_attempts = FIRST_SECONDS * 2.0 ** min(delivery.attempt - 1, 32)
        by_time = max(FIRST_SECONDS, MOST_TIMES_TRIED * delivery.tried_seconds)
        longest_seconds = min(by_attempts, by_time, self.longest_seconds)
        return longest_seconds * random.uniform(0.5, 1.0)


def hook_retries(most_attempts: int) -> Retries:
    """Of Python hooks: up to an hour apart, so many times."""
    return Retries(longest_seconds=LONGEST_HOOK_SECONDS, most_attempts=most_attempts)


def webhook_retries(most_seconds: float) -> Retries:
    """Of webhooks: up to twelve hours apart, for so long."""
    return Retries(longest_seconds=LONGEST_WEBHOOK_SECONDS, most_seconds=most_seconds)

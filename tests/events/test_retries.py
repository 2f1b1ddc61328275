"""When a failed delivery is tried again, and when no more."""

from __future__ import annotations

from datetime import UTC, datetime

from tuspy_server.events.retries import LEAST_ATTEMPTS, Retries, hook_retries, webhook_retries
from tuspy_server.model import Event, EventType
from tuspy_server.ports import Delivery

DAYS = 86_400.0
EVENT = Event(id="e", type=EventType.FINISHED, upload_id="u", data={}, time=datetime(2026, 1, 1, tzinfo=UTC))


def attempt(number: int, tried_seconds: float = 0) -> Delivery:
    return Delivery(event=EVENT, consumer="c", attempt=number, tried_seconds=tried_seconds)


def delays(retries: Retries, delivery: Delivery) -> list[float]:
    found = [retries.delay_seconds(delivery) for _ in range(200)]
    return [delay for delay in found if delay is not None]


def test_they_come_later_and_later_with_jitter() -> None:
    """R11: many servers must not come at once."""
    for retries, longest in [(hook_retries(2000), 3600), (webhook_retries(1000 * DAYS), 12 * 3600)]:
        for number in (1, 2, 5, 12, 13, 16, 17, 1000):
            most = min(2 ** min(number - 1, 30), longest)
            found = delays(retries, attempt(number, most))
            assert most / 2 <= min(found) <= max(found) <= most
            assert len(set(found)) > 100


def test_attempts_that_crashes_have_cut_off_make_no_long_delays() -> None:
    """C06: twenty of them in ten minutes are no reason to wait for half a day."""
    found = delays(webhook_retries(3 * DAYS), attempt(20, 600))
    assert 1200 <= min(found) <= max(found) <= 2400


def test_hooks_are_given_up_after_so_many_attempts() -> None:
    """B14."""
    assert hook_retries(20).delay_seconds(attempt(19, 1000 * DAYS)) is not None
    assert hook_retries(20).delay_seconds(attempt(20)) is None


def test_webhooks_are_given_up_after_days() -> None:
    """B14: a receiver may be down for longer than any burst of retries."""
    retries, waited, number = webhook_retries(3 * DAYS), 0.0, 1
    while (delay := retries.delay_seconds(attempt(number, waited))) is not None:
        waited, number = waited + delay, number + 1
    assert 3 * DAYS <= waited <= 3.5 * DAYS
    assert 18 <= number <= 30


def test_age_alone_gives_no_delivery_up_early() -> None:
    """The server itself may have been down for the days."""
    assert webhook_retries(3 * DAYS).delay_seconds(attempt(LEAST_ATTEMPTS - 1, 30 * DAYS)) is not None
    assert webhook_retries(3 * DAYS).delay_seconds(attempt(LEAST_ATTEMPTS, 30 * DAYS)) is None


def test_a_receiver_may_ask_for_more_time_within_bounds() -> None:
    retries = webhook_retries(3 * DAYS)
    assert retries.delay_seconds(attempt(1), 300) == 300
    assert retries.delay_seconds(attempt(1), 1e9) == 12 * 3600
    assert (retries.delay_seconds(attempt(10, 600), 0) or 0) >= 256

"""Webhooks under bad conditions: relay, outbox and real receivers together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.events.rig import RelayRig, eventually
from tests.events.webhooks.conftest import MakeReceiver
from tests.events.webhooks.making import NEW, endpoint
from tests.support.receivers import Answer, Call, Receiver, Reply, always, hang, take
from tests.uploads.rig import until
from tuspy_server.events.lane import SPARE_SECONDS
from tuspy_server.events.recipients import Recipient
from tuspy_server.events.retries import webhook_retries
from tuspy_server.events.webhooks.sender import AHEAD, Sender
from tuspy_server.model import EventType, event_id
from tuspy_server.ports import DeliveryFilter, DeliveryRecord, DeliveryStatus

DAYS = 86_400.0
HOUR = 3600.0


class Hooked:
    """A rig with webhooks."""

    def __init__(self, rig: RelayRig, make_receiver: MakeReceiver) -> None:
        self.rig = rig
        self._make_receiver = make_receiver
        self.senders: list[Sender] = []

    async def add(self, name: str = "app", answer: Answer = take, **changes: Any) -> Receiver:
        receiver = await self._make_receiver(answer)
        sender = Sender(endpoint(receiver.url, name=name, **changes), "/tuspy-server")
        self.senders.append(sender)
        self.rig.recipients.append(self.recipient(sender))
        return receiver

    def recipient(self, sender: Sender) -> Recipient:
        return sender.recipient(webhook_retries(3 * DAYS))


@pytest.fixture
async def hooked(rig: RelayRig, make_receiver: MakeReceiver) -> AsyncIterator[Hooked]:
    hooked = Hooked(rig, make_receiver)
    yield hooked
    await rig.stop()
    for sender in hooked.senders:
        await sender.close()


async def failed(rig: RelayRig, attempts: int) -> bool:
    """Every waiting delivery has been tried so often, and waits for its next attempt rather than for an answer."""
    waiting = await rig.deliveries(DeliveryStatus.WAITING)
    return bool(waiting) and all(delivery.attempts >= attempts and not leased(rig, delivery) for delivery in waiting)


def leased(rig: RelayRig, delivery: DeliveryRecord) -> bool:
    """Since the clock last stood still: a lease's length is known, a delay is drawn."""
    left_seconds = (delivery.due_at - rig.clock.now()).total_seconds()
    return any(left_seconds == (1 + AHEAD) * item.call_seconds + SPARE_SECONDS for item in rig.recipients)


async def test_each_event_reaches_each_endpoint_that_wants_it(hooked: Hooked) -> None:
    """I6; verified by the library (X14)."""
    everything = await hooked.add("all")
    finishes = await hooked.add("finishes", types=frozenset({EventType.FINISHED}))
    await hooked.rig.start()
    uploads = [await hooked.rig.finished() for _ in range(30)]
    await hooked.rig.settled()
    finished = sorted(event_id(upload.id, EventType.FINISHED) for upload in uploads)
    assert sorted(finishes.ids) == finished
    created = [event_id(upload.id, EventType.CREATED) for upload in uploads]
    assert sorted(everything.ids) == sorted(finished + created)
    for call in everything.calls:
        assert Webhook(NEW).verify(call.body, call.headers)["id"] == call.id


async def test_events_of_one_upload_come_in_their_order(hooked: Hooked) -> None:
    """Though the first one fails at first, and others overtake both."""
    failing: set[str] = set()

    async def answer(call: Call) -> Reply:
        if call.json["type"] == "upload.created" and call.json["subject"] in failing:
            return Reply(500)
        return Reply()

    receiver = await hooked.add(answer=answer)
    await hooked.rig.start()
    first = await hooked.rig.create()
    failing.add(first.id)
    await hooked.rig.terminate(first)
    other = await hooked.rig.finished()
    await until(lambda: len([call for call in receiver.calls if call.json["subject"] == other.id]) == 2)
    await eventually(lambda: _has_failed(hooked.rig, first.id))
    failing.clear()
    hooked.rig.pass_time(HOUR)
    await hooked.rig.settled()
    types = [call.json["type"] for call in receiver.calls if call.json["subject"] == first.id]
    assert types[-2:] == ["upload.created", "upload.terminated"]
    assert types.count("upload.terminated") == 1


async def _has_failed(rig: RelayRig, upload_id: str) -> bool:
    found = await rig.outbox.deliveries(DeliveryFilter(upload_id=upload_id), 10)
    return any(delivery.error and not leased(rig, delivery) for delivery in found)


async def test_a_receiver_that_is_down_for_longer_than_any_burst(hooked: Hooked) -> None:
    """Two days: every event arrives afterwards, with its id (I6), and nobody has called it all the time."""
    receiver = await hooked.add()
    await receiver.stop()
    await hooked.rig.start()
    uploads = [await hooked.rig.create() for _ in range(3)]
    attempts, hours = 0, 0.0
    while hours < 48:
        attempts += 1
        await eventually(lambda attempts=attempts: failed(hooked.rig, attempts))  # type: ignore[misc]
        hours += 12
        hooked.rig.pass_time(12 * HOUR)
    await eventually(lambda: failed(hooked.rig, attempts + 1))
    await receiver.start()
    hooked.rig.pass_time(12 * HOUR)
    await hooked.rig.settled()
    assert sorted(receiver.ids) == sorted(event_id(upload.id, EventType.CREATED) for upload in uploads)


async def test_a_receiver_that_stays_down_is_given_up_and_kept_for_people(hooked: Hooked) -> None:
    """B14: dead, not lost: one call delivers it later."""
    receiver = await hooked.add(answer=always(500, b"sorry"))
    await hooked.rig.start()
    upload = await hooked.rig.create()
    attempts = 0
    while not await hooked.rig.deliveries(DeliveryStatus.DEAD):
        attempts += 1
        assert attempts < 30
        await eventually(lambda attempts=attempts: _tried(hooked.rig, attempts))  # type: ignore[misc]
        hooked.rig.pass_time(12 * HOUR)
    [dead] = await hooked.rig.deliveries()
    assert (dead.event.upload_id, dead.error) == (upload.id, "answered 500: sorry")
    assert dead.attempts >= 10  # the relay's own count: it may try twice between two looks of the loop above
    receiver.answer = take
    assert await hooked.rig.outbox.retry_now(DeliveryFilter(status=DeliveryStatus.DEAD)) == 1
    hooked.rig.wakeup.notify()
    await hooked.rig.settled()
    assert (await hooked.rig.deliveries())[0].status is DeliveryStatus.DELIVERED
    assert set(receiver.ids) == {event_id(upload.id, EventType.CREATED)}


async def _tried(rig: RelayRig, attempts: int) -> bool:
    found = await rig.deliveries()
    return bool(found) and all(
        item.status is DeliveryStatus.DEAD or (item.attempts >= attempts and not leased(rig, item)) for item in found
    )


@pytest.mark.parametrize("answer", [always(500), always(302, location="http://169.254.169.254/"), hang])
async def test_what_is_no_success_is_tried_again_with_the_same_id(hooked: Hooked, answer: Answer) -> None:
    """X11, S04, I6."""
    receiver = await hooked.add(answer=answer, call_seconds=0.1)
    await hooked.rig.start()
    upload = await hooked.rig.create()
    await eventually(lambda: failed(hooked.rig, 1))
    receiver.answer = take
    hooked.rig.pass_time(10)
    await hooked.rig.settled()
    assert receiver.ids == [event_id(upload.id, EventType.CREATED)] * 2


async def test_an_answer_after_the_deadline_is_none(hooked: Hooked) -> None:
    """The receiver has it, and gets it again: it knows the id."""
    late = asyncio.Event()

    async def answer(call: Call) -> Reply:
        await late.wait()
        return Reply()

    receiver = await hooked.add(answer=answer, call_seconds=0.05)
    await hooked.rig.start()
    await hooked.rig.create()
    await eventually(lambda: failed(hooked.rig, 1))
    late.set()
    hooked.rig.pass_time(10)
    await hooked.rig.settled()
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1


async def test_a_receiver_that_asks_for_time_is_left_alone(hooked: Hooked) -> None:
    receiver = await hooked.add(answer=always(503, retry_after="7200"))
    await hooked.rig.start()
    await hooked.rig.create()
    await eventually(lambda: failed(hooked.rig, 1))
    [waiting] = await hooked.rig.deliveries()
    assert (waiting.due_at - hooked.rig.clock.now()).total_seconds() == pytest.approx(7200, abs=1)
    receiver.answer = take
    hooked.rig.pass_time(7201)
    await hooked.rig.settled()
    assert len(receiver.calls) == 2


async def test_a_receiver_that_is_gone_gets_nothing_until_it_is_enabled(hooked: Hooked) -> None:
    """410; what comes meanwhile is not kept for it, what failed is dead and can be retried."""
    receiver = await hooked.add(answer=always(410), at_once=1)
    await hooked.rig.start()
    await hooked.rig.create()
    await hooked.rig.settled()
    [known] = await hooked.rig.outbox.consumers()
    assert known.disabled_reason == "answered 410"
    await hooked.rig.create()
    await hooked.rig.settled()
    assert len(receiver.calls) == 1
    receiver.answer = take
    assert await hooked.rig.outbox.enable("webhook:app")
    upload = await hooked.rig.create()
    await hooked.rig.settled()
    assert receiver.ids[1:] == [event_id(upload.id, EventType.CREATED)]


@pytest.mark.parametrize("answer", [hang, always(500)])
async def test_an_endpoint_in_trouble_holds_up_no_other(hooked: Hooked, answer: Answer) -> None:
    """B14, I12: though it has more waiting than it may be called at once."""
    trouble = await hooked.add("a-trouble", answer=answer, at_once=2)
    sound = await hooked.add("b-sound")
    await hooked.rig.start()
    for _ in range(40):
        await hooked.rig.create()
    await until(lambda: len(sound.calls) == 40)
    assert len(trouble.calls) <= 40
    if answer is hang:
        assert len(trouble.calls) == 2


async def test_one_poisoned_event_holds_up_no_other(hooked: Hooked) -> None:
    """B14: but those of its upload, which are to come in order."""
    poisoned: set[str] = set()

    async def answer(call: Call) -> Reply:
        return Reply(500 if call.json["subject"] in poisoned else 204)

    receiver = await hooked.add(answer=answer, at_once=1)
    await hooked.rig.start()
    first = await hooked.rig.create()
    poisoned.add(first.id)
    await hooked.rig.terminate(first)
    others = [await hooked.rig.create() for _ in range(20)]
    wanted = {event_id(upload.id, EventType.CREATED) for upload in others}
    await until(lambda: wanted <= set(receiver.ids))
    assert event_id(first.id, EventType.TERMINATED) not in receiver.ids


async def test_a_receiver_is_called_no_more_often_at_once_than_it_may(hooked: Hooked) -> None:
    """I10."""
    running, most = 0, 0

    async def answer(call: Call) -> Reply:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return Reply()

    receiver = await hooked.add(answer=answer, at_once=3)
    await hooked.rig.start()
    for _ in range(30):
        await hooked.rig.create()
    await hooked.rig.settled()
    assert most == 3
    assert receiver.connections == 3


async def test_a_process_that_dies_in_the_middle_of_a_call(hooked: Hooked) -> None:
    """C07, I6: the next one calls again, with the same id."""
    receiver = await hooked.add(answer=hang)
    await hooked.rig.start()
    upload = await hooked.rig.create()
    await until(lambda: receiver.calls)
    receiver.answer = take
    await hooked.rig.restart()
    await hooked.rig.settled()
    assert receiver.ids == [event_id(upload.id, EventType.CREATED)] * 2

"""What a receiver gets, and how its answers are taken."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.events.webhooks.conftest import MakeReceiver
from tests.events.webhooks.making import EVENT, NEW, NOW, OLD, UPLOAD, endpoint
from tests.support.receivers import always, hang
from tuspy_server.events.cloudevents import to_cloudevent
from tuspy_server.events.recipients import DeliveryFailed, RecipientGone
from tuspy_server.events.retries import webhook_retries
from tuspy_server.events.webhooks.endpoint import Endpoint, Format
from tuspy_server.events.webhooks.sender import Sender, retry_after_seconds
from tuspy_server.model import EventType

STRANGER = "whsec_" + "c3RyYW5nZXI" * 4


class Sendings(list[Sender]):
    def make(self, endpoint: Endpoint, **options: Any) -> Sender:
        self.append(Sender(endpoint, "/tuspy-server", **options))
        return self[-1]


@pytest.fixture
async def senders() -> AsyncIterator[Sendings]:
    senders = Sendings()
    yield senders
    for sender in senders:
        await sender.close()


async def test_a_cloudevent_in_structured_mode(make_receiver: MakeReceiver, senders: Sendings) -> None:
    receiver = await make_receiver()
    await senders.make(endpoint(receiver.url, headers={"Authorization": "Bearer ours"})).send(EVENT)
    [call] = receiver.calls
    assert call.headers["content-type"] == "application/cloudevents+json"
    assert call.headers["authorization"] == "Bearer ours"
    assert call.headers["user-agent"].startswith("tuspy-server/")
    assert call.json == to_cloudevent(EVENT, "/tuspy-server")
    assert call.body.isascii(), "metadata may hold what is no UTF-8"


async def test_the_library_of_standard_webhooks_verifies_it(make_receiver: MakeReceiver, senders: Sendings) -> None:
    """X14; the id is the event's in every attempt (I6)."""
    receiver = await make_receiver()
    sender = senders.make(endpoint(receiver.url))
    for _ in range(2):
        await sender.send(EVENT)
    for call in receiver.calls:
        assert Webhook(NEW).verify(call.body, call.headers)["id"] == EVENT.id
    assert receiver.ids == [EVENT.id] * 2


@pytest.mark.parametrize("secrets", [(NEW, OLD), (OLD, NEW)])
async def test_while_a_secret_changes_both_verify(
    make_receiver: MakeReceiver, senders: Sendings, secrets: tuple[str, ...]
) -> None:
    """X14."""
    receiver = await make_receiver()
    await senders.make(endpoint(receiver.url, secrets=secrets)).send(EVENT)
    [call] = receiver.calls
    assert call.headers["webhook-signature"].count("v1,") == 2
    for secret in (OLD, NEW):
        Webhook(secret).verify(call.body, call.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(STRANGER).verify(call.body, call.headers)


@pytest.mark.parametrize("change", ["body", "webhook-id", "webhook-timestamp", "webhook-signature"])
async def test_what_was_changed_does_not_verify(make_receiver: MakeReceiver, senders: Sendings, change: str) -> None:
    """X14."""
    receiver = await make_receiver()
    await senders.make(endpoint(receiver.url)).send(EVENT)
    [call] = receiver.calls
    body, headers = call.body, dict(call.headers)
    if change == "body":
        body = body.replace(b"finished", b"Finished")
    elif change == "webhook-timestamp":
        headers[change] = str(int(headers[change]) + 1)
    else:
        headers[change] = headers[change].replace("v1,", "v1,AAAA") + "0"
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(body, headers)


async def test_what_is_played_again_later_does_not_verify(make_receiver: MakeReceiver, senders: Sendings) -> None:
    """X14: each attempt is signed with its own time."""
    receiver = await make_receiver()
    await senders.make(endpoint(receiver.url), now=lambda: NOW).send(EVENT)
    [call] = receiver.calls
    assert call.headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(NEW).verify(call.body, call.headers)


async def test_without_a_secret_nothing_is_signed(make_receiver: MakeReceiver, senders: Sendings) -> None:
    receiver = await make_receiver()
    await senders.make(endpoint(receiver.url, secrets=())).send(EVENT)
    [call] = receiver.calls
    assert "webhook-signature" not in call.headers
    assert call.id == EVENT.id


async def test_tusds_format(make_receiver: MakeReceiver, senders: Sendings) -> None:
    """As its documentation shows it; the signature is there, too."""
    receiver = await make_receiver()
    sender = senders.make(endpoint(receiver.url, format=Format.TUSD), local_path=lambda upload_id: f"/data/{upload_id}")
    await sender.send(EVENT)
    [call] = receiver.calls
    assert call.headers["hook-name"] == "post-finish"
    assert call.headers["content-type"] == "application/json"
    Webhook(NEW).verify(call.body, call.headers)
    assert call.json == {
        "Type": "post-finish",
        "Event": {
            "Upload": {
                "ID": UPLOAD,
                "Size": 5,
                "SizeIsDeferred": False,
                "Offset": 5,
                "MetaData": {"filename": "ü\udcff.txt", "kind": "ours"},
                "IsPartial": False,
                "IsFinal": False,
                "PartialUploads": None,
                "Storage": {"Type": "filestore", "Path": f"/data/{UPLOAD}"},
            },
            "HTTPRequest": {"Method": "", "URI": "", "RemoteAddr": "", "Header": {}},
        },
    }


@pytest.mark.parametrize(
    ("event_type", "name"),
    [(EventType.CREATED, "post-create"), (EventType.FINISHED, "post-finish"), (EventType.TERMINATED, "post-terminate")],
)
async def test_tusds_names(make_receiver: MakeReceiver, senders: Sendings, event_type: EventType, name: str) -> None:
    receiver = await make_receiver()
    event = replace(EVENT, type=event_type, data={"upload_length": None, "key": "a/b", "bucket": "files"})
    await senders.make(endpoint(receiver.url, format=Format.TUSD)).send(event)
    [call] = receiver.calls
    assert (call.headers["hook-name"], call.json["Type"]) == (name, name)
    upload = call.json["Event"]["Upload"]
    assert (upload["Size"], upload["SizeIsDeferred"]) == (0, True)
    assert upload["Storage"] == {"Type": "s3store", "Bucket": "files", "Key": "a/b"}


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_success_is_a_delivery(make_receiver: MakeReceiver, senders: Sendings, status: int) -> None:
    receiver = await make_receiver(always(200 if status == 299 else status))
    await senders.make(endpoint(receiver.url)).send(EVENT)


@pytest.mark.parametrize("status", [301, 302, 304, 307, 308, 400, 401, 404, 409, 413, 500, 502, 504])
async def test_all_else_is_a_failure(make_receiver: MakeReceiver, senders: Sendings, status: int) -> None:
    """X11: a redirect, too, which nobody follows."""
    receiver = await make_receiver(
        always(
            status,
            b"" if status == 304 else b"what\x1b[0m is wrong",
            location="http://169.254.169.254/",
            retry_after="9",
        )
    )
    with pytest.raises(DeliveryFailed, match=str(status)) as caught:
        await senders.make(endpoint(receiver.url)).send(EVENT)
    assert str(caught.value).isprintable(), "X19: it goes into logs"
    assert caught.value.retry_after_seconds is None
    assert len(receiver.calls) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_a_receiver_may_ask_for_time(make_receiver: MakeReceiver, senders: Sendings, status: int) -> None:
    receiver = await make_receiver(always(status, retry_after="120"))
    with pytest.raises(DeliveryFailed) as caught:
        await senders.make(endpoint(receiver.url)).send(EVENT)
    assert caught.value.retry_after_seconds == 120


@pytest.mark.parametrize("zone", ["+99999999999999", "-" + "9" * 400])
async def test_a_retry_after_that_no_clock_knows(make_receiver: MakeReceiver, senders: Sendings, zone: str) -> None:
    receiver = await make_receiver(always(503, retry_after=f"Mon, 01 Jan 2024 00:00:00 {zone}"))
    with pytest.raises(DeliveryFailed, match="answered 503"):
        await senders.make(endpoint(receiver.url)).send(EVENT)


async def test_410_ends_it(make_receiver: MakeReceiver, senders: Sendings) -> None:
    receiver = await make_receiver(always(410))
    with pytest.raises(RecipientGone):
        await senders.make(endpoint(receiver.url)).send(EVENT)


async def test_a_receiver_that_hangs_has_failed(make_receiver: MakeReceiver, senders: Sendings) -> None:
    receiver = await make_receiver(hang)
    with pytest.raises(DeliveryFailed, match=r"no answer within 0\.05 s"):
        await senders.make(endpoint(receiver.url, call_seconds=0.05)).send(EVENT)


async def test_a_receiver_that_is_down_has_failed(make_receiver: MakeReceiver, senders: Sendings) -> None:
    receiver = await make_receiver()
    await receiver.stop()
    with pytest.raises(DeliveryFailed, match="ConnectError"):
        await senders.make(endpoint(receiver.url)).send(EVENT)


async def test_a_private_address_has_failed_and_the_reason_names_the_way_out(
    make_receiver: MakeReceiver, senders: Sendings
) -> None:
    """X11."""
    receiver = await make_receiver()
    with pytest.raises(DeliveryFailed, match="allow_private"):
        await senders.make(endpoint(receiver.url, allow_private=False)).send(EVENT)
    assert not receiver.connections


def test_what_the_relay_is_told() -> None:
    retries = webhook_retries(1000)
    plain = endpoint("https://app.example", processing=True, types=frozenset({EventType.FINISHED}))
    recipient = Sender(plain, "s").recipient(retries)
    assert recipient.name == "webhook:app"
    assert recipient.consumer.types == {EventType.FINISHED}
    assert (recipient.consumer.processing, recipient.at_once, recipient.call_seconds) == (True, 4, 10)
    assert recipient.retries is retries


def test_an_endpoint_shows_no_secret() -> None:
    """X19."""
    shown = repr(endpoint("https://app.example/hook?key=hidden", headers={"X-Key": "hidden"}))
    assert "hidden" not in shown
    assert "whsec" not in shown


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("Thu, 01 Jan 2026 12:01:00 GMT", 60),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("9" * 10, None),
        ("٣", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    """RFC 9110 10.2.3."""
    assert retry_after_seconds(value, datetime(2026, 1, 1, 12, tzinfo=UTC)) == seconds


def test_the_body_is_one_line() -> None:
    assert "\n" not in json.dumps(to_cloudevent(EVENT, "s"))

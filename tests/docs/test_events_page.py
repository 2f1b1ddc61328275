"""docs/reference/events.md: its example is a real event, as a webhook is sent it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import DOCS, blocks, served
from tests.support.receivers import Receiver
from tests.uploads.rig import until
from tests.web.served import settings
from tests.web.wire import BODY
from tuspy_server import Creation, Event, EventType, Grant, TusServer
from tuspy_server.events.cloudevents import cursor_of, parse_cursor

PAGE = "reference/events.md"
SECRETS = tuple("whsec_" + base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = await Receiver().start()
    yield receiver
    await receiver.stop()


def shape(value: Any) -> Any:
    """Digits and hex digits as `0`: what differs between two events of one kind."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, float):
        return 0.0
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{32}|[0-9a-f-]{36}|\d{4}-\d\d-\d\dT.*", value):
        return re.sub(r"[0-9a-f]", "0", value)
    return value


async def test_the_example_is_an_event_and_the_headers_are_those_of_a_webhook(receiver: Receiver) -> None:
    """No member more, none less, in this order."""
    endpoint = {"name": "app", "url": receiver.url, "secrets": SECRETS, "types": ["upload.finished"]}
    tus = TusServer(settings(Path("uploads"), webhooks=(endpoint,), webhook_allow_private=True))
    tus.authorize(lambda *_: Grant(tenant="acme"))
    tus.pre_create(lambda _: Creation(trusted_metadata={"album": "summer"}))
    heard: dict[EventType, Event] = {}

    @tus.on(name="all")
    async def hear(event: Event) -> None:
        heard[event.type] = event

    async with served(tus) as server:
        checksum = f"sha256 {base64.b64encode(hashlib.sha256(b'hello').digest()).decode()}"
        named = {"Upload-Length": "5", "Upload-Metadata": "filename bm90ZXMudHh0", "Upload-Checksum": checksum}
        assert (await server.post({**named, **BODY}, b"hello")).status == 201
        await until(lambda: bool(receiver.calls) and len(heard) == 2)
    (example,) = (json.loads(block) for block in blocks(PAGE, "json"))
    (call,) = receiver.calls
    assert json.dumps(shape(call.json)) == json.dumps(shape(example))
    page = (DOCS / PAGE).read_text("utf-8")
    table = page.partition("## A webhook's request")[2]
    told = {name.lower() for name in re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)}
    carried = {"host", "content-length", "accept", "accept-encoding", "connection"}
    assert set(call.headers) - carried == told - {"hook-name"}
    assert len(call.headers["webhook-signature"].split(" ")) == len(SECRETS)

    finished, created = heard[EventType.FINISHED], heard[EventType.CREATED]
    assert set(finished.data) == set(example["data"]) - {"duration_seconds"}
    assert created.data["created_at"] is None
    cursor = cursor_of(finished)
    assert str(cursor) == f"{finished.position}-{finished.id[:8]}"
    (shown,) = re.findall(r"such as `(\d+-[0-9a-f]+)`", page)
    assert parse_cursor(shown) is not None


def test_the_page_knows_all_types() -> None:
    types = (DOCS / PAGE).read_text("utf-8").partition("## As it is sent")[0]
    assert set(re.findall(r"^\| `(upload\.\w+)` \|", types, re.MULTILINE)) == set(EventType)

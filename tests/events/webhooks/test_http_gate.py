"""Blocking hooks over HTTP: what is asked, and what the answers mean."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.contracts.rows import a_row
from tests.events.webhooks.conftest import MakeReceiver
from tests.events.webhooks.making import NEW, UPLOAD
from tests.support.receivers import Receiver, always, hang, take
from tuspy_server.access import RequestContext
from tuspy_server.events.webhooks.client import HttpClient
from tuspy_server.events.webhooks.gate import MOST_BODY_BYTES, HookKind, HttpGate
from tuspy_server.model import Placement
from tuspy_server.ports import Creation, Proposal, StoredUpload
from tuspy_server.protocol.errors import HookFailed, Refused

REQUEST = RequestContext(
    method="POST",
    path="/files/",
    headers={"upload-length": "5", "cookie": "session=1"},
    uri="/a%20b/?a=%c3%a9&b",
    client="192.0.2.7",
)
PROPOSAL = Proposal(
    request=REQUEST, upload_length=5, upload_metadata="filename eA==", metadata={"filename": "x"}, job_id=None
)
ROW = replace(
    a_row(UPLOAD, upload_offset=5, upload_length=5),
    upload_metadata="filename eA==",
    trusted_metadata={"owner": "ada"},
    placement=Placement(key="files/a", part_bytes=1),
)


class Gates(list[HttpGate]):
    def make(self, receiver: Receiver, *kinds: str, seconds: float = 10) -> HttpGate:
        client = HttpClient(receiver.url, at_once=4, private=True)
        chosen = [HookKind(kind) for kind in kinds or list(HookKind)]
        self.append(HttpGate(client, chosen, deadline_seconds=seconds, secrets=(NEW,)))
        return self[-1]


@pytest.fixture
async def gates() -> AsyncIterator[Gates]:
    gates = Gates()
    yield gates
    for gate in gates:
        await gate.close()


async def _read(start: int, stop: int) -> AsyncIterator[bytes]:
    yield b"bytes"[start:stop]


STORED = StoredUpload(upload=ROW, read=_read, path=Path("/data/x"), request=REQUEST)  # type: ignore[arg-type]


def reply(**fields: Any) -> Any:
    return always(200, json.dumps(fields).encode())


async def test_the_question_before_a_creation(make_receiver: MakeReceiver, gates: Gates) -> None:
    receiver = await make_receiver(always(200, b"{}"))
    assert await gates.make(receiver).pre_create(PROPOSAL) == Creation()
    [call] = receiver.calls
    assert (call.headers["hook-name"], call.headers["content-type"]) == ("pre-create", "application/json")
    Webhook(NEW).verify(call.body, call.headers)
    assert call.json["Type"] == "pre-create"
    assert call.json["Event"]["HTTPRequest"] == {
        "Method": "POST",
        "URI": "/a%20b/?a=%c3%a9&b",
        "RemoteAddr": "192.0.2.7",
        "Header": {"Upload-Length": ["5"], "Cookie": ["session=1"]},
    }
    upload = call.json["Event"]["Upload"]
    assert (upload["ID"], upload["Size"], upload["MetaData"], upload["Storage"]) == ("", 5, {"filename": "x"}, None)


async def test_the_questions_about_an_upload(make_receiver: MakeReceiver, gates: Gates) -> None:
    receiver = await make_receiver()
    gate = gates.make(receiver)
    assert gate.asks_before_finish
    await gate.pre_finish(STORED)
    await gate.pre_terminate(ROW, REQUEST)
    assert [call.json["Type"] for call in receiver.calls] == ["pre-finish", "pre-terminate"]
    assert {call.json["Event"]["HTTPRequest"]["RemoteAddr"] for call in receiver.calls} == {"192.0.2.7"}
    for call in receiver.calls:
        upload = call.json["Event"]["Upload"]
        assert (upload["ID"], upload["Offset"], upload["Size"]) == (UPLOAD, 5, 5)
        assert upload["MetaData"] == {"filename": "x", "owner": "ada"}
        assert upload["Storage"]["Key"] == "files/a"


async def test_only_what_is_wanted_is_asked(make_receiver: MakeReceiver, gates: Gates) -> None:
    receiver = await make_receiver(always(500))
    gate = gates.make(receiver, "pre-terminate")
    assert await gate.pre_create(PROPOSAL) == Creation()
    await gate.pre_finish(STORED)
    assert not gate.asks_before_finish
    assert not receiver.calls


async def test_an_answer_without_a_body_lets_it_pass(make_receiver: MakeReceiver, gates: Gates) -> None:
    receiver = await make_receiver(take)
    gate = gates.make(receiver)
    assert await gate.pre_create(PROPOSAL) == Creation()
    await gate.pre_finish(STORED)
    await gate.pre_terminate(ROW, REQUEST)


async def test_what_a_creation_may_be_told(make_receiver: MakeReceiver, gates: Gates) -> None:
    changes = {
        "ID": "chosen",
        "MetaData": {"owner": "ada", "level": 3},
        "Storage": {"Key": "a/b", "Bucket": "other"},
        "MaxSize": 1000,
        "Types": ["image/*"],
        "ExpiresSeconds": 60,
        "Tenant": "acme",
        "Unknown": "of a later version",
    }
    receiver = await make_receiver(reply(ChangeFileInfo=changes, HTTPResponse={"Header": {"X": "y"}}))
    assert await gates.make(receiver).pre_create(PROPOSAL) == Creation(
        id="chosen",
        key="a/b",
        bucket="other",
        most_bytes=1000,
        types=("image/*",),
        expires_seconds=60,
        trusted_metadata={"owner": "ada", "level": 3},
        tenant="acme",
    )


async def test_empty_changes_change_nothing(make_receiver: MakeReceiver, gates: Gates) -> None:
    """As Go writes structures that nobody has filled."""
    empty = {"ID": "", "MetaData": None, "Storage": {"Path": ""}}
    receiver = await make_receiver(
        reply(ChangeFileInfo=empty, RejectUpload=False, HTTPResponse={"StatusCode": 0, "Body": "", "Header": None})
    )
    assert await gates.make(receiver).pre_create(PROPOSAL) == Creation()


@pytest.mark.parametrize(
    ("response", "status", "text"),
    [
        ({"StatusCode": 413, "Body": "too big"}, 413, "too big"),
        ({"Body": "no"}, 400, "no"),
        (None, 400, "rejected"),
        ({"StatusCode": 500, "Body": "no"}, 400, "no"),
        ({"StatusCode": 423}, 400, "rejected"),
        ({"StatusCode": 403, "Body": None}, 403, "rejected"),
        ({"StatusCode": None, "Body": "no"}, 400, "no"),
        ({"StatusCode": 403, "Body": "a\r\nSet-Cookie: b"}, 403, "a  Set-Cookie: b"),
    ],
)
async def test_a_refusal_has_its_status_and_text(
    make_receiver: MakeReceiver, gates: Gates, response: object, status: int, text: str
) -> None:
    """A status that clients retry becomes 400; X03: no control characters."""
    receiver = await make_receiver(reply(RejectUpload=True, RejectTermination=True, HTTPResponse=response))
    gate = gates.make(receiver)
    for asking in (gate.pre_create(PROPOSAL), gate.pre_finish(STORED), gate.pre_terminate(ROW, REQUEST)):
        with pytest.raises(Refused) as caught:
            await asking
        assert (caught.value.status, str(caught.value)) == (status, text)


@pytest.mark.parametrize(
    "answer",
    [
        always(500),
        always(404, b"{}"),
        always(307, location="http://169.254.169.254/"),
        always(200, b"no JSON"),
        always(200, b"[]"),
        always(200, b'"text"'),
        always(200, b"[" * 60_000),
        always(200, b'{"RejectUpload": "no"}'),
        always(200, b'{"ChangeFileInfo": {"ID": 7}}'),
        always(200, b'{"ChangeFileInfo": {"MaxSize": -1}}'),
        always(200, b" " * (MOST_BODY_BYTES + 1)),
        always(200, b'\xff{"RejectUpload": true}'),
        hang,
    ],
)
async def test_trouble_is_a_500_and_changes_nothing(make_receiver: MakeReceiver, gates: Gates, answer: Any) -> None:
    """A refusal that cannot be read is no leave."""
    receiver = await make_receiver(answer)
    gate = gates.make(receiver, seconds=0.3)
    for asking in (gate.pre_create(PROPOSAL), gate.pre_finish(STORED), gate.pre_terminate(ROW, REQUEST)):
        with pytest.raises(HookFailed):
            await asking


async def test_a_receiver_that_is_down_is_a_500(make_receiver: MakeReceiver, gates: Gates) -> None:
    receiver = await make_receiver()
    await receiver.stop()
    with pytest.raises(HookFailed):
        await gates.make(receiver).pre_create(PROPOSAL)

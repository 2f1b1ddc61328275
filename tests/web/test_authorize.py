"""`authorize`: asked on every request before anything is looked up; what is out of its grant is unknown (I9)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.web.conftest import ON_BOTH_CLASSES
from tests.web.served import Served, upload_id
from tests.web.wire import BODY, TUS, Reply, Wire, head
from tuspy_server import Grant, Intent, RequestContext, Unauthorized

UNKNOWN = f"/files/{'0' * 32}"
ACME, OTHER = {"Authorization": "Bearer acme"}, {"Authorization": "Bearer other"}
PATCH = {**BODY, "Upload-Offset": "0"}
VERBS: dict[str, tuple[str, dict[str, str], bytes]] = {
    "HEAD": ("HEAD", TUS, b""),
    "HEAD of a download": ("HEAD", {}, b""),
    "GET": ("GET", {}, b""),
    "GET of a range": ("GET", {"Range": "bytes=0-1"}, b""),
    "PATCH": ("PATCH", PATCH, b"hello"),
    "PATCH at a wrong offset": ("PATCH", {**PATCH, "Upload-Offset": "7"}, b"hello"),
    "PATCH of too much": ("PATCH", PATCH, b"x" * 100),
    "PATCH that declares": ("PATCH", {**PATCH, "Upload-Length": "3"}, b"hel"),
    "DELETE": ("DELETE", TUS, b""),
    "POST that is a PATCH": ("POST", {**PATCH, "X-HTTP-Method-Override": "PATCH"}, b"hello"),
    "POST that is a HEAD": ("POST", {**TUS, "X-HTTP-Method-Override": "HEAD"}, b""),
    "POST that is a DELETE": ("POST", {**TUS, "X-HTTP-Method-Override": "DELETE"}, b""),
}


def by_token(intent: Intent, request: RequestContext) -> Grant | bool:
    """The tenant is what the token says; nobody without one."""
    scheme, _, tenant = request.headers.get("authorization", "").partition(" ")
    return Grant(tenant=tenant) if scheme == "Bearer" and tenant else False


def told(reply: Reply) -> tuple[Any, ...]:
    """All of an answer but the request's id and the time."""
    return reply.status, sorted(pair for pair in reply.fields if pair[0] not in ("x-request-id", "date")), reply.body


async def uploads_of(server: Served, who: dict[str, str]) -> dict[str, str]:
    """One in each state."""
    made = {}
    for name, fields, body in (
        ("fresh", {"Upload-Length": "10"}, b""),
        ("begun", {"Upload-Length": "10", **BODY}, b"hel"),
        ("deferred", {"Upload-Defer-Length": "1"}, b""),
        ("finished", {"Upload-Length": "5", **BODY}, b"hello"),
        ("terminated", {"Upload-Length": "5"}, b""),
    ):
        reply = await server.post({**fields, **who}, body)
        assert reply.status == 201
        made[name] = reply["Location"]
    assert (await server.request("DELETE", made["terminated"], {**TUS, **who})).status == 204
    return made


@pytest.mark.parametrize("who", [OTHER, {}], ids=["another tenant", "nobody"])
async def test_every_verb_denies_foreign_and_unknown_alike(server: Served, who: dict[str, str]) -> None:
    """X09, I9: no verb, and no state of the upload, tells that it is there."""
    server.tus.authorize(by_token)
    uploads = await uploads_of(server, ACME)
    before = server.snapshot()
    for method, fields, body in VERBS.values():
        unknown = await server.request(method, UNKNOWN, {**fields, **who}, body)
        assert unknown.status == 404
        for target in uploads.values():
            foreign = await server.request(method, target, {**fields, **who}, body)
            assert told(foreign) == told(unknown)
    assert server.snapshot() == before


@pytest.mark.parametrize("verb", VERBS)
async def test_every_verb_serves_the_tenant_itself(server: Served, verb: str) -> None:
    server.tus.authorize(by_token)
    uploads = await uploads_of(server, ACME)
    method, fields, body = VERBS[verb]
    statuses = {
        name: (await server.request(method, target, {**fields, **ACME}, body)).status
        for name, target in uploads.items()
    }
    assert 404 not in statuses.values()
    assert statuses["terminated"] == 410


async def test_a_foreign_writer_is_not_told_that_somebody_writes(server: Served) -> None:
    """X09: a 423 or a 409 would."""
    server.tus.authorize(by_token)
    target = (await uploads_of(server, ACME))["fresh"]
    wire = await Wire.connect(server.port)
    await wire.send(head("PATCH", target, {**PATCH, **ACME, "Content-Length": "10"}) + b"hel")
    async with asyncio.timeout(20):
        while (await server.request("HEAD", target, {**TUS, **ACME}))["Upload-Offset"] != "3":
            pass
    for method, fields, body in VERBS.values():
        assert (await server.request(method, target, {**fields, **OTHER}, body)).status == 404
    await wire.send(b"loworld")
    assert (await wire.receive("PATCH")).status == 204
    await wire.close()


async def test_permission_revoked_before_the_last_patch(server: Served) -> None:
    """K11: it is refused, and no event tells of a finish."""
    valid = {"acme"}

    @server.tus.authorize
    async def authorize(intent: Intent, request: RequestContext) -> Grant | bool:
        tenant = request.headers.get("authorization", "").removeprefix("Bearer ")
        return Grant(tenant=tenant) if tenant in valid else False

    target = (await uploads_of(server, ACME))["begun"]
    valid.clear()
    before = server.snapshot()
    assert (await server.patch(target, 3, b"loworld", ACME)).status == 404
    assert server.snapshot() == before
    valid.add("acme")
    assert (await server.patch(target, 3, b"loworld", ACME)).status == 204


async def test_each_request_says_what_it_is_about_to_do(server: Served) -> None:
    asked: list[tuple[Intent, str, str | None]] = []

    @server.tus.authorize
    def authorize(intent: Intent, request: RequestContext) -> bool:
        asked.append((intent, request.method, request.upload_id))
        return True

    target = await server.create(10)
    identity = upload_id(target)
    for method, fields, body in list(VERBS.values()):
        await server.request(method, target, fields, body)
    intents = {"HEAD": Intent.READ, "GET": Intent.READ, "PATCH": Intent.WRITE, "DELETE": Intent.TERMINATE}
    assert asked == [
        (Intent.CREATE, "POST", None),
        *(
            (intents[fields.get("X-HTTP-Method-Override", method)], method, identity)
            for method, fields, _ in VERBS.values()
        ),
    ]


async def test_options_asks_nobody(server: Served) -> None:
    """Browsers send preflights without credentials."""

    @server.tus.authorize
    def refuse(intent: Intent, request: RequestContext) -> bool:
        raise AssertionError("asked")

    for target in ("/files/", UNKNOWN):
        assert (await server.request("OPTIONS", target)).status == 204


@ON_BOTH_CLASSES
@pytest.mark.parametrize(
    ("answer", "post", "patch", "look"),
    [
        (False, 403, 404, 404),
        (Unauthorized("who are you?"), 401, 401, 401),
        (RuntimeError("CANARY"), 500, 500, 423),
        (None, 500, 500, 423),
    ],
    ids=["false", "unauthorized", "an error", "nothing"],
)
async def test_a_body_is_not_wanted_from_who_may_not_send_it(
    server: Served, answer: object, post: int, patch: int, look: int
) -> None:
    """Before 100 Continue and before a byte is read; HEAD never answers 5xx."""
    target = await server.create(10)

    @server.tus.authorize
    async def authorize(intent: Intent, request: RequestContext) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    for method, where, fields, status in (
        ("POST", "/files/", {**BODY, "Upload-Length": "5"}, post),
        ("PATCH", target, PATCH, patch),
    ):
        wire = await Wire.connect(server.port)
        await wire.send(head(method, where, {**fields, "Content-Length": "5", "Expect": "100-continue"}))
        async with asyncio.timeout(20):
            line = await wire.reader.readline()
        await wire.close()
        assert f" {status} ".encode() in line
        assert b"CANARY" not in line
    reply = await server.look(target)
    assert reply.status == look
    assert ("WWW-Authenticate" in reply) is (look == 401)

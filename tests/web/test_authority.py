"""Who may do what, without a server: token, openness, and the answers of `authorize`."""

from __future__ import annotations

import pytest
from starlette.types import Scope

from tuspy_server.access import EVERYTHING, Grant, Intent, RequestContext
from tuspy_server.events.blocking import BlockingHooks, Question
from tuspy_server.protocol.errors import (
    Forbidden,
    HookFailed,
    JobNotFound,
    Refused,
    TusError,
    Unauthorized,
    UploadNotFound,
)
from tuspy_server.web.authority import Authority
from tuspy_server.web.cors import Cors
from tuspy_server.web.hosts import Hosts
from tuspy_server.web.origins import Origins

TOKEN = "s3cret-tökén"


def scope(*, authorization: bytes | None = None, query: bytes = b"", kind: str = "http") -> Scope:
    headers = [] if authorization is None else [(b"authorization", authorization)]
    asgi: Scope = {"type": kind, "path": "/api/uploads", "query_string": query, "headers": headers}
    if kind == "http":
        asgi["method"] = "GET"
    return {**asgi, "client": ("192.0.2.7", 4711)}


def authority(*, token: str | None = None, is_open: bool = False, answer: object = None) -> Authority:
    hooks = BlockingHooks(5.0)
    if answer is not None:

        def authorize(intent: Intent, request: RequestContext) -> object:
            if isinstance(answer, Exception):
                raise answer
            return answer

        hooks.register(Question.AUTHORIZE, authorize)
    return Authority(hooks, api_token=token, api_open=is_open)


@pytest.mark.parametrize("intent", [Intent.READ, Intent.SUBSCRIBE])
async def test_lists_are_closed_by_default(intent: Intent) -> None:
    """Fault X10: what is not scoped to a known id takes a token."""
    with pytest.raises(Unauthorized):
        await authority().grant(intent, scope())
    with pytest.raises(Unauthorized):
        await authority(token="").grant(intent, scope(authorization=b"Bearer "))
    assert (await authority(is_open=True).grant(intent, scope())).grant == EVERYTHING


@pytest.mark.parametrize(
    ("host", "is_open"),
    [
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("LOCALHOST:8080", True),
        ("app.localhost", True),
        ("tuspy", True),
        ("tuspy.internal", True),
        ("files.example.org", True),
        ("Uploads.example.org.:8080", True),
        ("evil.example", False),
        ("evil.example.:8080", False),
        ("127.0.0.1.evil.example", False),
        ("[::1", False),
    ],
)
async def test_an_open_server_is_asked_by_its_own_names(host: str, is_open: bool) -> None:
    """X16: a page whose name points to this machine (DNS rebinding) passes every check of Origin."""
    hosts = Hosts.of(["uploads.example.org"], "https://files.example.org")
    asked = {**scope(), "headers": [(b"host", host.encode())]}
    for names, may in ((hosts, is_open), (Hosts.of(["*"], None), True)):
        guarded = Authority(BlockingHooks(5.0), api_token=None, api_open=True, api_hosts=names)
        assert (await guarded.grant(Intent.CREATE, asked)).grant == EVERYTHING
        if may:
            assert (await guarded.grant(Intent.SUBSCRIBE, asked)).grant == EVERYTHING
        else:
            with pytest.raises(Unauthorized):
                await guarded.grant(Intent.SUBSCRIBE, asked)


@pytest.mark.parametrize(
    ("origin", "is_open"),
    [
        (None, True),
        ("http://127.0.0.1:8080", True),
        ("https://app.example", True),
        ("https://evil.example", False),
        ("null", False),
    ],
)
async def test_an_open_server_is_not_open_to_every_page_that_somebody_inside_opens(
    origin: str | None, is_open: bool
) -> None:
    """X06, X16: `*` lets all pages upload; it does not let them list what others have uploaded."""
    fields = [(b"host", b"127.0.0.1:8080"), *([] if origin is None else [(b"origin", origin.encode())])]
    cors = Cors(("*", "https://app.example"), credentials=False)
    guarded = Authority(
        BlockingHooks(5.0), api_token=None, api_open=True, api_origins=Origins(cors, None, any_counts=False)
    )
    asked = {**scope(), "headers": fields}
    assert (await guarded.grant(Intent.CREATE, asked)).grant == EVERYTHING
    assert (await guarded.grant(Intent.SUBSCRIBE, asked, upload_id="u")).grant == EVERYTHING
    if is_open:
        assert (await guarded.grant(Intent.READ, asked)).grant == EVERYTHING
    else:
        with pytest.raises(Unauthorized):
            await guarded.grant(Intent.READ, asked)


@pytest.mark.parametrize("intent", list(Intent))
async def test_ids_are_capabilities(intent: Intent) -> None:
    assert (await authority().grant(intent, scope(), upload_id="u")).upload_id == "u"
    assert (await authority().grant(intent, scope(), job_id="j")).job_id == "j"
    assert (await authority().grant(Intent.CREATE, scope())).grant == EVERYTHING


async def test_the_token_opens_lists() -> None:
    closed = authority(token=TOKEN)
    for scheme in (b"Bearer ", b"bearer ", b"BEARER  "):
        request = await closed.grant(Intent.READ, scope(authorization=scheme + TOKEN.encode()))
        assert request.grant == EVERYTHING
    for wrong in (b"Bearer", b"Bearer ", b"Bearer s3cret", b"Basic " + TOKEN.encode(), TOKEN.encode()):
        with pytest.raises(Unauthorized):
            await closed.grant(Intent.READ, scope(authorization=wrong))


async def test_the_token_in_the_query_counts_where_it_may() -> None:
    """Query strings get into logs: only streams, whose browser clients can send no headers, take it there."""
    closed, asked = authority(token="abc"), scope(query=b"x=1&access_token=abc", kind="websocket")
    request = await closed.grant(Intent.SUBSCRIBE, asked, token_in_query=True)
    assert request.query == {"x": "1", "access_token": "abc"}
    with pytest.raises(Unauthorized):
        await closed.grant(Intent.SUBSCRIBE, asked)
    with pytest.raises(Unauthorized):
        await closed.grant(Intent.SUBSCRIBE, scope(query=b"access_token=ab"), token_in_query=True)


async def test_authorize_decides_all_but_the_token() -> None:
    acme = Grant(tenant="acme", subject="eve")
    assert (await authority(answer=acme).grant(Intent.READ, scope())).grant == acme
    assert (await authority(answer=True).grant(Intent.READ, scope())).grant == EVERYTHING
    refusing = authority(answer=False, token=TOKEN, is_open=True)
    request = await refusing.grant(Intent.TERMINATE, scope(authorization=b"Bearer " + TOKEN.encode()), upload_id="u")
    assert request.grant == EVERYTHING


@pytest.mark.parametrize(
    ("named", "error"), [({}, Forbidden), ({"upload_id": "u"}, UploadNotFound), ({"job_id": "j"}, JobNotFound)]
)
async def test_a_refusal_looks_like_an_unknown_id(named: dict[str, str], error: type[TusError]) -> None:
    """I9."""
    refusing = authority(answer=False)
    with pytest.raises(error):
        await refusing.grant(Intent.READ, scope(), upload_id=named.get("upload_id"), job_id=named.get("job_id"))


@pytest.mark.parametrize("answer", [RuntimeError("x"), "yes", 1])
async def test_what_authorize_gets_wrong_opens_nothing(answer: object) -> None:
    with pytest.raises(HookFailed):
        await authority(answer=answer, is_open=True).grant(Intent.READ, scope())


async def test_authorize_chooses_its_words() -> None:
    with pytest.raises(Refused) as refused:
        await authority(answer=Refused("pay first", 402)).grant(Intent.CREATE, scope())
    assert (refused.value.status, str(refused.value)) == (402, "pay first")


async def test_the_request_is_told_whole() -> None:
    request = await authority().grant(Intent.READ, scope(query=b"a=1&a=2&b=%20c"), upload_id="u", job_id="j")
    assert request == RequestContext(
        method="GET",
        path="/api/uploads",
        query={"a": "2", "b": " c"},
        uri="/api/uploads?a=1&a=2&b=%20c",
        client="192.0.2.7",
        upload_id="u",
        job_id="j",
    )


async def test_what_an_application_logs_of_a_request_has_no_token() -> None:
    """X19: `pre_finish`, too, is given one."""
    asked = scope(query=b"access_token=t0ken", authorization=b"Bearer t0ken")
    request = await authority().grant(Intent.CREATE, asked)
    assert (request.headers["authorization"], request.query) == ("Bearer t0ken", {"access_token": "t0ken"})
    assert "t0ken" not in repr(request)

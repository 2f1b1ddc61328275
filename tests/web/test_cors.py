"""CORS: browsers can read every answer, from the origins that the settings name and no other (X06)."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.web.conftest import Serve
from tests.web.served import Served, settings
from tests.web.wire import BODY, TUS

APP = {"Origin": "https://app.example.org"}
EVIL = {"Origin": "https://evil.example.net"}
REQUEST_HEADERS = {
    "Authorization", "Content-Type", "Tus-Resumable", "Upload-Checksum", "Upload-Concat", "Upload-Defer-Length",
    "Upload-Length", "Upload-Metadata", "Upload-Offset", "X-HTTP-Method-Override", "X-Request-ID", "X-Requested-With",
}  # fmt: skip
RESPONSE_HEADERS = {
    "Location", "Tus-Checksum-Algorithm", "Tus-Extension", "Tus-Max-Size", "Tus-Resumable", "Tus-Version",
    "Upload-Concat", "Upload-Defer-Length", "Upload-Expires", "Upload-Length", "Upload-Metadata", "Upload-Offset",
}  # fmt: skip


@pytest.mark.parametrize("target", ["/files/", f"/files/{'0' * 32}", "/files/never-an-id"])
async def test_a_preflight_allows_every_method_and_header_of_tus(server: Served, target: str) -> None:
    """CORE-CORS-01, CORE-CORS-02, CORE-OPT-06, CORE-OPT-07: it carries no credentials, and needs none."""
    reply = await server.request("OPTIONS", target, {**APP, "Access-Control-Request-Method": "PATCH"})
    assert reply.status == 204
    assert reply["Access-Control-Allow-Origin"] == "*"
    assert reply.members("Access-Control-Allow-Methods") == {"POST", "HEAD", "PATCH", "OPTIONS", "DELETE", "GET"}
    assert reply.members("Access-Control-Allow-Headers") >= REQUEST_HEADERS
    assert int(reply["Access-Control-Max-Age"]) > 0


async def test_every_answer_can_be_read(server: Served) -> None:
    """CORE-CORS-03, CORE-CORS-04: errors too, else a browser tells its client of a broken network."""
    target = await server.create(5, b"abc")
    replies = [
        await server.post({"Upload-Length": "5", **APP}),
        await server.request("HEAD", target, {**TUS, **APP}),
        await server.request("GET", target, APP),
        await server.request("PATCH", f"/files/{'0' * 32}", {**BODY, "Upload-Offset": "0", **APP}),
        await server.patch(target, 0, b"x", APP),
        await server.request("HEAD", target, {"Tus-Resumable": "9", **APP}),
        await server.patch(target, 3, b"xyz", APP),
        await server.patch(target, 3, b"x", {"Content-Type": "text/plain", **APP}),
        await server.patch(target, 3, b"x", {"Upload-Checksum": "md5 AAAAAAAAAAAAAAAAAAAAAA==", **APP}),
        await server.post({"Upload-Length": "5", "X-Fill": "x" * 33_000, **APP}),
        await server.patch(target, 3, b"de", APP),
        await server.request("DELETE", target, {**TUS, **APP}),
        await server.request("PUT", target, APP),
    ]
    assert [reply.status for reply in replies] == [
        201, 200, 409, 404, 409, 412, 413, 415, 460, 431, 204, 204, 405,
    ]  # fmt: skip
    for reply in replies:
        assert reply["Access-Control-Allow-Origin"] == "*"
        assert reply.members("Access-Control-Expose-Headers") >= RESPONSE_HEADERS
        assert "Access-Control-Allow-Credentials" not in reply


async def test_whatever_a_success_says_is_exposed(server: Served) -> None:
    """CORE-CORS-03: no header of ours is left out of the list."""
    created = await server.post({"Upload-Length": "5", **APP})
    exposed = created.members("Access-Control-Expose-Headers")
    target = created["Location"]
    replies = [created, await server.look(target), await server.patch(target, 0, b"hello", APP)]
    replies += [await server.request("OPTIONS", target, APP), await server.request("GET", target, APP)]
    # What browsers always show, and what concerns them alone.
    known = {"cache-control", "content-length", "content-type", "date", "last-modified", "server", "vary"}
    known |= {"accept-ranges", "content-security-policy", "x-content-type-options"}
    said = {name for reply in replies for name, _ in reply.fields if not name.startswith("access-control-")}
    assert said - known <= {name.lower() for name in exposed}


async def test_without_an_origin_nothing_is_said(server: Served) -> None:
    assert "Access-Control-Allow-Origin" not in await server.post({"Upload-Length": "5"})


@pytest.mark.parametrize("credentials", [False, True])
async def test_a_list_of_origins_allows_those_alone(serve: Serve, credentials: bool) -> None:
    """CORE-CORS-05, X06: Vary on every answer, so that no cache mixes origins."""
    server = await serve(cors_origins=("https://app.example.org", "https://b.org"), cors_credentials=credentials)
    for method, target in (("OPTIONS", "/files/"), ("HEAD", f"/files/{'0' * 32}"), ("POST", "/files/")):
        allowed = await server.request(method, target, {**TUS, "Upload-Length": "5", **APP})
        assert allowed["Access-Control-Allow-Origin"] == "https://app.example.org"
        assert allowed.all("Access-Control-Allow-Credentials") == (["true"] if credentials else [])
        evil = await server.request(method, target, {**TUS, "Upload-Length": "5", **EVIL})
        silent = await server.request(method, target, {**TUS, "Upload-Length": "5"})
        for reply in (evil, silent):
            assert not [name for name, _ in reply.fields if name.startswith("access-control-")]
        assert {reply["Vary"] for reply in (allowed, evil, silent)} == {"Origin"}


@pytest.mark.parametrize(
    "origin",
    ["null", "https://app.example.org.evil.net", "http://app.example.org", "https://app.example.org:8443", "*", ""],
)
async def test_nearly_the_same_is_another_origin(serve: Serve, origin: str) -> None:
    """X06."""
    server = await serve(cors_origins=("https://app.example.org",), cors_credentials=True)
    reply = await server.request("OPTIONS", "/files/", {"Origin": origin})
    assert "Access-Control-Allow-Origin" not in reply


async def test_no_origins_leave_cors_to_the_host(serve: Serve) -> None:
    server = await serve(cors_origins=())
    reply = await server.request("OPTIONS", "/files/", APP)
    assert reply.status == 204
    assert not [name for name, _ in reply.fields if name.startswith("access-control-") or name == "vary"]


def test_credentials_for_every_origin_stop_the_start(tmp_path: Path) -> None:
    """X06."""
    with pytest.raises(ValidationError, match="cors_credentials needs a list of origins"):
        settings(tmp_path, cors_credentials=True)

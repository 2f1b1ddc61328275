"""Where an upload is, as its client sees it: behind mounts, prefixes and proxies (X17)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp

from tests.web.conftest import Serve
from tests.web.served import Served, listen, settings
from tests.web.wire import BODY, TUS
from tuspy_server import TusServer

Host: TypeAlias = Callable[[TusServer], ASGIApp]
ID = "[0-9a-f]{32}"


def starlette(tus: TusServer) -> ASGIApp:
    return Starlette(routes=[Mount("/files", tus)], lifespan=tus.lifespan)


def starlette_nested(tus: TusServer) -> ASGIApp:
    return Starlette(routes=[Mount("/a", routes=[Mount("/b", Router([Mount("/c", tus)]))])], lifespan=tus.lifespan)


def starlette_with_a_parameter(tus: TusServer) -> ASGIApp:
    return Starlette(routes=[Mount("/t/{tenant}/files", tus)], lifespan=tus.lifespan)


def fastapi(tus: TusServer) -> ASGIApp:
    app = FastAPI(lifespan=tus.lifespan)
    app.mount("/api/v1/files", tus)
    return app


def fastapi_in_fastapi(tus: TusServer) -> ASGIApp:
    inner, outer = FastAPI(), FastAPI(lifespan=tus.lifespan)
    inner.mount("/files", tus)
    outer.mount("/v2", inner)
    return outer


def root(tus: TusServer) -> ASGIApp:
    return tus


def site(tus: TusServer) -> ASGIApp:
    return tus.app


def site_mounted(tus: TusServer) -> ASGIApp:
    return Starlette(routes=[Mount("/tus", tus.app)], lifespan=tus.lifespan)


@asynccontextmanager
async def hosted(host: Host, data: Path, root_path: str = "", **changes: object) -> AsyncIterator[Served]:
    tus = TusServer(settings(data, **changes))
    async with listen(host(tus), root_path=root_path) as port:
        yield Served(port, tus)


async def round_trip(server: Served, creation: str, mount: str, seen_as: str | None = None) -> None:
    """Create, append to where Location says, ask, get and remove."""
    created = await server.request("POST", creation, {**TUS, "Upload-Length": "10"})
    assert created.status == 201, created.text
    assert re.fullmatch(f"{seen_as or mount}/{ID}", created["Location"])
    target = mount + created["Location"].removeprefix(seen_as or mount)
    assert (await server.patch(target, 0, b"helloworld")).status == 204
    assert (await server.look(target))["Upload-Offset"] == "10"
    assert (await server.request("GET", target)).body == b"helloworld"
    assert (await server.request("DELETE", target, TUS)).status == 204


@pytest.mark.parametrize(
    ("host", "mount"),
    [
        pytest.param(starlette, "/files", id="Mount"),
        pytest.param(starlette_nested, "/a/b/c", id="Mount in Mount"),
        pytest.param(starlette_with_a_parameter, "/t/a%20b/files", id="Mount with a parameter"),
        pytest.param(fastapi, "/api/v1/files", id="FastAPI"),
        pytest.param(fastapi_in_fastapi, "/v2/files", id="FastAPI in FastAPI"),
        pytest.param(root, "", id="the root"),
        pytest.param(site, "/files", id="the site"),
        pytest.param(site_mounted, "/tus/files", id="the site in Mount"),
    ],
)
async def test_location_leads_back_from_any_mount(tmp_path: Path, host: Host, mount: str) -> None:
    """CREA-POST-03."""
    async with hosted(host, tmp_path) as server:
        await round_trip(server, f"{mount}/", mount)


@pytest.mark.parametrize(
    ("host", "below"),
    [
        pytest.param(starlette, "/files", id="Mount"),
        pytest.param(fastapi, "/api/v1/files", id="FastAPI"),
        pytest.param(root, "", id="the root"),
        pytest.param(site, "/files", id="the site"),
        pytest.param(site_mounted, "/tus/files", id="the site in Mount"),
    ],
)
async def test_location_holds_the_prefix_that_a_proxy_has_cut_off(tmp_path: Path, host: Host, below: str) -> None:
    """`uvicorn --root-path /cut`: the client sees /cut/files, the server is asked for /files."""
    async with hosted(host, tmp_path, root_path="/cut") as server:
        await round_trip(server, f"{below}/", below, f"/cut{below}")


async def test_a_host_keeps_its_other_routes(tmp_path: Path) -> None:
    """And what lies below the mount is ours alone: no id leads out of it."""

    async def outside(scope: object, receive: object, send: object) -> None:
        raise AssertionError("not to be reached")

    def host(tus: TusServer) -> ASGIApp:
        return Starlette(routes=[Mount("/files", tus), Route("/secret", outside)], lifespan=tus.lifespan)

    async with hosted(host, tmp_path) as server:
        for target in ("/files/../secret", "/files/%2e%2e/secret", "/files/..%2fsecret"):
            assert (await server.look(target)).status == 404


POISON = {
    "Host": "evil.example.net",
    "Forwarded": "for=1.2.3.4;host=evil.example.net;proto=https",
    "X-Forwarded-Host": "evil.example.net",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/evil",
}


@pytest.mark.parametrize("trusted", [(), ("10.0.0.0/8", "::1")])
async def test_nobody_but_a_trusted_proxy_decides_where_an_upload_is(serve: Serve, trusted: tuple[str, ...]) -> None:
    """CORE-PROXY-01, X17."""
    server = await serve(trusted_proxies=trusted)
    reply = await server.post({"Upload-Length": "5", **POISON})
    assert re.fullmatch(f"/files/{ID}", reply["Location"])
    assert "evil" not in reply.text


@pytest.mark.parametrize(
    ("fields", "prefix"),
    [
        pytest.param({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "h.org"}, "https://h.org", id="X-Forwarded"),
        pytest.param({"X-Forwarded-Host": "h.org:8443"}, "http://h.org:8443", id="no protocol"),
        pytest.param({"X-Forwarded-Proto": "https"}, "", id="no host"),
        pytest.param({"X-Forwarded-Prefix": "/up"}, "/up", id="a prefix alone"),
        pytest.param(
            {"X-Forwarded-Prefix": "/up/", "X-Forwarded-Host": "h.org"}, "http://h.org/up", id="prefix and host"
        ),
        pytest.param({"Forwarded": "for=1.2.3.4;host=h.org;proto=https"}, "https://h.org", id="Forwarded"),
        pytest.param({"Forwarded": 'Proto="HTTPS"; Host="h.org:8443"'}, "https://h.org:8443", id="Forwarded, quoted"),
        pytest.param({"Forwarded": 'host="[2001:db8::1]:80"'}, "http://[2001:db8::1]:80", id="Forwarded, IPv6"),
        pytest.param({"Forwarded": "host=evil.net, host=h.org"}, "http://h.org", id="the nearest proxy's word"),
        pytest.param({"X-Forwarded-Host": "evil.net, h.org"}, "http://h.org", id="the nearest proxy's word, X-"),
        pytest.param({"Forwarded": "host=x.org", "X-Forwarded-Host": "h.org"}, "http://h.org", id="X-Forwarded first"),
        pytest.param(
            {"Forwarded": "for=1.2.3.4", "X-Forwarded-Host": "x.org"}, "http://x.org", id="Forwarded, no host"
        ),
        pytest.param({"X-Forwarded-Host": "h.org/x"}, "", id="a path in the host"),
        pytest.param({"X-Forwarded-Host": "user@h.org"}, "", id="a user in the host"),
        pytest.param({"X-Forwarded-Host": "h.org\xff"}, "", id="beyond ASCII"),
        pytest.param({"X-Forwarded-Host": ""}, "", id="empty"),
        pytest.param({"X-Forwarded-Host": "h.org", "X-Forwarded-Proto": "javascript"}, "http://h.org", id="a protocol"),
        pytest.param({"X-Forwarded-Prefix": "//evil.net"}, "", id="a prefix that is a host"),
        pytest.param({"X-Forwarded-Prefix": "evil"}, "", id="a prefix without a slash"),
        pytest.param({"X-Forwarded-Prefix": "/a b"}, "", id="a prefix with a blank"),
        pytest.param({"Forwarded": ";;=;host"}, "", id="no pairs"),
    ],
)
async def test_a_trusted_proxys_word_is_taken_where_it_is_one(
    serve: Serve, fields: dict[str, str], prefix: str
) -> None:
    """CORE-PROXY-01."""
    server = await serve(trusted_proxies=("127.0.0.0/8",))
    reply = await server.post({"Upload-Length": "5", **fields})
    assert re.fullmatch(re.escape(f"{prefix}/files/") + ID, reply["Location"])


async def test_public_url_is_what_it_says(serve: Serve) -> None:
    """X17: whatever a proxy says; it adds but its prefix."""
    server = await serve(public_url="https://up.example.org", trusted_proxies=("127.0.0.1",))
    reply = await server.post({"Upload-Length": "5", **POISON, "X-Forwarded-Prefix": "/up"})
    assert re.fullmatch(f"https://up.example.org/up/files/{ID}", reply["Location"])


async def test_the_body_of_a_post_goes_where_location_says(tmp_path: Path) -> None:
    """CWU-02: through a mount."""
    async with hosted(fastapi, tmp_path) as server:
        reply = await server.request("POST", "/api/v1/files/", {**BODY, "Upload-Length": "5"}, b"hello")
        assert (await server.look(reply["Location"]))["Upload-Offset"] == "5"


@pytest.mark.parametrize(
    ("host", "more", "is_absolute"),
    [
        pytest.param("127.0.0.1:{port}", {}, True, id="the address that it has connected to"),
        pytest.param("LOCALHOST:{port}", {}, True, id="the loopback's name"),
        pytest.param("evil.example", {}, False, id="another name"),
        pytest.param("127.0.0.2:{port}", {}, False, id="another address"),
        pytest.param("127.0.0.1", {}, False, id="another port"),
        pytest.param("127.0.0.1:{port}", {"X-Forwarded-For": "10.0.0.1"}, False, id="a proxy shows"),
        pytest.param("127.0.0.1:{port}", {"Via": "1.1 proxy"}, False, id="a proxy shows by Via"),
    ],
)
async def test_location_is_absolute_for_a_client_at_the_servers_own_address(
    serve: Serve, host: str, more: dict[str, str], is_absolute: bool
) -> None:
    """CREA-POST-03, X17: aiotus 1.1 resolves no path; no header but the true address makes an origin."""
    served = await serve()
    host = host.format(port=served.port)
    reply = await served.post({"Upload-Length": "5", "Host": host, **more})
    assert reply["Location"].startswith(f"http://{host.lower()}/files/" if is_absolute else "/files/")

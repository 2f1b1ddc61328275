"""OPTIONS: what the server says of itself, to anybody who asks, at any URL."""

from __future__ import annotations

import pytest

from tests.web.conftest import Serve
from tests.web.served import Served


@pytest.mark.parametrize("fields", [{}, {"Tus-Resumable": "0.0.1"}, {"Tus-Resumable": "1.0.0"}])
async def test_options_answers_whatever_version_is_asked(server: Served, fields: dict[str, str]) -> None:
    """CORE-OPT-01, CORE-OPT-02, CORE-OPT-05."""
    reply = await server.request("OPTIONS", "/files/", fields)
    assert reply.status == 204
    assert reply["Tus-Version"] == "1.0.0"
    assert reply["Tus-Resumable"] == "1.0.0"
    assert "Content-Length" not in reply


async def test_options_lists_what_the_server_can_do(server: Served) -> None:
    """CORE-OPT-03, CREA-POST-01, CWU-01, CSUM-01."""
    reply = await server.request("OPTIONS", "/files/")
    assert reply.members("Tus-Extension") == {
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "termination",
        "checksum",
        "expiration",
    }
    assert reply["Tus-Checksum-Algorithm"] == "sha1,sha256,sha512,md5,crc32,crc32c"


async def test_expiration_is_not_offered_where_nothing_expires(serve: Serve) -> None:
    """EXP-02: and no answer promises it."""
    server = await serve(expires_seconds=0)
    assert "expiration" not in (await server.request("OPTIONS", "/files/")).members("Tus-Extension")
    assert "Upload-Expires" not in await server.post({"Upload-Length": "5"})


async def test_tus_max_size_is_what_is_enforced(serve: Serve) -> None:
    """CORE-OPT-04, CREA-POST-07, CREA-POST-08."""
    server = await serve(max_size=1000)
    assert (await server.request("OPTIONS", "/files/"))["Tus-Max-Size"] == "1000"
    assert (await server.post({"Upload-Length": "1000"})).status == 201
    before = server.snapshot()
    refused = await server.post({"Upload-Length": "1001"})
    assert (refused.status, refused.body) == (413, b"upload_too_large: the upload is larger than Tus-Max-Size\n")
    assert "Location" not in refused
    assert server.snapshot() == before


async def test_without_a_limit_none_is_told(server: Served) -> None:
    """CORE-OPT-04."""
    assert "Tus-Max-Size" not in await server.request("OPTIONS", "/files/")


@pytest.mark.parametrize("target", ["/files", "/files/", f"/files/{'0' * 32}", "/files/never-an-id", "/files/%2e%2e/x"])
async def test_options_succeeds_at_any_url(server: Served, target: str) -> None:
    """CORE-OPT-06: a preflight that fails hides the real answer from a browser's client."""
    reply = await server.request("OPTIONS", target)
    assert (reply.status, reply["Tus-Version"]) == (204, "1.0.0")


async def test_options_of_a_live_upload_tells_the_same(server: Served) -> None:
    """CORE-OPT-06."""
    reply = await server.request("OPTIONS", await server.create())
    assert (reply.status, reply["Tus-Version"]) == (204, "1.0.0")

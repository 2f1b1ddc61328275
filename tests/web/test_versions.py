"""The version gate in front of everything, and methods that are overridden or unknown."""

from __future__ import annotations

import pytest

from tests.web.served import Served
from tests.web.wire import BODY, TUS

UNKNOWN = f"/files/{'0' * 32}"


async def test_every_answer_names_the_version(server: Served) -> None:
    """CORE-VER-01: successes and errors alike."""
    target = await server.create(5)
    replies = [
        await server.post({"Upload-Length": "5"}),
        await server.look(target),
        await server.patch(target, 0, b"hello"),
        await server.post({}),
        await server.look(UNKNOWN),
        await server.patch(target, 0, b"x"),
        await server.request("PATCH", target, {**BODY, "Upload-Offset": "0", "Content-Type": "text/plain"}, b"x"),
        await server.post({"Upload-Length": "5", **BODY}, b"too long"),
        await server.request("DELETE", target),
        await server.request("DELETE", target, TUS),
    ]
    assert [reply.status for reply in replies] == [201, 200, 204, 400, 404, 409, 415, 413, 412, 204]
    assert {reply["Tus-Resumable"] for reply in replies} == {"1.0.0"}


@pytest.mark.parametrize("version", ["0.2.2", "9.9.9", "", None])
async def test_a_foreign_version_creates_nothing(server: Served, version: str | None) -> None:
    """CORE-VER-02, CORE-VER-05."""
    before = server.snapshot()
    fields = {"Upload-Length": "5"} | ({} if version is None else {"Tus-Resumable": version})
    reply = await server.request("POST", "/files/", fields)
    assert (reply.status, reply["Tus-Version"]) == (412, "1.0.0")
    assert "Location" not in reply
    assert server.snapshot() == before


@pytest.mark.parametrize("version", ["9.9.9", None])
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_foreign_version_changes_nothing_and_hides_what_exists(
    server: Served, method: str, version: str | None
) -> None:
    """CORE-VER-03, CORE-VER-05: the gate is before the lookup, so an unknown id is no 404."""
    target = await server.create(5)
    before = server.snapshot()
    fields = {"Upload-Offset": "0", "Content-Type": BODY["Content-Type"]}
    fields |= {} if version is None else {"Tus-Resumable": version}
    for wanted in (target, UNKNOWN):
        reply = await server.request(method, wanted, fields, b"hello" if method == "PATCH" else b"")
        assert (reply.status, reply["Tus-Version"]) == (412, "1.0.0")
    assert server.snapshot() == before


async def test_head_of_a_foreign_version_is_412_without_a_body(server: Served) -> None:
    """CORE-VER-04."""
    reply = await server.request("HEAD", await server.create(), {"Tus-Resumable": "9.9.9"})
    assert (reply.status, reply["Tus-Version"]) == (412, "1.0.0")
    assert "Upload-Offset" not in reply


async def test_head_without_a_version_is_answered(server: Served) -> None:
    """CORE-VER-06: it is how a download's client asks."""
    reply = await server.request("HEAD", await server.create())
    assert (reply.status, reply["Upload-Offset"]) == (200, "0")


async def test_names_ignore_case_and_values_are_stripped(server: Served) -> None:
    """CORE-VER-07."""
    target = await server.create(5)
    fields = {
        "tus-resumable": " \t1.0.0\t ",
        "UPLOAD-OFFSET": "  0 ",
        "content-TYPE": "\tapplication/offset+octet-stream ",
    }
    assert (await server.request("PATCH", target, fields, b"hello")).status == 204


async def test_a_post_can_be_any_method(server: Served) -> None:
    """CORE-OVR-01, CORE-OVR-02."""
    target = await server.create(5)
    patch = {**BODY, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    appended = await server.request("POST", target, patch, b"hello")
    assert (appended.status, appended["Upload-Offset"]) == (204, "5")
    looked = await server.request("POST", target, {**TUS, "X-HTTP-Method-Override": "HEAD"})
    assert (looked.status, looked["Upload-Offset"], looked.body) == (200, "5", b"")
    assert (await server.request("POST", target, {**TUS, "X-HTTP-Method-Override": "DELETE"})).status == 204
    assert (await server.look(target)).status == 410


async def test_a_post_that_is_a_head_announces_no_body(server: Served) -> None:
    """CORE-OVR-02: of a finished upload without a version, where HEAD itself would tell the file's length."""
    target = await server.create(5, b"hello")
    looked = await server.request("POST", target, {"X-HTTP-Method-Override": "HEAD"})
    assert (looked.status, looked["Upload-Offset"], looked["Content-Length"]) == (200, "5", "0")


@pytest.mark.parametrize(("method", "status"), [("PUT", 405), ("GET", 409), ("HEAD", 200)])
async def test_only_post_is_overridden(server: Served, method: str, status: int) -> None:
    """CORE-OVR-03: a link or an image that is shown must not change anything."""
    target = await server.create(5)
    before = server.snapshot()
    fields = {**BODY, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert (await server.request(method, target, fields, b"hello" if method == "PUT" else b"")).status == status
    assert server.snapshot() == before


@pytest.mark.parametrize(
    ("method", "collection"),
    [
        ("PUT", False),
        ("POST", False),
        ("TRACE", False),
        ("PROPFIND", False),
        ("HEAD", True),
        ("PATCH", True),
        ("DELETE", True),
        ("GET", True),
        ("PUT", True),
    ],
)
async def test_a_method_that_a_url_lacks_is_405_with_those_that_it_has(
    server: Served, method: str, collection: bool
) -> None:
    """CORE-METH-01, CREA-POST-11."""
    target = await server.create(5)
    before = server.snapshot()
    fields = {**BODY, "Upload-Offset": "0", "Upload-Length": "5"}
    reply = await server.request(method, "/files/" if collection else target, fields)
    assert reply.status == 405
    assert reply["Allow"] == ("OPTIONS, POST" if collection else "OPTIONS, HEAD, GET, PATCH, DELETE")
    assert "Upload-Offset" not in reply
    assert server.snapshot() == before

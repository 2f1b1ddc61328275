"""POST: what is created, what is not, and what it says of it."""

from __future__ import annotations

import base64
import re
from urllib.parse import urljoin

import pytest

from tests.web.conftest import Serve
from tests.web.served import Served, upload_id
from tests.web.wire import BODY, TUS, chunked, head


async def test_a_new_upload_is_empty_and_where_location_says(server: Served) -> None:
    """CREA-POST-02, CREA-POST-03, CORE-URL-01: path-absolute, with 128 random bits and nothing of the storage."""
    reply = await server.post({"Upload-Length": "100"})
    assert reply.status == 201
    assert re.fullmatch(r"/files/[0-9a-f]{32}", reply["Location"])
    assert urljoin("http://tus.test/files/", reply["Location"]) == f"http://tus.test{reply['Location']}"
    looked = await server.look(reply["Location"])
    assert (looked["Upload-Offset"], looked["Upload-Length"]) == ("0", "100")


async def test_an_upload_of_zero_bytes_is_complete_at_once(server: Served) -> None:
    """CREA-POST-04."""
    target = await server.create(0)
    looked = await server.look(target)
    assert (looked["Upload-Offset"], looked["Upload-Length"]) == ("0", "0")
    got = await server.request("GET", target)
    assert (got.status, got["Content-Length"], got.body) == (200, "0", b"")


@pytest.mark.parametrize("digits", [str(2**53 + 1), str(2**63 - 1), "0000000000000000100"])
async def test_lengths_are_exact(server: Served, digits: str) -> None:
    """CREA-POST-09, R03: and nothing is allocated for them."""
    reply = await server.post({"Upload-Length": digits})
    assert (reply.status, (await server.look(reply["Location"]))["Upload-Length"]) == (201, str(int(digits)))


async def test_both_forms_of_the_creation_url_create(server: Served) -> None:
    """CREA-POST-02, CORE-URL-03: without a redirect, which would drop the body."""
    for target in ("/files", "/files/"):
        assert (await server.request("POST", target, {**TUS, "Upload-Length": "5"})).status == 201


@pytest.mark.parametrize("body", [b'{"a": 1}', b""])
async def test_a_body_of_another_type_is_never_counted(server: Served, body: bytes) -> None:
    """CREA-POST-10, CWU-04: refused, rather than dropped without a word; without a body the type does not matter."""
    before = server.snapshot()
    reply = await server.post({"Upload-Length": "100", "Content-Type": "application/json"}, body)
    assert reply.status == (415 if body else 201)
    assert "Upload-Offset" not in reply
    assert (server.snapshot() == before) is bool(body)


META = "filename d29y,is_confidential"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(META, id="CREA-META-01"),
        pytest.param("is_confidential", id="CREA-META-02"),
        pytest.param("is_confidential ,a YQ==", id="CREA-META-02 space"),
        pytest.param("a YQ==, b Yg==", id="CREA-META-05"),
        pytest.param(f"f {base64.b64encode('🐘 é.txt'.encode()).decode()}", id="CREA-META-07 emoji"),
        pytest.param(f"f {base64.b64encode(bytes(range(256))).decode()}", id="CREA-META-07 bytes"),
        pytest.param(f"f {base64.b64encode(b'x' * 3000).decode()}", id="CREA-META-09 4 KiB"),
    ],
)
async def test_metadata_comes_back_exactly(server: Served, raw: str) -> None:
    """CREA-META-01: before and after the upload is complete."""
    target = await server.create(5, metadata=raw)
    assert (await server.look(target))["Upload-Metadata"] == raw
    assert (await server.patch(target, 0, b"hello")).status == 204
    assert (await server.look(target))["Upload-Metadata"] == raw


async def test_no_answer_holds_what_metadata_decodes_to(server: Served) -> None:
    """CREA-META-08, X03."""
    evil = base64.b64encode(b"a\r\nSet-Cookie: x=1").decode()
    raw = f"filename {evil},filetype {evil},name {evil}"
    target = await server.create(5, b"hello", metadata=raw)
    for reply in (
        await server.look(target),
        await server.request("GET", target),
        await server.request("HEAD", target),
        await server.request("GET", target, {"Range": "bytes=0-0"}),
    ):
        assert reply.status in (200, 206)
        assert "Set-Cookie" not in reply
        assert "\r\nset-cookie" not in reply.text.lower()


async def test_metadata_past_the_limit_is_431(serve: Serve) -> None:
    """CREA-META-09: never cut."""
    server = await serve(max_metadata_bytes=100)
    assert (await server.post({"Upload-Length": "5", "Upload-Metadata": "f " + "YQ==" * 24 + "YQ"})).status == 400
    before = server.snapshot()
    assert (await server.post({"Upload-Length": "5", "Upload-Metadata": "f " + "YWFh" * 25})).status == 431
    assert (await server.post({"Upload-Length": "5", "Upload-Metadata": "f " + "A" * 25_600})).status == 431
    assert server.snapshot() == before


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        pytest.param(b"hello", {}, id="with Content-Length"),
        pytest.param(chunked(b"he", b"llo"), {"Transfer-Encoding": "chunked"}, id="chunked"),
    ],
)
async def test_a_post_may_carry_the_first_bytes(server: Served, body: bytes, fields: dict[str, str]) -> None:
    """CWU-01, CWU-02."""
    reply = await server.post({"Upload-Length": "100", **BODY, **fields}, body)
    assert (reply.status, reply["Upload-Offset"]) == (201, "5")
    assert await server.offset(reply["Location"]) == 5
    assert await server.content(reply["Location"]) == b"hello"


async def test_an_empty_body_of_the_right_type_tells_offset_0(server: Served) -> None:
    """CWU-02: tus-js-client fails without it."""
    assert (await server.post({"Upload-Length": "100", **BODY}))["Upload-Offset"] == "0"
    assert "Upload-Offset" not in await server.post({"Upload-Length": "100"})


async def test_a_post_may_carry_the_whole_file(server: Served) -> None:
    """CWU-03."""
    reply = await server.post({"Upload-Length": "5", **BODY}, b"hello")
    assert (reply.status, reply["Upload-Offset"]) == (201, "5")
    looked = await server.look(reply["Location"])
    assert (looked["Upload-Offset"], looked["Upload-Length"]) == ("5", "5")


@pytest.mark.parametrize(
    ("body", "fields"), [(b"too long", {}), (chunked(b"too", b" long"), {"Transfer-Encoding": "chunked"})]
)
async def test_a_body_past_the_length_leaves_no_upload(server: Served, body: bytes, fields: dict[str, str]) -> None:
    """CWU-05: its client would not know where it is."""
    reply = await server.post({"Upload-Length": "5", **BODY, **fields}, body)
    assert reply.status == 413
    assert "Location" not in reply
    assert not [key for key in server.snapshot() if "/files/" in key]


async def test_no_body_is_asked_for_that_would_be_refused(serve: Serve) -> None:
    """CWU-06."""
    server = await serve(max_size=10)
    expect = {**BODY, "Expect": "100-continue", "Content-Length": "5"}
    refused = await server.raw(head("POST", "/files/", {**expect, "Upload-Length": "11"}))
    assert refused.status == 413
    accepted = await server.raw(head("POST", "/files/", {**expect, "Upload-Length": "10"}) + b"hello")
    assert (accepted.status, accepted["Upload-Offset"]) == (201, "5")


async def test_an_extension_that_is_not_offered_is_400(server: Served) -> None:
    """CORE-EXT-01."""
    before = server.snapshot()
    target = "/files/" + "0" * 32
    for concat in ("partial", f"final;{target} {target}"):
        assert (await server.post({"Upload-Length": "5", "Upload-Concat": concat})).status == 400
    assert server.snapshot() == before


async def test_ids_are_all_different(server: Served) -> None:
    """CORE-URL-01."""
    ids = {upload_id(await server.create()) for _ in range(40)}
    assert len(ids) == 40

"""Upload-Checksum: what does not match leaves no byte behind."""

from __future__ import annotations

import base64
import hashlib
import random
import zlib
from collections.abc import Callable

import google_crc32c
import pytest

from tests.web.conftest import ON_BOTH_CLASSES, Serve
from tests.web.served import Served
from tests.web.wire import BODY, Wire, chunked, head

pytestmark = ON_BOTH_CLASSES

DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    "sha1": lambda body: hashlib.sha1(body).digest(),
    "sha256": lambda body: hashlib.sha256(body).digest(),
    "sha512": lambda body: hashlib.sha512(body).digest(),
    "md5": lambda body: hashlib.md5(body).digest(),
    "crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "crc32c": lambda body: google_crc32c.value(body).to_bytes(4, "big"),
}


def checksum(body: bytes, algorithm: str = "sha1") -> dict[str, str]:
    return {"Upload-Checksum": f"{algorithm} {base64.b64encode(DIGESTS[algorithm](body)).decode()}"}


@pytest.mark.parametrize("algorithm", DIGESTS)
async def test_a_right_digest_is_taken_and_a_wrong_one_is_460(server: Served, algorithm: str) -> None:
    """CSUM-02, CSUM-03, CSUM-06: after a 460, the right bytes go to the same offset (CSUM-04)."""
    assert algorithm in (await server.request("OPTIONS", "/files/")).members("Tus-Checksum-Algorithm")
    target = await server.create(10, b"hello")
    before = server.snapshot()
    refused = await server.patch(target, 5, b"wrong", checksum(b"world", algorithm))
    assert (refused.status, refused["Tus-Resumable"]) == (460, "1.0.0")
    after = server.snapshot()
    assert {key: after[key] for key in after if "/files/" in key} == {
        key: before[key] for key in before if "/files/" in key
    }
    assert await server.offset(target) == 5
    assert (await server.patch(target, 5, b"world", checksum(b"world", algorithm))).status == 204
    assert await server.content(target) == b"helloworld"


SHA1 = base64.b64encode(bytes(20)).decode()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("foo AAAA", id="CSUM-05"),
        pytest.param(f"sha1{SHA1}", id="CSUM-07 no space"),
        pytest.param("sha1 !!!", id="CSUM-07 not base64"),
        pytest.param("sha1 AAAA", id="CSUM-07 length"),
        pytest.param("", id="CSUM-07 empty"),
        pytest.param(f"SHA1 {SHA1}", id="CSUM-07 upper case"),
    ],
)
async def test_a_header_that_cannot_be_read_is_400(server: Served, value: str) -> None:
    target = await server.create(5)
    before = server.snapshot()
    assert (await server.patch(target, 0, b"hello", {"Upload-Checksum": value})).status == 400
    assert server.snapshot() == before


async def test_a_body_cut_short_leaves_no_unverified_byte(server: Served) -> None:
    """CSUM-08, CSUM-12: while it comes, and after it broke off."""
    target = await server.create(10)
    wire = await Wire.connect(server.port)
    fields = {**BODY, "Upload-Offset": "0", "Content-Length": "10", **checksum(b"helloworld")}
    await wire.send(head("PATCH", target, fields) + b"hello")
    assert await server.offset(target) == 0
    await wire.close()
    assert await server.offset(target) == 0
    while (reply := await server.patch(target, 0, b"HELLOWORLD")).status == 423:
        pass
    assert reply.status == 204
    assert await server.content(target) == b"HELLOWORLD"


async def test_an_empty_body_has_a_digest_too(server: Served) -> None:
    """CSUM-09."""
    target = await server.create(5)
    assert (await server.patch(target, 0, b"", checksum(b""))).status == 204
    assert (await server.patch(target, 0, b"", checksum(b"x"))).status == 460


async def test_the_last_chunk_finishes_only_if_it_is_right(server: Served) -> None:
    """CSUM-10."""
    finished: list[str] = []
    server.tus.on("upload.finished", name="seen")(lambda event: finished.append(event.upload_id))
    target = await server.create(10, b"hello")
    assert (await server.patch(target, 5, b"wrong", checksum(b"world"))).status == 460
    assert (await server.patch(target, 4, b"world", checksum(b"world"))).status == 409
    assert await server.offset(target) == 5
    assert (await server.request("GET", target)).status == 409
    assert finished == []
    assert (await server.patch(target, 5, b"world", checksum(b"world"))).status == 204
    assert (await server.request("GET", target)).body == b"helloworld"


async def test_many_megabytes_are_rolled_back(server: Served) -> None:
    """CSUM-11."""
    body = random.Random(11).randbytes(12 << 20)
    target = await server.create(len(body) + 5, b"hello")
    assert (await server.patch(target, 5, body, checksum(b"another"))).status == 460
    assert await server.offset(target) == 5
    assert await server.content(target) == b"hello"
    assert (await server.patch(target, 5, body, checksum(body))).status == 204
    assert await server.content(target) == b"hello" + body


async def test_a_post_with_a_wrong_digest_leaves_no_upload(server: Served) -> None:
    """CWU-09."""
    right = await server.post({"Upload-Length": "5", **BODY, **checksum(b"hello")}, b"hello")
    assert (right.status, right["Upload-Offset"]) == (201, "5")
    wrong = await server.post({"Upload-Length": "5", **BODY, **checksum(b"hello")}, b"wrong")
    assert wrong.status == 460
    assert "Location" not in wrong
    assert len([key for key in server.snapshot() if "/files/" in key]) == 1


async def test_a_body_that_counts_as_a_whole_has_a_limit(serve: Serve) -> None:
    """CSUM-02: announced or chunked, 413 past it, and nothing is kept."""
    server = await serve(checksum_max_bytes=8)
    target = await server.create(100)
    assert (await server.patch(target, 0, b"12345678", checksum(b"12345678"))).status == 204
    assert (await server.patch(target, 8, b"123456789", checksum(b"123456789"))).status == 413
    fields = {**checksum(b"123456789"), "Transfer-Encoding": "chunked"}
    assert (await server.patch(target, 8, chunked(b"123456789"), fields)).status == 413
    assert await server.offset(target) == 8


async def test_a_checksum_in_a_trailer_does_no_harm_where_trailers_are_not_offered(server: Served) -> None:
    """TRLR-05: the connection stays in step."""
    target = await server.create(5)
    wire = await Wire.connect(server.port)
    fields = {**BODY, "Upload-Offset": "0", "Transfer-Encoding": "chunked", "Trailer": "Upload-Checksum"}
    body = b"5\r\nhello\r\n0\r\nUpload-Checksum: sha1 AAAA\r\n\r\n"
    assert (await wire.request("PATCH", target, fields, body)).status in (204, 400, 460)
    assert (await wire.request("OPTIONS", "/files/")).status == 204
    await wire.close()

"""`Upload-Checksum` behind the body: announced by the head, judged at the end."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest

from tests.protocol.samples import policy
from tuspy_server.protocol.checksum import CHECKSUM_ALGORITHMS, Checksum, TrailerChecksum, parse_checksum
from tuspy_server.protocol.core import parse_patch
from tuspy_server.protocol.errors import InvalidHeader, UnknownChecksumAlgorithm
from tuspy_server.protocol.fields import RequestHead

BODY = b"a body of some bytes"
SHA1 = b"sha1 " + base64.b64encode(hashlib.sha1(BODY, usedforsecurity=False).digest())


def patch_head(*extra: tuple[bytes, bytes]) -> RequestHead:
    fields = [
        (b"tus-resumable", b"1.0.0"),
        (b"upload-offset", b"0"),
        (b"content-type", b"application/offset+octet-stream"),
        *extra,
    ]
    return RequestHead.from_raw("PATCH", fields, 32768)


CHUNKED = (b"transfer-encoding", b"chunked")
ANNOUNCED = (b"trailer", b"X-Other, Upload-Checksum")


@pytest.mark.parametrize(
    ("fields", "delivers", "expected"),
    [
        pytest.param((CHUNKED, ANNOUNCED), True, TrailerChecksum, id="TRLR-02 announced"),
        pytest.param((CHUNKED, ANNOUNCED), False, type(None), id="TRLR-05 a body path without trailers ignores it"),
        pytest.param((CHUNKED,), True, type(None), id="TRLR-04 not announced"),
        pytest.param(((b"content-length", b"20"), ANNOUNCED), True, type(None), id="TRLR-05 no chunks, no trailers"),
        pytest.param((CHUNKED, ANNOUNCED, (b"upload-checksum", SHA1)), True, Checksum, id="TRLR-05 the header counts"),
    ],
)
def test_only_an_announced_trailer_is_waited_for(
    fields: tuple[tuple[bytes, bytes], ...], delivers: bool, expected: type
) -> None:
    patch = parse_patch(patch_head(*fields), policy(), delivers_trailers=delivers)
    assert isinstance(patch.checksum, expected)


@pytest.mark.parametrize("algorithm", CHECKSUM_ALGORITHMS)
def test_every_algorithm_may_be_named_at_the_end(algorithm: str) -> None:
    """TRLR-02, TRLR-03."""
    wanted = parse_checksum("crc32 " + base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode())
    assert wanted.algorithm == "crc32"
    announced = TrailerChecksum()
    digest = announced.start()
    digest.update(memoryview(BODY[:7]))
    digest.update(memoryview(BODY[7:]))
    named = Checksum(algorithm, b"").start()
    named.update(memoryview(BODY))
    right = f"{algorithm} {base64.b64encode(named.digest()).decode()}".encode()
    wrong = f"{algorithm} {base64.b64encode(bytes(len(named.digest()))).decode()}".encode()
    assert announced.holds(digest, [(b"x-other", b"1"), (b"upload-checksum", right)])
    assert not announced.holds(digest, [(b"upload-checksum", wrong)])


@pytest.mark.parametrize(
    ("trailers", "error"),
    [
        pytest.param([], InvalidHeader, id="missing"),
        pytest.param([(b"upload-checksum", SHA1), (b"upload-checksum", b"md5 x")], InvalidHeader, id="two that differ"),
        pytest.param([(b"upload-checksum", b"foo AAAA")], UnknownChecksumAlgorithm, id="unlisted"),
        pytest.param([(b"upload-checksum", b"sha1")], InvalidHeader, id="malformed"),
    ],
)
def test_a_trailer_that_cannot_be_judged_is_400(
    trailers: list[tuple[bytes, bytes]], error: type[InvalidHeader]
) -> None:
    """TRLR-03, TRLR-05."""
    announced = TrailerChecksum()
    with pytest.raises(error) as caught:
        announced.holds(announced.start(), trailers)
    assert caught.value.status == 400

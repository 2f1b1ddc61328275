"""The pieces that the client is made of, each against somebody else's: botocore's signer, the library's own CRC."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from urllib.parse import quote

import google_crc32c
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tuspy_server.stores.s3.crc import crc32c_in, crc32c_of, header_of
from tuspy_server.stores.s3.signing import UNSIGNED, Keys, Signer, Target
from tuspy_server.stores.s3.values import METADATA_BYTES, ObjectHeaders, decoded_metadata, metadata_that_fits


@pytest.mark.parametrize("token", [None, "session/token=="])
@pytest.mark.parametrize("query", ["", "partNumber=3&uploadId=a%2Fb%2B~"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-amz-checksum-crc32c": "qTxfkw==", "content-type": "text/plain; charset=utf-8", "if-none-match": "*"},
        {"x-amz-meta-a": "b%20c", "content-disposition": 'attachment;  filename="a  b"', "x-amz-meta-a.b": " x "},
    ],
)
@pytest.mark.parametrize("key", ["a/b.txt", "sp ace+&=ü~*'()!@:$,;?#%"])
def test_signatures_are_botocores(key: str, headers: dict[str, str], query: str, token: str | None) -> None:
    path = f"/bucket/{quote(key, safe='/-_.~')}"
    request = AWSRequest(
        method="PUT",
        url=f"http://127.0.0.1:9000{path}{'?' if query else ''}{query}",
        headers={**headers, "X-Amz-Content-SHA256": UNSIGNED},
    )
    request.context["client_config"] = None
    request.context["payload_signing_enabled"] = False
    S3SigV4Auth(Credentials("AKID", "secret", token), "s3", "eu-west-1").add_auth(request)
    moment = datetime.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    signed = Signer("eu-west-1").signed(
        Target("PUT", "127.0.0.1:9000", path, query),
        headers,
        Keys("AKID", "secret", token),
        request.headers["X-Amz-Content-SHA256"],
        moment,
    )
    assert signed["authorization"] == request.headers["Authorization"]


def test_the_signing_key_follows_the_day_and_the_secret() -> None:
    signer = Signer("r")
    target = Target("PUT", "h", "/k", "")
    seen = set()
    for now, secret in ((0, "a"), (86_399, "a"), (86_400, "a"), (86_400, "b"), (0, "a")):
        authorization = signer.signed(target, {}, Keys("i", secret, None), UNSIGNED, now)["authorization"]
        assert authorization == Signer("r").signed(target, {}, Keys("i", secret, None), UNSIGNED, now)["authorization"]
        seen.add(authorization)
    assert len(seen) == 4


@pytest.mark.parametrize("sizes", [[], [0], [1], [65_535], [65_536], [65_537, 3, 1 << 20], [200_000, 200_000]])
@pytest.mark.parametrize("readonly", [True, False])
def test_the_crc_is_the_librarys(sizes: list[int], *, readonly: bool) -> None:
    blocks = [os.urandom(size) for size in sizes]
    views = [memoryview(block if readonly else bytearray(block)) for block in blocks]
    whole = google_crc32c.value(b"".join(blocks))
    assert crc32c_of(views) == whole
    assert crc32c_of(views[1:], crc32c_of(views[:1])) == whole
    assert crc32c_in(header_of(whole)) == whole


def test_the_crc_of_a_view_into_a_page() -> None:
    page = memoryview(bytearray(os.urandom(300_000)))
    assert crc32c_of([page[7:200_001]]) == google_crc32c.value(bytes(page[7:200_001]))


@pytest.mark.parametrize("value", [None, "", "qTxfkw==-3", "qTxfkwAA", "!"])
def test_what_is_no_crc_of_an_object_is_none(value: str | None) -> None:
    assert crc32c_in(value) is None


def test_metadata_is_chosen_in_order_until_it_is_full() -> None:
    fits = metadata_that_fits([("Upload-Id", "x"), ("long", "ä" * 2000), ("a/b", "x"), ("UPLOAD-ID", "y"), ("z", "%")])
    assert fits == {"upload-id": "x", "z": "%"}
    headers = ObjectHeaders(metadata=fits)
    assert decoded_metadata(headers.encoded_metadata()) == fits


@pytest.mark.parametrize(
    "headers",
    [
        {"metadata": {"a": "b" * METADATA_BYTES}},
        {"metadata": {"a\r\nb": "c"}},
        {"content_type": "text/plain\r\nx-evil: 1"},
        {"content_disposition": "ä"},
    ],
)
def test_headers_that_no_store_may_see_are_refused(headers: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"metadata|header"):
        ObjectHeaders(**headers)  # type: ignore[arg-type]

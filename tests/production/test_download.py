"""GET of uploads that lie in a bucket: served with ranges and conditions, or by a link."""

from __future__ import annotations

import asyncio
import http.client
import urllib.request

import pytest

from tests.production.fixtures import MakeNode
from tests.support.client import Answer, TusUpload, make_bytes, request, sha256
from tests.support.process import MEBIBYTE
from tests.support.s3 import client
from tests.support.strict_s3 import CutAnswer
from tests.support.strict_s3.remote import StrictProcess
from trial.gateways import Gateway

PART_BYTES = 5 * MEBIBYTE
CONTENT = make_bytes(11 * MEBIBYTE + 11, seed=9)
SMALL = CONTENT[:1000]


@pytest.fixture
def gateway(rclone: Gateway) -> Gateway:
    """One is enough."""
    return rclone


def get(upload: TusUpload, **fields: str) -> Answer:
    return request("GET", upload.url, {name.replace("_", "-"): value for name, value in fields.items()}, tus=False)


def test_ranges_and_conditions(make_node: MakeNode, strict_process: StrictProcess) -> None:
    """Over the seam of two parts, to the end, past it; several ranges get the whole, as RFC 9110 lets us."""
    node = make_node(s3_part_bytes=PART_BYTES).start()
    upload = TusUpload.create(node.url, len(CONTENT), body=CONTENT, name="søkn.bin")
    for wanted, start, stop in (
        (f"bytes={PART_BYTES - 3}-{PART_BYTES + 2}", PART_BYTES - 3, PART_BYTES + 3),
        ("bytes=0-0", 0, 1),
        ("bytes=-7", len(CONTENT) - 7, len(CONTENT)),
        (f"bytes={len(CONTENT) - 9}-", len(CONTENT) - 9, len(CONTENT)),
    ):
        answer = get(upload, Range=wanted)
        assert (answer.status, answer.body == CONTENT[start:stop]) == (206, True)
        assert answer.fields["content-range"] == f"bytes {start}-{stop - 1}/{len(CONTENT)}"
    assert get(upload, Range=f"bytes={len(CONTENT)}-").status == 416
    several = get(upload, Range="bytes=0-1,5-6")
    assert (several.status, sha256(several.body)) == (200, sha256(CONTENT))
    assert "s%C3%B8kn.bin" in several.fields["content-disposition"]

    calls = strict_process.calls
    same = get(upload, If_None_Match=several.fields["etag"])
    assert (same.status, same.body) == (304, b"")
    assert request("HEAD", upload.url, tus=False).fields["content-length"] == str(len(CONTENT))
    assert strict_process.calls == calls


def test_a_cut_answer_of_the_store_is_taken_up_where_it_ended(
    make_node: MakeNode, strict_process: StrictProcess
) -> None:
    """S06: the client sees nothing of it."""
    node = make_node(s3_part_bytes=PART_BYTES).start()
    upload = TusUpload.create(node.url, len(CONTENT), body=CONTENT)
    cut = strict_process.fail("GetObject", with_=CutAnswer(after_bytes=3 * MEBIBYTE))
    assert sha256(upload.download()) == sha256(CONTENT)
    assert cut.hits == 1


def test_an_object_that_was_changed_is_not_passed_off_as_the_upload(
    make_node: MakeNode, strict_process: StrictProcess
) -> None:
    """S14 (I2): somebody has put other bytes on the key; the recorded ETag is asked for with every GET."""
    node = make_node().start()
    upload = TusUpload.create(node.url, len(SMALL), body=SMALL)
    [key] = {row.key for row in strict_process.log if row.operation == "PutObject" and upload.id in row.key}
    replace(strict_process, key, SMALL[::-1])
    with pytest.raises((http.client.HTTPException, AssertionError)):
        upload.download()


def replace(strict: StrictProcess, key: str, body: bytes) -> None:
    """As another program would."""

    async def put() -> None:
        async with client(strict.bucket) as s3:
            await s3.put_object(Bucket=strict.bucket.name, Key=key, Body=body)

    asyncio.run(put())


@pytest.mark.parametrize("content", [SMALL, CONTENT], ids=["one-part", "parts"])
def test_a_link_leads_to_the_bytes(make_node: MakeNode, strict_process: StrictProcess, content: bytes) -> None:
    """A plain client follows it; the store says the name and type that we would; no byte passes through us."""
    node = make_node(download="redirect", s3_part_bytes=PART_BYTES).start()
    upload = TusUpload.create(node.url, len(content), body=content, name="søkn 1.pdf")
    answer = get(upload)
    assert (answer.status, answer.body) == (302, b"")
    assert answer.fields["location"].startswith(strict_process.bucket.endpoint_url)
    assert answer.fields["cache-control"] in {"no-store", "private, no-store", "private, no-cache"}
    with urllib.request.urlopen(answer.fields["location"], timeout=30) as response:
        assert sha256(response.read()) == sha256(content)
        assert response.headers["Content-Type"] == request("HEAD", upload.url, tus=False).fields["content-type"]
        assert "s%C3%B8kn%201.pdf" in response.headers["Content-Disposition"]
    part = urllib.request.Request(answer.fields["location"], headers={"Range": "bytes=5-9"})
    with urllib.request.urlopen(part, timeout=30) as response:
        assert (response.status, response.read()) == (206, content[5:10])
    unfinished = TusUpload.create(node.url, 10)
    assert get(unfinished).status == 409

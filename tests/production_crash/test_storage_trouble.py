"""The bucket fails, through the whole server: no byte that counts is lost, HEAD never says 5xx; then all goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import pytest

from tests.production_crash.production import PART_BYTES, Node, Production
from tests.support.client import OpenPatch, TusUpload, make_bytes, request, sha256
from tests.support.process import MEBIBYTE, wait_for
from tests.support.strict_s3 import CutBody, ErrorInOk, Fault, FlipIn, LoseAnswer, Stall, Status

LENGTH: Final = 12 * MEBIBYTE
SMALL_LENGTH: Final = MEBIBYTE
CONTENT: Final = make_bytes(LENGTH, seed=5)
SLOW_DOWN: Final = Status(503, "SlowDown")


@pytest.fixture(scope="module")
def node_settings() -> dict[str, object]:
    return {"commit_interval_seconds": 0.05, "storage_seconds": 4, "finish_wait_seconds": 2}


@contextmanager
def head_never_fails(*uploads: TusUpload) -> Iterator[set[int]]:
    """Asked all the time, on each of the ways to it; gives the statuses."""
    statuses: set[int] = set()
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.05):
            for upload in uploads:
                answer = request("HEAD", upload.url)
                statuses.add(answer.status)
                if answer.status == 200:
                    upload.acknowledge(int(answer.fields["upload-offset"]))

    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(ask)
        try:
            yield statuses
        finally:
            ended.set()
            asking.result()
    assert statuses <= {200, 423}, statuses


def goes_on(pair: Production, upload: TusUpload, content: bytes) -> None:
    """The client resumes, as soon as HEAD says where; 423 and 503 tell it to come again (I12)."""

    def tried() -> bool:
        answer = request("HEAD", upload.url)
        assert answer.status in (200, 423), answer
        if answer.status == 423:
            return False
        offset = upload.acknowledge(int(answer.fields["upload-offset"]))
        if offset == len(content):
            return True
        answer = upload.patch(content[offset:])
        assert answer.status in (204, 423, 503), answer
        return answer.status == 204

    wait_for(tried, "the upload goes on")
    assert sha256(upload.download()) == sha256(content)
    pair.assert_finished_once(upload)


@pytest.mark.parametrize(
    ("operation", "length", "fault"),
    [
        pytest.param("UploadPart", LENGTH, SLOW_DOWN, id="S01-part"),
        pytest.param("UploadPart", LENGTH, Status(500, "InternalError", "after_apply"), id="S01-part-applied"),
        pytest.param("PutObject", SMALL_LENGTH, SLOW_DOWN, id="S01-object"),
        pytest.param("PutObject", SMALL_LENGTH, Status(500, "InternalError", "after_apply"), id="S01-object-applied"),
        pytest.param("CreateMultipartUpload", LENGTH, SLOW_DOWN, id="S01-create"),
        pytest.param("UploadPart", LENGTH, LoseAnswer(), id="S02-part"),
        pytest.param("PutObject", SMALL_LENGTH, LoseAnswer(), id="S02-object"),
        pytest.param("UploadPart", LENGTH, CutBody(MEBIBYTE), id="S03-part"),
        pytest.param("PutObject", SMALL_LENGTH, CutBody(1000), id="S03-object"),
        pytest.param("UploadPart", LENGTH, Stall(), id="S04-part"),
        pytest.param("CompleteMultipartUpload", LENGTH, SLOW_DOWN, id="S01-complete"),
        pytest.param("CompleteMultipartUpload", LENGTH, ErrorInOk(), id="S05"),
        pytest.param("CompleteMultipartUpload", LENGTH, ErrorInOk(applied=True), id="S05-applied"),
        pytest.param("CompleteMultipartUpload", LENGTH, LoseAnswer(), id="S06"),
        pytest.param("UploadPart", LENGTH, FlipIn(1000), id="S14-part"),
        pytest.param("PutObject", SMALL_LENGTH, FlipIn(1000), id="S14-object"),
    ],
)
def test_one_failed_call_is_not_noticed(
    pair: Production, nodes: tuple[Node, Node], operation: str, length: int, fault: Fault
) -> None:
    """I2, I6, I7: the call is made again, or its outcome looked up."""
    content = CONTENT[:length]
    upload = TusUpload.create(nodes[0].url, length)
    key = f"{pair.prefix}{upload.id}"
    planned = pair.strict.fail(operation, with_=fault, key_prefix=key)
    answer = upload.patch(content)
    # A deadline may pass before the last attempt has: then the client is told to come again.
    assert answer.status in ((204, 503, 423) if isinstance(fault, Stall) else (204,)), answer
    assert planned.hits == 1
    goes_on(pair, upload, content)
    pair.assert_nothing_left()


@pytest.mark.parametrize(
    ("operation", "length", "fault", "status"),
    [
        pytest.param("UploadPart", LENGTH, SLOW_DOWN, 503, id="S01-part"),
        pytest.param("PutObject", SMALL_LENGTH, SLOW_DOWN, 503, id="S01-object"),
        pytest.param("UploadPart", LENGTH, Stall(), 503, id="S04-part", marks=pytest.mark.long),
        pytest.param("PutObject", SMALL_LENGTH, Stall(), 503, id="S04-object", marks=pytest.mark.long),
        pytest.param("CompleteMultipartUpload", LENGTH, ErrorInOk(), 423, id="S05", marks=pytest.mark.long),
        pytest.param("CompleteMultipartUpload", LENGTH, SLOW_DOWN, 423, id="S01-complete"),
        pytest.param("UploadPart", LENGTH, FlipIn(1000), 503, id="S14-part", marks=pytest.mark.long),
    ],
)
def test_while_it_fails_nothing_is_lost_and_afterwards_all_goes_on(
    pair: Production, nodes: tuple[Node, Node], operation: str, length: int, fault: Fault, status: int
) -> None:
    """I1, I3, I7, I12: the client is told to come again; HEAD answers all the time, and on both nodes."""
    content = CONTENT[:length]
    upload = TusUpload.create(nodes[0].url, length, body=content[:1000])
    there = pair.on(nodes[1], upload)
    pair.strict.fail(operation, with_=fault, times=None, key_prefix=f"{pair.prefix}{upload.id}")
    with head_never_fails(pair.on(nodes[0], upload), there):
        answer = upload.patch(content[1000:])
        assert answer.status == status, answer
        assert "retry-after" in answer.fields
        assert upload.id not in pair.finished_events()
        assert pair.row(upload)["status"] in ("uploading", "completing")
        pair.strict.heal()
    goes_on(pair, there, content)
    pair.assert_nothing_left()


@pytest.mark.parametrize("when", ["uploading", "completing"])
def test_a_reaped_multipart_fails_loudly(pair: Production, nodes: tuple[Node, Node], when: str) -> None:
    """S10 (I1, I7): what counted is gone; the client is told 410 and begins anew, and so are those who wait for it."""
    upload = TusUpload.create(nodes[0].url, LENGTH)
    assert upload.patch(CONTENT[: 2 * PART_BYTES]).status == 204
    if when == "uploading":
        pair.strict.reap()
        answer = upload.patch(CONTENT[2 * PART_BYTES :])
        if answer.status in (423, 503):
            answer = upload.patch(CONTENT[2 * PART_BYTES :])
    else:
        hold = pair.strict.hold("CompleteMultipartUpload", key_prefix=f"{pair.prefix}{upload.id}")
        with ThreadPoolExecutor() as threads:
            patching = threads.submit(upload.patch, CONTENT[2 * PART_BYTES :])
            hold.reached()
            pair.strict.reap()
            hold.release()
            answer = patching.result()
    assert answer.status == 410, answer
    assert [request("HEAD", pair.on(node, upload).url).status for node in nodes] == [410, 410]
    kinds = pair.sql("SELECT type FROM events WHERE upload_id = $1 ORDER BY number", upload.id)
    assert [row["type"] for row in kinds] == ["upload.created", "upload.failed"]
    pair.assert_nothing_left()


@pytest.mark.parametrize("length", [SMALL_LENGTH, LENGTH])
def test_a_full_bucket(pair: Production, nodes: tuple[Node, Node], length: int) -> None:
    """S18 (I1, I11): 507, the offset stays, readiness is red; with room again it goes on."""
    content = CONTENT[:length]
    upload = TusUpload.create(nodes[0].url, length, body=content[:1000])
    pair.strict.rules(quota_bytes=1)
    try:
        with head_never_fails(pair.on(nodes[0], upload), pair.on(nodes[1], upload)):
            answer = upload.patch(content[1000:])
            assert answer.status == 507, answer
            wait_for(lambda: request("GET", f"{nodes[0].origin}/readyz", tus=False).status == 503, "it is not ready")
            assert upload.head() == 1000
    finally:
        pair.strict.rules(quota_bytes=None)
    wait_for(lambda: request("GET", f"{nodes[0].origin}/readyz", tus=False).status == 200, "it is ready again")
    goes_on(pair, upload, content)


def test_a_part_in_flight_outlives_the_abort(pair: Production, nodes: tuple[Node, Node]) -> None:
    """S08 (I8): it lands when the upload is gone and has been cleaned up after; the second visit finds it."""
    upload = TusUpload.create(nodes[0].url, LENGTH)
    hold = pair.strict.hold("UploadPart", key_prefix=f"{pair.prefix}{upload.id}")
    with OpenPatch(upload, LENGTH) as patch:
        patch.send(CONTENT[: PART_BYTES + 1])
        hold.reached()
        assert pair.on(nodes[1], upload).delete() == 204
    hold.release()
    hold.done()
    pair.assert_nothing_left()

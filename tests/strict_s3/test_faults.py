"""Each fault of the layer does what its name says, and only to the call that it was meant for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.strict_s3.uploading import SMALL, Upload, crc32c, get, refused
from tests.support.s3 import client
from tests.support.strict_s3 import (
    CutAnswer,
    CutBody,
    Delay,
    ErrorInOk,
    FlipIn,
    FlipOut,
    HideParts,
    LoseAnswer,
    RefuseKeys,
    Stall,
    Status,
    StrictS3,
)
from trial.gateways import Gateway, Rclone

if TYPE_CHECKING:
    from pathlib import Path

    from types_aiobotocore_s3 import S3Client


@pytest.fixture
def at(strict_s3: StrictS3) -> dict[str, Any]:
    return {"Bucket": strict_s3.bucket.name, "Key": "key"}


async def test_s01_the_nth_call_and_so_many_after_it_are_answered_503(upload: Upload, strict_s3: StrictS3) -> None:
    planned = strict_s3.fail("UploadPart", nth=2, times=2, with_=Status(503, "SlowDown"))
    await upload.begin()
    await upload.part(1, b"x" * SMALL)
    for _ in range(2):
        assert await refused(upload.part(2, b"y")) == (503, "SlowDown")
    await upload.part(2, b"y")
    await upload.complete()
    assert (planned.seen, planned.hits, strict_s3.calls["UploadPart"]) == (4, 2, 4)
    assert [row.status for row in strict_s3.log if row.operation == "UploadPart"] == [200, 503, 503, 200]


async def test_a_fault_may_be_for_one_key_and_for_ever_until_healed(s3: S3Client, strict_s3: StrictS3) -> None:
    bucket = strict_s3.bucket.name
    strict_s3.fail("PutObject", when=lambda call: call.key == "a", times=None, with_=Status(403, "AccessDenied"))
    await s3.put_object(Bucket=bucket, Key="b", Body=b"")
    for _ in range(2):
        assert await refused(s3.put_object(Bucket=bucket, Key="a", Body=b"x" * SMALL)) == (403, "AccessDenied")
    strict_s3.heal()
    await s3.put_object(Bucket=bucket, Key="a", Body=b"")


@pytest.mark.parametrize("fault", [LoseAnswer(), Status(500, stage="after_apply")], ids=["lost", "500"])
async def test_s02_a_put_is_done_though_its_answer_says_no_such_thing(
    s3: S3Client, strict_s3: StrictS3, at: dict[str, Any], fault: LoseAnswer | Status
) -> None:
    strict_s3.fail("PutObject", with_=fault)
    with pytest.raises((BotoCoreError, ClientError)):
        await s3.put_object(**at, Body=b"body")
    assert await get(s3, at["Bucket"]) == b"body"


async def test_s03_a_body_that_is_cut_changes_nothing(upload: Upload, strict_s3: StrictS3) -> None:
    strict_s3.fail("UploadPart", with_=CutBody(after_bytes=SMALL))
    await upload.begin()
    with pytest.raises(BotoCoreError):
        await upload.part(1, b"x" * 50 * SMALL)
    assert "Parts" not in await upload.s3.list_parts(**upload.at)
    (row,) = [row for row in strict_s3.log if row.operation == "UploadPart"]
    assert (row.status, row.part_number) == (0, 1)
    assert SMALL <= row.bytes_in < 50 * SMALL


@pytest.mark.parametrize("stage", ["before_body", "before_apply"])
async def test_s04_a_stall_lasts_for_ever(strict_s3: StrictS3, at: dict[str, Any], stage: Any) -> None:
    strict_s3.fail("PutObject", with_=Stall(stage))
    async with client(strict_s3.bucket) as s3:
        # A read timeout of the client would not end it: that begins when the whole body has been sent.
        putting = asyncio.ensure_future(s3.put_object(**at, Body=b"body" * SMALL))
        async with asyncio.timeout(20):
            while not strict_s3.under_way:  # noqa: ASYNC110  # no event tells it
                await asyncio.sleep(0.01)
        done, _ = await asyncio.wait([putting], timeout=0.2)
        assert not done
        putting.cancel()
        await asyncio.wait([putting])
    assert strict_s3.log == []
    assert strict_s3.under_way == 1


async def test_s05_an_error_in_an_answer_200(upload: Upload, strict_s3: StrictS3) -> None:
    strict_s3.fail("CompleteMultipartUpload", with_=ErrorInOk())
    strict_s3.fail("CompleteMultipartUpload", nth=2, with_=ErrorInOk(applied=True))
    await upload.begin()
    await upload.part(1, b"body")
    with pytest.raises(ClientError, match="InternalError"):
        await upload.complete()
    assert await refused(upload.s3.head_object(Bucket=strict_s3.bucket.name, Key="key")) == (404, "404")
    with pytest.raises(ClientError, match="InternalError"):
        await upload.complete()
    assert await get(upload.s3, strict_s3.bucket.name) == b"body"


async def test_s06_a_lost_answer_of_complete_and_then_no_such_upload(upload: Upload, strict_s3: StrictS3) -> None:
    strict_s3.fail("CompleteMultipartUpload", with_=LoseAnswer())
    await upload.begin()
    await upload.part(1, b"body")
    with pytest.raises(BotoCoreError):
        await upload.complete()
    assert await refused(upload.complete()) == (404, "NoSuchUpload")
    assert await get(upload.s3, strict_s3.bucket.name) == b"body"


async def test_s07_a_held_put_lands_after_a_later_one_though_its_client_has_gone(
    s3: S3Client, strict_s3: StrictS3, at: dict[str, Any]
) -> None:
    hold = strict_s3.hold("PutObject")
    early = asyncio.create_task(s3.put_object(**at, Body=b"early" * SMALL))
    await hold.reached()
    early.cancel()
    await asyncio.wait([early])
    await s3.put_object(**at, Body=b"late")
    assert await get(s3, at["Bucket"]) == b"late"
    hold.release()
    assert await hold.done() in {0, 200}
    assert await get(s3, at["Bucket"]) == b"early" * SMALL


async def test_a_held_put_is_judged_by_its_conditions_when_it_lands(
    s3: S3Client, strict_s3: StrictS3, at: dict[str, Any]
) -> None:
    hold = strict_s3.hold("PutObject")
    early = asyncio.create_task(s3.put_object(**at, Body=b"early", IfNoneMatch="*"))
    await hold.reached()
    await s3.put_object(**at, Body=b"late", IfNoneMatch="*")
    hold.release()
    assert await refused(early) == (412, "PreconditionFailed")
    assert await get(s3, at["Bucket"]) == b"late"


async def test_s07_a_held_part_takes_the_place_of_a_later_one_or_comes_too_late(
    upload: Upload, strict_s3: StrictS3
) -> None:
    first, second = strict_s3.hold("UploadPart"), strict_s3.hold("UploadPart", nth=2)
    await upload.begin()
    early = asyncio.create_task(upload.part(1, b"early"))
    await first.reached()
    too_late = asyncio.create_task(upload.part(1, b"too late"))
    await second.reached()
    late = await upload.part(1, b"late")
    first.release()
    etag = await early
    assert await refused(upload.complete({"PartNumber": 1, "ETag": late})) == (400, "InvalidPart")
    await upload.complete({"PartNumber": 1, "ETag": etag})
    second.release()
    assert await refused(too_late) == (404, "NoSuchUpload")
    assert await get(upload.s3, strict_s3.bucket.name) == b"early"


async def test_s08_a_part_in_flight_outlives_an_abort_and_needs_another(upload: Upload, strict_s3: StrictS3) -> None:
    hold = strict_s3.hold("UploadPart", nth=2)
    await upload.begin()
    await upload.part(1, b"gone")
    flying = asyncio.create_task(upload.part(2, b"landed"))
    await hold.reached()
    await upload.s3.abort_multipart_upload(**upload.at)
    assert await refused(upload.s3.list_parts(**upload.at)) == (404, "NoSuchUpload")
    hold.release()
    await flying
    (part,) = (await upload.s3.list_parts(**upload.at))["Parts"]
    assert part["PartNumber"] == 2
    assert await refused(upload.complete()) == (404, "NoSuchUpload")
    (listed,) = (await upload.s3.list_multipart_uploads(Bucket=strict_s3.bucket.name))["Uploads"]
    assert listed["UploadId"] == upload.at["UploadId"]
    await upload.s3.abort_multipart_upload(**upload.at)
    assert "Uploads" not in await upload.s3.list_multipart_uploads(Bucket=strict_s3.bucket.name)


async def test_s09_the_newest_part_is_not_listed_yet(upload: Upload, strict_s3: StrictS3) -> None:
    strict_s3.fail("ListParts", with_=HideParts(newest=1))
    await upload.begin()
    for number in (1, 2):
        await upload.part(number, b"x")
    for count in (1, 2):
        assert len((await upload.s3.list_parts(**upload.at))["Parts"]) == count


async def test_s14_a_byte_is_flipped_on_the_way_in(s3: S3Client, strict_s3: StrictS3, at: dict[str, Any]) -> None:
    checked: Any = {**at, "Body": b"body", "ChecksumCRC32C": crc32c(b"body")}
    flipped = b"bo" + bytes([ord("d") ^ 0xFF]) + b"y"
    strict_s3.fail("PutObject", times=2, with_=FlipIn(offset=2))
    assert await refused(s3.put_object(**checked)) == (400, "BadDigest")
    await s3.put_object(**at, Body=b"body")
    assert await get(s3, at["Bucket"]) == flipped
    strict_s3.fail("PutObject", with_=FlipIn(offset=2, checked=True))
    await s3.put_object(**checked)
    assert await get(s3, at["Bucket"]) == flipped


async def test_s14_a_byte_is_flipped_or_the_rest_cut_on_the_way_out(
    s3: S3Client, strict_s3: StrictS3, at: dict[str, Any]
) -> None:
    body = b"body" * SMALL
    await s3.put_object(**at, Body=body)
    strict_s3.fail("GetObject", with_=FlipOut(offset=len(body) - 1))
    assert await get(s3, at["Bucket"]) == body[:-1] + bytes([body[-1] ^ 0xFF])
    strict_s3.fail("GetObject", with_=CutAnswer(after_bytes=5))
    answer = await s3.get_object(**at)
    with pytest.raises(Exception, match=r"(?i)payload|reset|disconnect"):
        await answer["Body"].read()
    answer["Body"].close()
    assert await get(s3, at["Bucket"]) == body


async def test_some_keys_are_not_deleted(s3: S3Client, strict_s3: StrictS3) -> None:
    strict_s3.fail("DeleteObjects", with_=RefuseKeys({"b"}, "InternalError"))
    bucket = strict_s3.bucket.name
    done = await s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in "abc"]})
    assert [row["Key"] for row in done["Deleted"]] == ["a", "c"]
    assert [(row["Key"], row["Code"]) for row in done["Errors"]] == [("b", "InternalError")]


async def test_a_delay_and_a_latency(s3: S3Client, strict_s3: StrictS3, at: dict[str, Any]) -> None:
    strict_s3.fail("PutObject", with_=Delay(0.05))
    strict_s3.rules.latency_seconds = 0.05
    before = asyncio.get_running_loop().time()
    await s3.put_object(**at, Body=b"")
    assert asyncio.get_running_loop().time() - before >= 0.1
    await strict_s3.called("PutObject")


async def test_multiparts_survive_the_kill_of_the_gateway(tmp_path: Path) -> None:
    gateway: Gateway = Rclone(tmp_path)
    try:
        async with StrictS3(gateway.start().make_bucket("kept")) as strict, client(strict.bucket) as s3:
            upload = await Upload(s3, "kept").begin()
            await upload.part(1, b"body")
            gateway.kill()
            assert await refused(upload.complete()) == (503, "ServiceUnavailable")
            gateway.start()
            await upload.complete()
            assert await get(s3, "kept") == b"body"
    finally:
        gateway.stop()

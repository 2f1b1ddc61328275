"""The layer as a process, told what to do from outside."""

from __future__ import annotations

import asyncio

import pytest

from tests.strict_s3.uploading import SMALL, Upload, get, refused
from tests.support.s3 import client
from tests.support.servers import ON_RCLONE
from tests.support.strict_s3 import FlipOut, HideParts, LoseAnswer, RefuseKeys, Status
from tests.support.strict_s3.remote import StrictProcess

pytestmark = ON_RCLONE


async def test_faults_holds_rules_and_the_log(strict_process: StrictProcess) -> None:
    strict = strict_process
    bucket = strict.bucket.name
    strict.rules(minimum_part_bytes=SMALL, page_items=2)
    planned = strict.fail("PutObject", key_prefix="tmp/", with_=Status(503, "SlowDown"))
    async with client(strict.bucket) as s3:
        await s3.put_object(Bucket=bucket, Key="key", Body=b"1")
        assert await refused(s3.put_object(Bucket=bucket, Key="tmp/a", Body=b"1")) == (503, "SlowDown")
        assert planned.hits == 1
        hold = strict.hold("PutObject")
        early = asyncio.create_task(s3.put_object(Bucket=bucket, Key="key", Body=b"early"))
        await asyncio.to_thread(hold.reached)
        await s3.put_object(Bucket=bucket, Key="key", Body=b"late")
        hold.release()
        assert await asyncio.to_thread(hold.done) == 200
        await early
        assert await get(s3, bucket) == b"early"
        strict.called("PutObject", 4)
        upload = await Upload(s3, bucket).begin()
        strict.reap()
        assert await refused(upload.part(1, b"x")) == (404, "NoSuchUpload")
    assert strict.calls["PutObject"] == 4
    assert [row.status for row in strict.log if row.operation == "PutObject"] == [200, 503, 200, 200]
    for fault in (HideParts(), LoseAnswer(), FlipOut(3), RefuseKeys({"a"})):
        strict.fail(with_=fault)
    strict.heal()
    with pytest.raises(AssertionError, match="no rule"):
        strict.rules(minimum=1)

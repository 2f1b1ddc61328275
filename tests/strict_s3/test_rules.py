"""The layer refuses what AWS refuses, on both gateways."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.strict_s3.uploading import SMALL, Upload, crc32c, get, md5, refused, sha256
from tests.support.s3 import client
from tests.support.strict_s3 import StrictS3

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


async def test_an_object_comes_back_with_all_that_it_was_put_with(s3: S3Client, strict_s3: StrictS3) -> None:
    body = b"a body" * 1000
    at: dict[str, Any] = {"Bucket": strict_s3.bucket.name, "Key": "tmp/ü b+c%/d"}
    checksum = crc32c(body)
    put = await s3.put_object(
        **at, Body=body, Metadata={"upload-id": "1"}, ContentType="text/x", ChecksumCRC32C=checksum
    )
    head = await s3.head_object(**at, ChecksumMode="ENABLED")
    assert head["Metadata"] == {"upload-id": "1"}
    assert (head["ContentType"], head["ContentLength"], head["ETag"]) == ("text/x", len(body), put["ETag"])
    assert head["ChecksumCRC32C"] == checksum
    assert await get(s3, bucket=at["Bucket"], key=at["Key"]) == body
    ranged = await s3.get_object(**at, Range="bytes=3-8")
    assert (ranged["ContentRange"], await ranged["Body"].read()) == (f"bytes 3-8/{len(body)}", body[3:9])
    assert strict_s3.calls == {"PutObject": 1, "HeadObject": 1, "GetObject": 2}
    assert [(row.operation, row.bytes_in, row.status) for row in strict_s3.log[:2]] == [
        ("PutObject", len(body), 200),
        ("HeadObject", 0, 200),
    ]
    await s3.delete_object(**at)
    assert await refused(s3.head_object(**at)) == (404, "404")
    await s3.delete_object(**at)


async def test_s21_an_empty_object(s3: S3Client, strict_s3: StrictS3) -> None:
    await s3.put_object(Bucket=strict_s3.bucket.name, Key="key", Body=b"")
    assert await get(s3, strict_s3.bucket.name) == b""


async def test_s14_wrong_digests_are_refused(s3: S3Client, strict_s3: StrictS3) -> None:
    at: Any = {"Bucket": strict_s3.bucket.name, "Key": "key", "Body": b"body"}
    assert await refused(s3.put_object(**at, ChecksumCRC32C=crc32c(b"other"))) == (400, "BadDigest")
    assert await refused(s3.put_object(**at, ContentMD5=md5(b"other"))) == (400, "BadDigest")
    assert await refused(s3.put_object(**at, ContentMD5="bm9uZQ==")) == (400, "InvalidDigest")
    assert await refused(s3.head_object(Bucket=at["Bucket"], Key="key")) == (404, "404")
    strict_s3.rules.keeps_checksums = False
    await s3.put_object(**at, ChecksumCRC32C=crc32c(b"other"))


async def test_trailers_of_sdks_are_opened_and_checked_or_refused_s16(strict_s3: StrictS3) -> None:
    at: Any = {"Bucket": strict_s3.bucket.name, "Key": "key"}
    async with client(strict_s3.bucket, checksums="when_supported") as s3:
        await s3.put_object(**at, Body=b"body" * 50_000, ChecksumAlgorithm="SHA256")
        head = await s3.head_object(**at, ChecksumMode="ENABLED")
        assert (head["ContentLength"], head["ChecksumSHA256"]) == (200_000, sha256(b"body" * 50_000))
        strict_s3.rules.refuses_sdk_checksums = True
        assert await refused(s3.put_object(**at, Body=b"body")) == (501, "NotImplemented")
        strict_s3.rules.refuses_checksums = True
        assert await refused(s3.put_object(**at, Body=b"body", ChecksumCRC32C="AAAAAA==")) == (501, "NotImplemented")


async def test_strangers_are_refused(s3: S3Client, strict_s3: StrictS3) -> None:
    for change, code in (
        ({"access_key_id": "x"}, "InvalidAccessKeyId"),
        ({"secret_access_key": "x"}, "SignatureDoesNotMatch"),
    ):
        async with client(dataclasses.replace(strict_s3.bucket, **change)) as stranger:
            call = stranger.put_object(Bucket=strict_s3.bucket.name, Key="key", Body=b"")
            assert await refused(call) == (403, code)
    url = await s3.generate_presigned_url("get_object", Params={"Bucket": strict_s3.bucket.name, "Key": "a b"})
    await s3.put_object(Bucket=strict_s3.bucket.name, Key="a b", Body=b"body")
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert (answer.status, await answer.read()) == (200, b"body")


async def test_s19_conditions_of_writes(s3: S3Client, strict_s3: StrictS3, upload: Upload) -> None:
    at: Any = {"Bucket": strict_s3.bucket.name, "Key": "key"}
    assert await refused(s3.put_object(**at, Body=b"0", IfMatch='"x"')) == (404, "NoSuchKey")
    first = await s3.put_object(**at, Body=b"1", IfNoneMatch="*")
    assert await refused(s3.put_object(**at, Body=b"2", IfNoneMatch="*")) == (412, "PreconditionFailed")
    assert await refused(s3.put_object(**at, Body=b"2", IfMatch='"x"')) == (412, "PreconditionFailed")
    assert await get(s3, at["Bucket"]) == b"1"
    await s3.put_object(**at, Body=b"2", IfMatch=first["ETag"])
    assert await get(s3, at["Bucket"]) == b"2"
    await upload.begin()
    await upload.part(1, b"3")
    assert await refused(upload.complete(IfNoneMatch="*")) == (412, "PreconditionFailed")
    strict_s3.rules.ignores_conditions = True
    await upload.complete(IfNoneMatch="*")
    assert await get(s3, at["Bucket"]) == b"3"


async def test_a_multipart_becomes_one_object(s3: S3Client, strict_s3: StrictS3, upload: Upload) -> None:
    await upload.begin(Metadata={"upload-id": "7"}, ContentType="text/x")
    bodies = [bytes([number]) * SMALL for number in range(3)]
    for number in (3, 1, 2):
        await upload.part(number, bodies[number - 1])
    done = await upload.complete()
    assert done["ETag"].endswith('-3"')
    head = await s3.head_object(Bucket=strict_s3.bucket.name, Key="key")
    assert (head["Metadata"], head["ETag"], head["ContentLength"]) == ({"upload-id": "7"}, done["ETag"], 3 * SMALL)
    assert await get(s3, strict_s3.bucket.name) == b"".join(bodies)
    (row,) = (await s3.list_objects_v2(Bucket=strict_s3.bucket.name))["Contents"]
    assert (row["ETag"], row["Size"]) == (done["ETag"], 3 * SMALL)
    for call in (upload.complete(), upload.part(1, b""), s3.list_parts(**upload.at)):
        assert await refused(call) == (404, "NoSuchUpload")
    assert await refused(s3.abort_multipart_upload(**upload.at)) == (404, "NoSuchUpload")


async def test_s22_a_part_is_replaced_and_an_older_etag_refused(upload: Upload, strict_s3: StrictS3) -> None:
    await upload.begin()
    old = await upload.part(1, b"old")
    await upload.part(1, b"new!")
    assert await refused(upload.complete({"PartNumber": 1, "ETag": old})) == (400, "InvalidPart")
    assert await refused(upload.complete({"PartNumber": 2, "ETag": old})) == (400, "InvalidPart")
    (part,) = (await upload.s3.list_parts(**upload.at))["Parts"]
    assert part["Size"] == 4
    strict_s3.rules.ignores_part_etags = True
    await upload.complete({"PartNumber": 1, "ETag": old})
    assert await get(upload.s3, strict_s3.bucket.name) == b"new!"


async def test_parts_have_a_least_size_an_order_and_a_range_of_numbers_s12(upload: Upload, strict_s3: StrictS3) -> None:
    await upload.begin()
    for number in (0, 10_001):
        assert await refused(upload.part(number, b"")) == (400, "InvalidArgument")
    first, second = await upload.part(1, b"x" * (SMALL - 1)), await upload.part(2, b"x")
    assert await refused(upload.complete()) == (400, "EntityTooSmall")
    rows = [{"PartNumber": 2, "ETag": second}, {"PartNumber": 1, "ETag": first}]
    assert await refused(upload.complete(*rows)) == (400, "InvalidPartOrder")
    assert await refused(upload.s3.complete_multipart_upload(**upload.at)) == (400, "MalformedXML")
    await upload.part(1, b"x" * SMALL)
    await upload.complete()


async def test_s11_parts_of_one_size(upload: Upload, strict_s3: StrictS3) -> None:
    strict_s3.rules.equal_parts = True
    await upload.begin()
    for number, count in ((1, SMALL), (2, SMALL + 1), (3, 1)):
        await upload.part(number, b"x" * count)
    assert await refused(upload.complete()) == (400, "InvalidPart")
    await upload.part(2, b"x" * SMALL)
    await upload.part(3, b"x" * (SMALL + 1))
    assert await refused(upload.complete()) == (400, "InvalidPart")
    await upload.part(3, b"x")
    await upload.complete()


async def test_checksums_of_parts(upload: Upload, strict_s3: StrictS3) -> None:
    await upload.begin()
    assert await refused(upload.part(1, b"x", ChecksumCRC32C=crc32c(b"x"))) == (400, "InvalidRequest")
    await upload.begin(ChecksumAlgorithm="CRC32C")
    one, two = b"1" * SMALL, b"2"
    assert await refused(upload.part(1, one)) == (400, "InvalidRequest")
    assert await refused(upload.part(1, one, ChecksumCRC32C=crc32c(two))) == (400, "BadDigest")
    await upload.part(1, one, ChecksumCRC32C=crc32c(one))
    await upload.part(2, two, ChecksumCRC32C=crc32c(two))
    listed = (await upload.s3.list_parts(**upload.at))["Parts"]
    assert [part["ChecksumCRC32C"] for part in listed] == [crc32c(one), crc32c(two)]
    assert await refused(upload.complete()) == (400, "InvalidRequest")

    def rows(second: bytes) -> list[dict[str, Any]]:
        given = {1: one, 2: second}
        return [
            {"PartNumber": number, "ETag": etag, "ChecksumCRC32C": crc32c(given[number])}
            for number, etag in upload.etags.items()
        ]

    assert await refused(upload.complete(*rows(one))) == (400, "InvalidPart")
    done = await upload.complete(*rows(two))
    assert done["ChecksumCRC32C"].endswith("-2")


async def test_the_checksum_of_a_full_object(upload: Upload, strict_s3: StrictS3) -> None:
    await upload.begin(ChecksumAlgorithm="CRC32C", ChecksumType="FULL_OBJECT")
    one, two = b"1" * SMALL, b"2"
    await upload.part(1, one)
    await upload.part(2, two, ChecksumCRC32C=crc32c(two))
    assert await refused(upload.complete(ChecksumCRC32C=crc32c(one))) == (400, "InvalidRequest")
    done = await upload.complete(ChecksumCRC32C=crc32c(one + two), ChecksumType="FULL_OBJECT")
    assert done["ChecksumCRC32C"] == crc32c(one + two)
    head = await upload.s3.head_object(Bucket=strict_s3.bucket.name, Key="key", ChecksumMode="ENABLED")
    assert (head["ChecksumCRC32C"], head["ChecksumType"]) == (crc32c(one + two), "FULL_OBJECT")


async def test_parts_are_copied_whole_and_by_range(upload: Upload, strict_s3: StrictS3) -> None:
    bucket = strict_s3.bucket.name
    body = bytes(range(256)) * 1024
    await upload.s3.put_object(Bucket=bucket, Key="tmp/a b", Body=body)
    await upload.begin()

    async def copy(number: int, **more: Any) -> None:
        made = await upload.s3.upload_part_copy(
            **upload.at,
            PartNumber=number,
            CopySource={"Bucket": bucket, "Key": more.pop("key", "tmp/a b")},
            **more,
        )
        upload.etags[number] = made["CopyPartResult"]["ETag"]

    assert await refused(copy(1, key="none")) == (404, "NoSuchKey")
    assert await refused(copy(1, CopySourceRange="bytes=0-99")) == (400, "InvalidRequest")
    strict_s3.rules.minimum_ranged_source_bytes = SMALL
    assert await refused(copy(1, CopySourceRange=f"bytes=0-{len(body)}")) == (400, "InvalidArgument")
    assert await refused(copy(1, CopySourceRange="bytes=5-")) == (400, "InvalidArgument")
    await copy(1)
    await copy(2, CopySourceRange="bytes=10-19")
    await upload.complete()
    assert await get(upload.s3, bucket) == body + body[10:20]
    assert strict_s3.calls["UploadPartCopy"] == 6


async def test_lists_come_in_pages(upload: Upload, strict_s3: StrictS3) -> None:
    strict_s3.rules.page_items = 2
    bucket, s3 = strict_s3.bucket.name, upload.s3
    keys = ["a", "b/1", "b/2", "c d", "e"]
    for key in keys:
        await s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        await Upload(s3, bucket, key).begin()
    pages = [page async for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)]
    assert [[row["Key"] for row in page["Contents"]] for page in pages] == [["a", "b/1"], ["b/2", "c d"], ["e"]]
    (page,) = [page async for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="b/")]
    assert [row["Key"] for row in page["Contents"]] == ["b/1", "b/2"]
    folders = [page async for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Delimiter="/")]
    assert [prefix["Prefix"] for page in folders for prefix in page.get("CommonPrefixes", [])] == ["b/"]
    assert [row["Key"] for page in folders for row in page.get("Contents", [])] == ["a", "c d", "e"]
    uploads = [page async for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)]
    assert [[row["Key"] for row in page["Uploads"]] for page in uploads] == [["a", "b/1"], ["b/2", "c d"], ["e"]]
    await upload.begin()
    for number in (1, 4, 9):
        await upload.part(number, b"x")
    parts = [page async for page in s3.get_paginator("list_parts").paginate(**upload.at)]
    assert [[row["PartNumber"] for row in page["Parts"]] for page in parts] == [[1, 4], [9]]


async def test_many_are_deleted_but_no_more_than_a_page(s3: S3Client, strict_s3: StrictS3) -> None:
    strict_s3.rules.page_items = 2
    bucket = strict_s3.bucket.name
    for key in "abc":
        await s3.put_object(Bucket=bucket, Key=key, Body=b"x")

    def delete(*keys: str) -> Any:
        return s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})

    assert await refused(delete("a", "b", "c")) == (400, "MalformedXML")
    gone = await delete("a", "not there")
    assert [row["Key"] for row in gone["Deleted"]] == ["a", "not there"]
    assert [row["Key"] for row in (await s3.list_objects_v2(Bucket=bucket))["Contents"]] == ["b", "c"]


async def test_s18_a_quota(upload: Upload, strict_s3: StrictS3) -> None:
    strict_s3.rules.quota_bytes = 10
    at: Any = {"Bucket": strict_s3.bucket.name, "Key": "x"}
    await upload.s3.put_object(**at, Body=b"12345")
    await upload.begin()
    await upload.part(1, b"12345")
    assert await refused(upload.part(2, b"6")) == (507, "QuotaExceeded")
    strict_s3.rules.quota_status = 403
    assert await refused(upload.s3.put_object(**at, Body=b"6")) == (403, "QuotaExceeded")


async def test_s10_idle_multiparts_are_reaped(upload: Upload, strict_s3: StrictS3) -> None:
    await upload.begin()
    strict_s3.multiparts.reap()
    assert await refused(upload.part(1, b"x")) == (404, "NoSuchUpload")
    await upload.begin()
    strict_s3.rules.multipart_idle_seconds = 0
    assert await refused(upload.part(1, b"x")) == (404, "NoSuchUpload")


async def test_the_lifecycle_of_a_bucket_is_told(s3: S3Client, strict_s3: StrictS3) -> None:
    bucket = strict_s3.bucket.name
    call = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert await refused(call) == (404, "NoSuchLifecycleConfiguration")
    strict_s3.expire_multiparts_after(days=7)
    (rule,) = (await s3.get_bucket_lifecycle_configuration(Bucket=bucket))["Rules"]
    assert json.dumps(rule["AbortIncompleteMultipartUpload"]) == '{"DaysAfterInitiation": 7}'


async def test_no_such_bucket(s3: S3Client, strict_s3: StrictS3) -> None:
    assert await refused(s3.create_multipart_upload(Bucket="nowhere", Key="x")) == (404, "NoSuchBucket")
    assert await refused(s3.put_object(Bucket="nowhere", Key="x", Body=b"")) == (404, "NoSuchBucket")
    assert await refused(s3.head_bucket(Bucket="nowhere")) == (404, "404")
    await s3.head_bucket(Bucket=strict_s3.bucket.name)

"""What tests of the layer do with a plain client."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import google_crc32c
import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

SMALL = 64 << 10
"""Bytes of a part, by the rules of these tests."""


def crc32c(body: bytes) -> str:
    return base64.b64encode(google_crc32c.value(body).to_bytes(4, "big")).decode()


def sha256(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body).digest()).decode()


async def refused(call: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        await call
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


class Upload:
    """One multipart upload."""

    def __init__(self, s3: S3Client, bucket: str, key: str = "key") -> None:
        self.s3 = s3
        self.at: dict[str, Any] = {"Bucket": bucket, "Key": key}
        self.etags: dict[int, str] = {}

    async def begin(self, **more: Any) -> Upload:
        self.at.pop("UploadId", None)
        made = await self.s3.create_multipart_upload(**self.at, **more)
        self.at["UploadId"] = made["UploadId"]
        return self

    async def part(self, number: int, body: bytes, **more: Any) -> str:
        made = await self.s3.upload_part(**self.at, PartNumber=number, Body=body, **more)
        self.etags[number] = made["ETag"]
        return made["ETag"]

    async def complete(self, *parts: dict[str, Any], **more: Any) -> Any:
        listed: Any = list(parts) or [
            {"PartNumber": number, "ETag": etag} for number, etag in sorted(self.etags.items())
        ]
        return await self.s3.complete_multipart_upload(**self.at, MultipartUpload={"Parts": listed}, **more)


async def get(s3: S3Client, bucket: str, key: str = "key") -> bytes:
    return await (await s3.get_object(Bucket=bucket, Key=key))["Body"].read()

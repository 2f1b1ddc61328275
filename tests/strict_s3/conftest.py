"""A plain client of the layer, and one multipart upload of its."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from tests.strict_s3.uploading import SMALL, Upload
from tests.support.s3 import client
from tests.support.strict_s3 import StrictS3

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


@pytest.fixture
async def s3(strict_s3: StrictS3) -> AsyncIterator[S3Client]:
    strict_s3.rules.minimum_part_bytes = SMALL
    async with client(strict_s3.bucket) as made:
        yield made


@pytest.fixture
def upload(s3: S3Client, strict_s3: StrictS3) -> Upload:
    return Upload(s3, strict_s3.bucket.name)

"""Listings, always to their last page (fault S09), and the bucket's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuspy_server.stores.s3.crc import crc32c_in
from tuspy_server.stores.s3.driving import Driven
from tuspy_server.stores.s3.errors import S3Error
from tuspy_server.stores.s3.values import Lifecycle, ListedPart


class Lister:
    """What is in a bucket."""

    def __init__(self, driven: Driven) -> None:
        self._driven = driven
        self._driver = driven.driver

    async def parts(self, key: str, multipart_id: str) -> Sequence[ListedPart]:
        """See `Bucket.list_parts`."""
        found: list[ListedPart] = []
        marker: dict[str, Any] = {}
        while True:
            wanted = {"Bucket": self._driven.bucket, "Key": key, "UploadId": multipart_id, **marker}
            page = await self._driven.call("ListParts", lambda: self._driver.list_parts(**wanted))  # noqa: B023
            found.extend(
                ListedPart(
                    part_number=part["PartNumber"],
                    etag=part["ETag"].strip('"'),
                    size_bytes=part["Size"],
                    crc32c=crc32c_in(part.get("ChecksumCRC32C")),
                )
                for part in page.get("Parts", [])
            )
            if not page.get("IsTruncated"):
                return found
            marker = _moved("ListParts", marker, {"PartNumberMarker": page.get("NextPartNumberMarker")})

    async def multiparts(self, prefix: str) -> Sequence[tuple[str, str]]:
        """See `Bucket.list_multiparts`."""
        found: list[tuple[str, str]] = []
        marker: dict[str, Any] = {}
        while True:
            wanted = {"Bucket": self._driven.bucket, "Prefix": prefix, **marker}
            page = await self._driven.call(
                "ListMultipartUploads",
                lambda: self._driver.list_multipart_uploads(**wanted),  # noqa: B023
            )
            # A store that knows no prefix here lists them all.
            found.extend(
                (one["Key"], one["UploadId"]) for one in page.get("Uploads", []) if one["Key"].startswith(prefix)
            )
            if not page.get("IsTruncated"):
                return found
            marker = _moved(
                "ListMultipartUploads",
                marker,
                {"KeyMarker": page.get("NextKeyMarker"), "UploadIdMarker": page.get("NextUploadIdMarker")},
            )

    async def objects(self, prefix: str) -> Sequence[str]:
        """See `Bucket.list_objects`."""
        found: list[str] = []
        marker: dict[str, Any] = {}
        while True:
            wanted = {"Bucket": self._driven.bucket, "Prefix": prefix, **marker}
            page = await self._driven.call("ListObjectsV2", lambda: self._driver.list_objects_v2(**wanted))  # noqa: B023
            found.extend(one["Key"] for one in page.get("Contents", []))
            if not page.get("IsTruncated"):
                return found
            marker = _moved("ListObjectsV2", marker, {"ContinuationToken": page.get("NextContinuationToken")})

    async def lifecycle(self) -> Lifecycle | None:
        """See `Bucket.lifecycle`."""
        try:
            answer = await self._driven.call(
                "GetBucketLifecycleConfiguration",
                lambda: self._driver.get_bucket_lifecycle_configuration(Bucket=self._driven.bucket),
            )
        except S3Error as error:
            return Lifecycle(abort_days=None) if error.code == "NoSuchLifecycleConfiguration" else None
        # A rule for some prefix may be meant for ours: the shortest counts.
        days = [
            rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
            for rule in answer.get("Rules", [])
            if rule.get("Status") == "Enabled"
        ]
        return Lifecycle(abort_days=min((day for day in days if day is not None), default=None))


def _moved(operation: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The marker of the next page; a store that gives none, or the same again, would be asked for ever."""
    marker = {name: value for name, value in after.items() if value not in {None, ""}}
    if not marker or marker == before:
        raise S3Error(operation, "BadAnswer", 200)
    return marker

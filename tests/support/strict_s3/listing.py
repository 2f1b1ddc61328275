"""ListObjectsV2, page by page, and what is said of buckets."""

from __future__ import annotations

import base64
from typing import Final
from urllib.parse import quote

from tests.support.strict_s3.answers import Answer, of_xml
from tests.support.strict_s3.errors import S3Error, invalid_argument
from tests.support.strict_s3.objects import Objects
from tests.support.strict_s3.received import Received
from tests.support.strict_s3.rules import Rules
from tests.support.strict_s3.upstream import Listed, Upstream

NO_LIFECYCLE: Final = S3Error(404, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")


class Listing:
    """Operations on a bucket."""

    def __init__(self, upstream: Upstream, objects: Objects, rules: Rules) -> None:
        self._upstream = upstream
        self._objects = objects
        self._rules = rules
        self.lifecycles: dict[str, bytes] = {}
        """By bucket, as XML."""

    async def must_have(self, bucket: str) -> None:
        """Raises:
        S3Error: 404 NoSuchBucket.
        """
        if await self._upstream.head(bucket) is None:
            raise S3Error(404, "NoSuchBucket", "The specified bucket does not exist")

    async def head_bucket(self, received: Received) -> Answer:
        await self.must_have(received.call.bucket)
        return Answer(headers={"x-amz-bucket-region": "us-east-1"})

    async def create_bucket(self, received: Received) -> Answer:
        if await self._upstream.head(received.call.bucket) is not None:
            raise S3Error(409, "BucketAlreadyOwnedByYou")
        async with await self._upstream.open("PUT", received.call.bucket) as response:
            return Answer(status=response.status, headers={"location": f"/{received.call.bucket}"})

    async def location(self, received: Received) -> Answer:
        await self.must_have(received.call.bucket)
        return of_xml("LocationConstraint", [])

    async def versioning(self, received: Received) -> Answer:
        await self.must_have(received.call.bucket)
        return of_xml("VersioningConfiguration", [])

    async def lifecycle(self, received: Received) -> Answer:
        await self.must_have(received.call.bucket)
        if received.call.bucket not in self.lifecycles:
            raise NO_LIFECYCLE
        return Answer(headers={"content-type": "application/xml"}, body=self.lifecycles[received.call.bucket])

    async def put_lifecycle(self, received: Received) -> Answer:
        await self.must_have(received.call.bucket)
        received.xml()
        self.lifecycles[received.call.bucket] = received.body
        return Answer()

    async def delete_lifecycle(self, received: Received) -> Answer:
        self.lifecycles.pop(received.call.bucket, None)
        return Answer(status=204)

    async def objects_v2(self, received: Received) -> Answer:
        call, query = received.call, received.call.query
        await self.must_have(call.bucket)
        most = received.limit("max-keys", self._rules.page_items)
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = _after(query.get("continuation-token"), query.get("start-after", ""))
        listed = await self._upstream.list(call.bucket, prefix)
        rows, last, truncated = _page(listed, prefix, delimiter, after, most)
        encoded = query.get("encoding-type") == "url"
        items: list[tuple[str, object]] = []
        for row in rows:
            if isinstance(row, str):
                items.append(("CommonPrefixes", [("Prefix", _encoded(row, encoded))]))
            else:
                etag = await self._etag(call.bucket, row)
                items.append(("Contents", _contents(row, _encoded(row.key, encoded), etag)))
        return of_xml(
            "ListBucketResult",
            [
                ("Name", call.bucket),
                ("Prefix", _encoded(prefix, encoded)),
                ("Delimiter", _encoded(delimiter, encoded) or None),
                ("MaxKeys", most),
                ("EncodingType", "url" if encoded else None),
                ("KeyCount", len(rows)),
                ("IsTruncated", truncated),
                ("NextContinuationToken", base64.urlsafe_b64encode(last.encode()).decode() if truncated else None),
                *items,
            ],
        )

    async def _etag(self, bucket: str, row: Listed) -> str:
        known = self._objects.known(bucket, row.key)
        return row.etag if known is None else known.etag


def _after(token: str | None, start_after: str) -> str:
    if token is None:
        return start_after
    try:
        return base64.urlsafe_b64decode(token).decode()
    except ValueError:
        raise invalid_argument("The continuation token provided is incorrect") from None


def _page(
    listed: list[Listed], prefix: str, delimiter: str, after: str, most: int
) -> tuple[list[Listed | str], str, bool]:
    """Rows (strings are common prefixes), the last one's name, and whether there are more."""
    rows: list[Listed | str] = []
    last = after
    for item in listed:
        if not item.key.startswith(prefix):
            continue
        head, cut, _ = item.key[len(prefix) :].partition(delimiter) if delimiter else (item.key, "", "")
        name = f"{prefix}{head}{cut}" if cut else item.key
        if name.encode() <= after.encode() or name == last:
            continue
        if len(rows) == most:
            return rows, last, most > 0
        rows.append(name if cut else item)
        last = name
    return rows, last, False


def _contents(row: Listed, key: str, etag: str) -> list[tuple[str, object]]:
    return [
        ("Key", key),
        ("LastModified", row.modified),
        ("ETag", f'"{etag}"'),
        ("Size", row.length),
        ("StorageClass", "STANDARD"),
    ]


def _encoded(text: str, encoded: bool) -> str:
    return quote(text, safe="/") if encoded else text

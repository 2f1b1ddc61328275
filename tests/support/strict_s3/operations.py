"""Which of S3's operations a request is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote

from tests.support.strict_s3.errors import not_implemented

BY_METHOD: Final = {
    "object": {"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"},
    "bucket": {"PUT": "CreateBucket", "GET": "ListObjects", "HEAD": "HeadBucket", "DELETE": "DeleteBucket"},
    "service": {"GET": "ListBuckets"},
}
BY_QUERY: Final = {
    ("object", "POST", "uploads"): "CreateMultipartUpload",
    ("object", "PUT", "uploadId"): "UploadPart",
    ("object", "POST", "uploadId"): "CompleteMultipartUpload",
    ("object", "DELETE", "uploadId"): "AbortMultipartUpload",
    ("object", "GET", "uploadId"): "ListParts",
    ("bucket", "GET", "uploads"): "ListMultipartUploads",
    ("bucket", "GET", "list-type"): "ListObjectsV2",
    ("bucket", "POST", "delete"): "DeleteObjects",
    ("bucket", "GET", "location"): "GetBucketLocation",
    ("bucket", "GET", "versioning"): "GetBucketVersioning",
    ("bucket", "GET", "lifecycle"): "GetBucketLifecycleConfiguration",
    ("bucket", "PUT", "lifecycle"): "PutBucketLifecycleConfiguration",
    ("bucket", "DELETE", "lifecycle"): "DeleteBucketLifecycle",
}
SUBRESOURCES: Final = frozenset(
    {"acl", "attributes", "cors", "encryption", "object-lock", "policy", "restore", "retention", "select", "tagging"}
    | {"torrent", "versions", "website", "versionId"}
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, as rules of faults may look at it."""

    operation: str
    method: str
    path: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def part_number(self) -> int | None:
        number = self.query.get("partNumber", "")
        return int(number) if number.isdecimal() else None

    @property
    def upload_id(self) -> str:
        return self.query.get("uploadId", "")


def read(method: str, target: str, headers: Mapping[str, str]) -> Call:
    """Raises:
    S3Error: 501, no operation that the layer knows.
    """
    path, _, query_text = target.partition("?")
    query = dict(parse_qsl(query_text, keep_blank_values=True))
    bucket, _, key = unquote(path).removeprefix("/").partition("/")
    operation = _operation(method, "object" if key else "bucket" if bucket else "service", query)
    if "x-amz-copy-source" in headers:
        operation = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}.get(operation, operation)
    return Call(operation=operation, method=method, path=path, bucket=bucket, key=key, query=query, headers=headers)


def _operation(method: str, what: str, query: Mapping[str, str]) -> str:
    for name in query:
        if name in SUBRESOURCES:
            raise not_implemented(f"?{name}")
        if known := BY_QUERY.get((what, method, name)):
            return known
    if method not in BY_METHOD[what]:
        raise not_implemented(f"{method} of a {what}")
    return BY_METHOD[what][method]

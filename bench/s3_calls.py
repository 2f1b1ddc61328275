"""Calls of S3 and their answers, as the sink sees them: names, headers, XML."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from bench.s3_body import Body

STORED_HEADERS: Final = ("content-type", "content-disposition", "cache-control", "content-encoding")


@dataclass(slots=True)
class Call:
    """One request, its body taken."""

    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    operation: str
    body: Body


@dataclass(slots=True)
class Reply:
    """Its answer. `length`: of an answer to HEAD."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


class Refused(Exception):
    """An error answer: status and code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


def operation(method: str, key: str, query: dict[str, str], headers: dict[str, str]) -> str:
    """The call's name in S3's reference; `Other` for what no server here needs."""
    copy = "x-amz-copy-source" in headers
    if not key:
        names = {
            "HEAD": "HeadBucket",
            "PUT": "CreateBucket",
            "POST": "DeleteObjects" if "delete" in query else "Other",
            "GET": "ListMultipartUploads" if "uploads" in query else "ListObjectsV2" if "list-type" in query else "",
        }
        name = names.get(method) or ("GetBucketLocation" if "location" in query else "Other")
    elif "uploadId" in query:
        part = "UploadPartCopy" if copy else "UploadPart"
        names = {"POST": "CompleteMultipartUpload", "GET": "ListParts", "DELETE": "AbortMultipartUpload", "PUT": part}
        name = names.get(method, "Other")
    elif method == "POST":
        name = "CreateMultipartUpload" if "uploads" in query else "Other"
    else:
        names = {"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}
        name = "Other" if copy else names.get(method, "Other")
    return name


def kept_headers(headers: dict[str, str]) -> dict[str, str]:
    """What of a request is kept with its object."""
    kept = {name: value for name, value in headers.items() if name.startswith(("x-amz-meta-", "x-amz-checksum-"))}
    kept.pop("x-amz-checksum-algorithm", None)
    kept.update((name, headers[name]) for name in STORED_HEADERS if headers.get(name, "aws-chunked") != "aws-chunked")
    return kept


def checksums(headers: dict[str, str]) -> dict[str, str]:
    """Those that came with the bytes: they are told again, not checked."""
    return {name: value for name, value in headers.items() if name.startswith("x-amz-checksum-")}


def text(body: Body) -> str:
    """Of a body in XML."""
    return bytes(body.data or b"").decode()


def tag(row: str, name: str) -> str:
    """What stands in an element; an error where there is none."""
    found = re.search(rf"<{name}>(.*?)</{name}>", row, re.DOTALL)
    if found is None:
        raise Refused(400, "MalformedXML")
    return found[1]


def xml(name: str, content: str) -> bytes:
    """A whole document."""
    space = "" if name == "Error" else ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{name}{space}>{content}</{name}>'.encode()


def true_or_false(value: bool) -> str:
    """As XML says it."""
    return "true" if value else "false"

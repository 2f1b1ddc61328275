"""Operations on whole objects: put, copy, get, delete one or many."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from tests.support.strict_s3.answers import Answer, of_xml
from tests.support.strict_s3.errors import (
    S3Error,
    invalid_argument,
    invalid_request,
    malformed,
    no_such_key,
    not_implemented,
    precondition_failed,
)
from tests.support.strict_s3.multiparts import etag_of
from tests.support.strict_s3.objects import KEPT, META, Attributes, Objects
from tests.support.strict_s3.operations import Call
from tests.support.strict_s3.received import Received
from tests.support.strict_s3.rules import Rules
from tests.support.strict_s3.upstream import Upstream

RANGE: Final = re.compile(r"bytes=(\d+)-(\d+)")


class Writing:
    """Operations on whole objects."""

    def __init__(self, upstream: Upstream, objects: Objects, rules: Rules) -> None:
        self._upstream = upstream
        self._objects = objects
        self._rules = rules

    async def put(self, received: Received) -> Answer:
        attributes = Attributes(
            length=len(received.body),
            etag=etag_of(received.body, self._rules),
            headers=headers_of(received.call),
            checksums=received.checksums,
        )
        await self._objects.put(received.call, attributes, received.body)
        told = {f"x-amz-checksum-{name}": value for name, value in received.checksums.items()}
        return Answer(headers={"etag": f'"{attributes.etag}"', **told})

    async def copy(self, received: Received) -> Answer:
        body, source = await self.source(received.call)
        directive = received.call.headers.get("x-amz-metadata-directive", "COPY")
        attributes = Attributes(
            length=len(body),
            etag=etag_of(body, self._rules),
            headers=source.headers if directive == "COPY" else headers_of(received.call),
            checksums=source.checksums,
        )
        await self._objects.put(received.call, attributes, body)
        return of_xml("CopyObjectResult", [("ETag", f'"{attributes.etag}"')])

    async def get(self, received: Received) -> Answer:
        return await self._objects.get(received.call)

    async def delete(self, received: Received) -> Answer:
        await self._objects.delete(received.call.bucket, received.call.key)
        return Answer(status=204)

    async def delete_many(self, received: Received) -> Answer:
        headers = received.call.headers
        if "content-md5" not in headers and not received.checksums and self._rules.keeps_checksums:
            raise invalid_request("Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
        root = received.xml()
        keys = [item.findtext("{*}Key") or "" for item in root.iterfind("{*}Object")]
        if not 1 <= len(keys) <= self._rules.page_items or not all(keys):
            raise malformed(f"DeleteObjects takes 1 to {self._rules.page_items} keys")
        quiet = root.findtext("{*}Quiet") == "true"
        rows: list[tuple[str, object]] = []
        for key in keys:
            code = next(filter(None, (fault.refusal(key) for fault in received.faults)), None)
            if code is not None:
                rows.append(("Error", [("Key", key), ("Code", code), ("Message", code)]))
                continue
            await self._objects.delete(received.call.bucket, key)
            if not quiet:
                rows.append(("Deleted", [("Key", key)]))
        return of_xml("DeleteResult", rows)

    async def source(self, call: Call) -> tuple[bytes, Attributes]:
        """The bytes that `x-amz-copy-source` names, and its object.

        Raises:
            S3Error: 404, 400 and 412, as AWS.
        """
        name, question, _ = unquote(call.headers["x-amz-copy-source"]).partition("?versionId=")
        if question:
            raise not_implemented("versionId")
        bucket, _, key = name.removeprefix("/").partition("/")
        found = await self._objects.attributes(bucket, key)
        if found is None:
            raise no_such_key()
        if call.headers.get("x-amz-copy-source-if-match", found.etag).strip('"') != found.etag:
            raise precondition_failed()
        ranged = call.headers.get("x-amz-copy-source-range")
        if ranged is None:
            return await self._upstream.read(bucket, key), found
        first, last = _range(ranged)
        if not first <= last < found.length:
            raise invalid_argument(f"Range specified is not valid for source object of size: {found.length}")
        if found.length <= self._rules.minimum_ranged_source_bytes:
            raise invalid_request("The specified copy source is not supported as a byte-range copy source")
        body = await self._upstream.read(bucket, key, first, last)
        if len(body) != last - first + 1:
            raise S3Error(500, "InternalError", "the gateway gave another range")
        return body, found


def headers_of(call: Call) -> dict[str, str]:
    """Of the object that the call makes."""
    kept = {name: value for name, value in call.headers.items() if name in KEPT or name.startswith(META)}
    encoding = kept.pop("content-encoding", "")
    left = ",".join(word for word in encoding.split(",") if word.strip() not in {"", "aws-chunked"})
    return {**kept, "content-encoding": left} if left else kept


def _range(text: str) -> tuple[int, int]:
    if not (matched := RANGE.fullmatch(text)):
        raise invalid_argument("The x-amz-copy-source-range value must be of the form bytes=first-last")
    return int(matched[1]), int(matched[2])

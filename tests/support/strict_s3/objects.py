"""Whole objects: the gateway keeps their bytes; the layer knows what the gateway may forget or not give."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.support.strict_s3.answers import Answer
from tests.support.strict_s3.errors import (
    S3Error,
    no_such_key,
    not_implemented,
    precondition_failed,
)
from tests.support.strict_s3.operations import Call
from tests.support.strict_s3.rules import Rules
from tests.support.strict_s3.upstream import GONE, Upstream

KEPT: Final = (
    "content-type",
    "content-disposition",
    "content-encoding",
    "content-language",
    "cache-control",
    "expires",
)
PASSED: Final = ("last-modified", "content-range", "accept-ranges", "content-length")
META: Final = "x-amz-meta-"


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """What an object has besides its bytes."""

    length: int
    etag: str
    headers: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    checksum_type: str = "FULL_OBJECT"


class Objects:
    """The objects of all buckets behind one gateway."""

    def __init__(self, upstream: Upstream, rules: Rules) -> None:
        self._upstream = upstream
        self._rules = rules
        self._known: dict[tuple[str, str], Attributes] = {}
        self._locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def stored_bytes(self) -> int:
        return sum(attributes.length for attributes in self._known.values())

    def known(self, bucket: str, key: str) -> Attributes | None:
        """Of an object that this layer has stored."""
        return self._known.get((bucket, key))

    async def attributes(self, bucket: str, key: str) -> Attributes | None:
        """None: there is no such object."""
        headers = await self._upstream.head(bucket, key)
        if headers is None:
            self._known.pop((bucket, key), None)
            return None
        return self._of(bucket, key, headers)

    async def put(
        self,
        call: Call,
        attributes: Attributes,
        body: bytes | AsyncIterator[bytes],
    ) -> None:
        """Store the object, if the call's conditions hold at this very time.

        Raises:
            S3Error: 412, they do not; 404, If-Match of nothing.
        """
        where = (call.bucket, call.key)
        async with self._locks[where]:
            await self._judge(call)
            await self._upstream.put(*where, body, attributes.length, attributes.headers)
            self._known[where] = attributes

    async def delete(self, bucket: str, key: str) -> None:
        async with self._locks[bucket, key]:
            await self._upstream.delete(bucket, key)
            self._known.pop((bucket, key), None)

    async def get(self, call: Call) -> Answer:
        """GetObject and HeadObject."""
        ranged = {name: value for name, value in call.headers.items() if name == "range"}
        response = await self._upstream.open(call.method, call.bucket, call.key, headers=ranged)
        try:
            if response.status == GONE:
                raise no_such_key()
            if response.status >= 400:
                raise S3Error(response.status, "InvalidRange" if response.status == 416 else "InternalError")
            headers = {name.lower(): value for name, value in response.headers.items()}
            is_part = "content-range" in headers  # which rclone answers by 200
            attributes = self._of(call.bucket, call.key, headers, ranged=is_part)
            self._judge_read(call, attributes)
        except BaseException:
            response.close()
            raise
        answer = Answer(
            status=206 if is_part else response.status,
            headers={name: headers[name] for name in PASSED if name in headers} | self._told(call, attributes),
            length=int(headers.get("content-length", "0")),
        )
        if call.method == "HEAD":
            response.release()
        else:
            answer.chunks = response.content.iter_any()
            answer.close = response.close
        return answer

    def _told(self, call: Call, attributes: Attributes) -> dict[str, str]:
        told = {
            name: value
            for name, value in attributes.headers.items()
            if self._rules.keeps_metadata or not name.startswith(META)
        }
        told["etag"] = f'"{attributes.etag}"'
        if call.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED" and "range" not in call.headers:
            told |= {f"x-amz-checksum-{name}": value for name, value in attributes.checksums.items()}
            if attributes.checksums:
                told["x-amz-checksum-type"] = attributes.checksum_type
        return told

    def _of(self, bucket: str, key: str, headers: Mapping[str, str], *, ranged: bool = False) -> Attributes:
        known = self._known.get((bucket, key))
        length = headers["content-range"].rpartition("/")[2] if ranged else headers.get("content-length", "0")
        if known is not None and known.length == int(length):
            return known
        # Put there by somebody else, or by an earlier life of the layer.
        kept = {name: value for name, value in headers.items() if name in KEPT or name.startswith(META)}
        return Attributes(length=int(length), etag=headers.get("etag", "").strip('"'), headers=kept)

    async def _judge(self, call: Call) -> None:
        match, none_match = call.headers.get("if-match"), call.headers.get("if-none-match")
        if self._rules.ignores_conditions or (match is None and none_match is None):
            return
        present = await self.attributes(call.bucket, call.key)
        if none_match is not None:
            if none_match != "*":
                raise not_implemented("If-None-Match of a write, other than *")
            if present is not None:
                raise precondition_failed()
        if match is not None:
            if present is None:
                raise no_such_key()
            if match.strip('"') not in {"*", present.etag}:
                raise precondition_failed()

    @staticmethod
    def _judge_read(call: Call, attributes: Attributes) -> None:
        match, none_match = call.headers.get("if-match"), call.headers.get("if-none-match")
        if match is not None and match.strip('"') not in {"*", attributes.etag}:
            raise precondition_failed()
        if none_match is not None and none_match.strip('"') in {"*", attributes.etag}:
            raise S3Error(304, "NotModified")

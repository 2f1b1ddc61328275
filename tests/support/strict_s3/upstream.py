"""Calls of the layer on the gateway behind it, signed by the layer."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree as ET

import aiohttp
from yarl import URL

from tests.support.strict_s3.errors import S3Error
from tests.support.strict_s3.signature import sign
from trial.gateways import Bucket

CALL_SECONDS: Final = 120
CHUNK_BYTES: Final = 1 << 20
GONE: Final = 404


@dataclass(frozen=True, kw_only=True)
class Listed:
    key: str
    length: int
    etag: str
    modified: str


class Upstream:
    """One gateway, of which all buckets are open to us."""

    def __init__(self, account: Bucket) -> None:
        self._account = account
        self._host = urlsplit(account.endpoint_url).netloc
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=CALL_SECONDS),
            connector=aiohttp.TCPConnector(limit=0),
            auto_decompress=False,
            read_bufsize=CHUNK_BYTES,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def open(  # a request
        self,
        method: str,
        bucket: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: io.BytesIO | AsyncIterator[bytes] | None = None,
    ) -> aiohttp.ClientResponse:
        """The answer, whose body is to be read or released.

        Raises:
            S3Error: 503, the gateway is not there.
        """
        if self._session is None:
            raise RuntimeError("not entered")
        target = quote(f"/{bucket}/{key}" if key else f"/{bucket}", safe="/~")
        if query:
            target += f"?{urlencode(query, quote_via=quote)}"
        signed = sign(self._account, method, target, {**(headers or {}), "host": self._host})
        url = URL(f"{self._account.endpoint_url}{target}", encoded=True)
        try:
            return await self._session.request(method, url, headers=signed, data=body, allow_redirects=False)
        except (aiohttp.ClientError, OSError) as error:
            raise S3Error(503, "ServiceUnavailable", f"the gateway is away: {error}") from error

    async def head(self, bucket: str, key: str = "") -> Mapping[str, str] | None:
        """The headers of an object or a bucket; None: it is not there."""
        async with await self.open("HEAD", bucket, key) as response:
            if response.status == GONE:
                return None
            await _must_be_fine(response)
            return {name.lower(): value for name, value in response.headers.items()}

    async def read(self, bucket: str, key: str, first: int | None = None, last: int | None = None) -> bytes:
        """All bytes, or those from `first` to `last`, both included."""
        ranged = {} if first is None else {"range": f"bytes={first}-{last}"}
        async with await self.open("GET", bucket, key, headers=ranged) as response:
            await _must_be_fine(response)
            return await response.read()

    async def put(
        self, bucket: str, key: str, body: bytes | AsyncIterator[bytes], length: int, headers: Mapping[str, str]
    ) -> None:
        """Replaces whatever is there."""
        sized = {**headers, "content-length": str(length)}
        sent = io.BytesIO(body) if isinstance(body, bytes) else body  # aiohttp warns of large bytes
        async with await self.open("PUT", bucket, key, headers=sized, body=sent) as response:
            await _must_be_fine(response)

    async def delete(self, bucket: str, key: str) -> None:
        """Also what is not there."""
        async with await self.open("DELETE", bucket, key) as response:
            if response.status != GONE:
                await _must_be_fine(response)

    async def list(self, bucket: str, prefix: str) -> list[Listed]:
        """Every object below the prefix, in S3's order."""
        found: dict[str, Listed] = {}
        query = {"list-type": "2", "prefix": prefix}
        while True:
            async with await self.open("GET", bucket, query=query) as response:
                await _must_be_fine(response)
                root = ET.fromstring(await response.read())
            for item in root.iterfind("{*}Contents"):
                key = item.findtext("{*}Key") or ""
                found[key] = Listed(
                    key=key,
                    length=int(item.findtext("{*}Size") or "0"),
                    etag=(item.findtext("{*}ETag") or "").strip('"'),
                    modified=item.findtext("{*}LastModified") or "",
                )
            token = root.findtext("{*}NextContinuationToken")
            if not token:
                return sorted(found.values(), key=lambda item: item.key.encode())
            query["continuation-token"] = token


async def _must_be_fine(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        text = (await response.read()).decode(errors="replace")
        code = text.partition("<Code>")[2].partition("</Code>")[0] or "InternalError"
        raise S3Error(response.status, code, f"the gateway said: {text[:300]}")

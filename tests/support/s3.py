"""A plain S3 client of a test: no retries of its own, short deadlines, the credentials of the bucket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import get_session

from trial.gateways import Bucket

if TYPE_CHECKING:  # it comes with `make lint` alone
    from types_aiobotocore_s3 import S3Client

Calculation = Literal["when_supported", "when_required"]


class OnceSession(AIOHTTPSession):
    """aiohttp by itself sends a PUT, GET or DELETE again when the connection is cut before an answer; not so here."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session: Any = await super()._get_session(proxy_url)  # type: ignore[misc]  # its stub has public names alone
        session._retry_connection = False
        return session


@asynccontextmanager
async def client(
    bucket: Bucket, *, checksums: Calculation = "when_required", read_seconds: float = 30
) -> AsyncIterator[S3Client]:
    """Each call of it is one call on the wire."""
    config: Any = AioConfig(
        http_session_cls=OnceSession,
        signature_version="s3v4",
        connect_timeout=5,
        read_timeout=read_seconds,
        retries={"total_max_attempts": 1},
        request_checksum_calculation=checksums,
        response_checksum_validation=checksums,
        # As over TLS: the digest of a body is what the test sends, not the SDK's of its signature.
        s3={"addressing_style": "path", "payload_signing_enabled": False},
    )
    async with get_session().create_client(
        "s3",
        region_name=bucket.region,
        endpoint_url=bucket.endpoint_url,
        aws_access_key_id=bucket.access_key_id,
        aws_secret_access_key=bucket.secret_access_key,
        config=config,
    ) as made:
        yield made

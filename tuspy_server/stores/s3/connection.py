"""Opening the way to a bucket: credentials, addresses, TLS, sessions."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.httpsession import get_cert_path
from botocore.loaders import Loader
from botocore.utils import get_environ_proxies

from tuspy_server.stores.s3.errors import AccessDenied, of_driver
from tuspy_server.stores.s3.fast import FastCalls, Place
from tuspy_server.stores.s3.signing import Keys
from tuspy_server.stores.s3.values import S3Options

if TYPE_CHECKING:  # a package of types alone, which a deployment does not have
    from types_aiobotocore_s3 import S3Client as Driver

_KEEP_SECONDS: Final = 10
"""How long an idle connection is kept: shorter than S3 keeps it, so that few calls meet a dead one."""

_CONNECT_SECONDS: Final = 10.0
_READ_BUFFER_BYTES: Final = 256 << 10
_LOADER: Final = Loader()
"""Keeps botocore's models, which take half a second to read: once a process, not once a client."""

_SKIPPED: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


@dataclass(frozen=True, slots=True)
class Connection:
    """An open way to a bucket; `stack` closes it."""

    driver: Driver
    fast: FastCalls
    stack: AsyncExitStack


async def connect(options: S3Options) -> Connection:
    """Find credentials and addresses; no call is made to the bucket.

    Raises:
        AccessDenied: no credentials.
        Unavailable: they could not be fetched in time.
    """
    stack = AsyncExitStack()
    try:
        async with asyncio.timeout(options.call_seconds):
            return await _connect(options, stack)
    except BaseException as error:
        await stack.aclose()
        if isinstance(error, Exception) and not isinstance(error, AccessDenied):
            raise of_driver("HeadBucket", error) from error
        raise


async def _connect(options: S3Options, stack: AsyncExitStack) -> Connection:
    session = get_session()
    session.register_component("data_loader", _LOADER)
    if options.access_key_id is not None and options.secret_access_key is not None:
        session.set_credentials(options.access_key_id, options.secret_access_key, options.session_token)
    found = await session.get_credentials()
    if found is None:
        raise AccessDenied("HeadBucket", "NoCredentials")

    async def keys() -> Keys:
        frozen = await found.get_frozen_credentials()
        return Keys(frozen.access_key or "", frozen.secret_key or "", frozen.token)

    driver: Driver = await stack.enter_async_context(_driver(session, options))
    place = await _place(driver, options.bucket)
    tls = await asyncio.to_thread(_tls, session.get_config_variable("ca_bundle")) if place.scheme == "https" else True
    sender = await stack.enter_async_context(
        aiohttp.ClientSession(
            # Slots bound the calls; downloads, which have none while they stream, are bounded by their clients.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_SECONDS, ssl=tls),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(_CONNECT_SECONDS, options.attempt_seconds)),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_SKIPPED,
            auto_decompress=False,
            read_bufsize=_READ_BUFFER_BYTES,
            proxy=get_environ_proxies(f"{place.scheme}://{place.host}").get(place.scheme),
        )
    )
    return Connection(driver, FastCalls(place, keys, sender, signs_payload=options.signs_payload), stack)


def _driver(session: AioSession, options: S3Options) -> Any:
    config: Any = AioConfig(
        signature_version="s3v4",
        connect_timeout=min(_CONNECT_SECONDS, options.attempt_seconds),
        # The deadline of each call is set around it; this one must not cut a long Complete.
        read_timeout=max(options.complete_seconds, options.attempt_seconds),
        retries={"total_max_attempts": 1, "mode": "standard"},
        # Stores other than AWS refuse the checksums that the SDK adds by itself (fault S16).
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        max_pool_connections=options.slots,
        s3={"addressing_style": options.addressing_style},
    )
    return session.create_client("s3", region_name=options.region, endpoint_url=options.endpoint_url, config=config)


async def _place(driver: Driver, bucket: str) -> Place:
    """The address as the SDK's own rules make it: region, partition, addressing style, access points."""
    parts = urlsplit(await driver.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"}))
    scope = parse_qs(parts.query)["X-Amz-Credential"][0].split("/")
    return Place(scheme=parts.scheme, host=parts.netloc, path=parts.path.removesuffix("/k"), region=scope[-3])


def _tls(ca_bundle: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_bundle or get_cert_path(True))

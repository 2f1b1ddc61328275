"""Reads a request's body as AWS would: with its length known, its chunks opened, its digests compared."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Final

import google_crc32c

from tests.support.strict_s3.errors import S3Error, invalid_request, not_implemented

STREAMING: Final = "STREAMING-"
CHECKSUM: Final = "x-amz-checksum-"
NOT_VALUES: Final = {"x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"}

ALGORITHMS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "crc32c": lambda body: google_crc32c.value(body).to_bytes(4, "big"),
    "crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "sha1": lambda body: hashlib.sha1(body).digest(),
    "sha256": lambda body: hashlib.sha256(body).digest(),
}


def base64_of(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def wire_bytes(headers: Mapping[str, str]) -> int:
    """How many bytes follow the head.

    Raises:
        S3Error: 411, it does not say.
    """
    if "content-length" not in headers:
        if headers.get("transfer-encoding"):
            raise S3Error(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
        return 0
    return int(headers["content-length"])


def opened(body: bytes, headers: Mapping[str, str]) -> tuple[bytes, dict[str, str]]:
    """The bytes and the trailers of a body that may be `aws-chunked`.

    Raises:
        S3Error: its chunks do not give the length that its head says.
    """
    if not headers.get("x-amz-content-sha256", "").startswith(STREAMING):
        return body, {}
    chunks = bytearray()
    position = 0
    while True:
        end = body.find(b"\r\n", position)
        if end < 0:
            raise S3Error(400, "IncompleteBody", "The body ends in the middle of a chunk.")
        count = int(body[position:end].split(b";")[0], 16)
        position = end + 2
        if count == 0:
            break
        chunks += memoryview(body)[position : position + count]
        position += count + 2
    trailers = {}
    for line in body[position:].split(b"\r\n"):
        name, colon, value = line.decode().partition(":")
        if colon:
            trailers[name.strip().lower()] = value.strip()
    if len(chunks) != int(headers.get("x-amz-decoded-content-length", "-1")):
        raise S3Error(400, "IncompleteBody", "The chunks have another length than x-amz-decoded-content-length.")
    return bytes(chunks), trailers


def checksums_of(fields: Mapping[str, str]) -> dict[str, str]:
    """The values sent, by algorithm."""
    return {
        name.removeprefix(CHECKSUM): value
        for name, value in fields.items()
        if name.startswith(CHECKSUM) and name not in NOT_VALUES
    }


def compare(body: bytes, fields: Mapping[str, str], *, checksums: bool) -> dict[str, str]:
    """The checksums that hold, by algorithm; `fields` are headers and trailers.

    Raises:
        S3Error: 400, one does not hold.
    """
    payload = fields.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
    is_signed = payload != "UNSIGNED-PAYLOAD" and not payload.startswith(STREAMING)
    if is_signed and hashlib.sha256(body).hexdigest() != payload:
        raise S3Error(400, "XAmzContentSHA256Mismatch", "The provided x-amz-content-sha256 is not of this body.")
    if "content-md5" in fields:
        _compare_md5(body, fields["content-md5"])
    if not checksums:
        return {}
    sent = checksums_of(fields)
    if len(sent) > 1:
        raise invalid_request("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    for algorithm, value in sent.items():
        if algorithm not in ALGORITHMS:
            raise not_implemented(f"{CHECKSUM}{algorithm}")
        expected = base64_of(ALGORITHMS[algorithm](body))
        if len(value) != len(expected):
            raise invalid_request(f"Value for {CHECKSUM}{algorithm} header is invalid.")
        if value != expected:
            raise S3Error(400, "BadDigest", f"The {algorithm.upper()} you specified did not match the calculated one.")
    return sent


def _compare_md5(body: bytes, sent: str) -> None:
    try:
        digest = base64.b64decode(sent, validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != hashlib.md5().digest_size:
        raise S3Error(400, "InvalidDigest", "The Content-MD5 you specified is not valid.")
    if hashlib.md5(body).digest() != digest:
        raise S3Error(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")

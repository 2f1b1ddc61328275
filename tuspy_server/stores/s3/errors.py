"""What S3 and the way to it can answer, named by what a caller does next."""

from __future__ import annotations

import re
from typing import ClassVar, Final

import aiohttp
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)

from tuspy_server.protocol.errors import StorageFault, StorageFull, TryLater


class S3Error(Exception):
    """A call that gave no success.

    Attributes:
        operation: S3's name of the call.
        code: S3's code, or one of ours where nothing was answered: `Timeout`, `ConnectionFailed`, `ConnectionCut`,
            `CertificateRefused`, `NoSlot`, `NoCredentials`, `BadAnswer`.
        status: HTTP status; 0 where nothing was answered.
        outcome_unknown: whether what was asked may have happened, or may happen yet (faults S02, S06, S07). Never set
            for calls that only read.
    """

    passes: ClassVar[bool] = False
    """Whether the same call may succeed a moment later."""

    def __init__(self, operation: str, code: str, status: int = 0, *, outcome_unknown: bool = False) -> None:
        super().__init__(f"{operation}: {code} ({status})")
        self.operation = operation
        self.code = code
        self.status = status
        self.outcome_unknown = outcome_unknown


class Unavailable(S3Error):
    """5xx, SlowDown, 429, a timeout, a cut connection; and trying again, where that was allowed, has not helped."""

    passes = True


class NotConnected(Unavailable):
    """No connection came about: nothing can have happened."""


class NoSuchUpload(S3Error):
    """404: the multipart upload was completed, aborted, or reaped by the store."""


class NoSuchKey(S3Error):
    """404: no such object."""


class InvalidPart(S3Error):
    """400 at Complete: a part is not there, or has another ETag."""


class PreconditionFailed(S3Error):
    """412: `If-None-Match` does not hold."""


class ConditionalConflict(S3Error):
    """409: another request on the key was under way; S3 wants the put once more."""


class ObjectChanged(S3Error):
    """What is read is no longer what it was, or is not as long as it must be."""


class ChecksumRefused(S3Error):
    """400: the bytes that arrived are not those of the checksum; sent again several times (fault S14)."""

    passes = True


class AccessDenied(S3Error):
    """401 or 403: keys or policies must be mended; no repetition helps."""


class QuotaExceeded(S3Error):
    """507, or a quota's code: nothing can be stored until there is room (fault S18)."""


class NotSupported(S3Error):
    """405 or 501: the store has no such call, or not with these headers."""


READS: Final = frozenset(
    {
        "GetObject",
        "HeadObject",
        "HeadBucket",
        "ListParts",
        "ListMultipartUploads",
        "ListObjectsV2",
        "GetBucketLifecycleConfiguration",
    }
)

_BY_CODE: Final[dict[str, type[S3Error]]] = {
    "NoSuchUpload": NoSuchUpload,
    "NoSuchKey": NoSuchKey,
    "InvalidPart": InvalidPart,
    "InvalidPartOrder": InvalidPart,
    "PreconditionFailed": PreconditionFailed,
    "ConditionalRequestConflict": ConditionalConflict,
    "BadDigest": ChecksumRefused,
    "InvalidDigest": ChecksumRefused,
    "XAmzContentChecksumMismatch": ChecksumRefused,
    "AccessDenied": AccessDenied,
    "InvalidAccessKeyId": AccessDenied,
    "SignatureDoesNotMatch": AccessDenied,
    "AllAccessDisabled": AccessDenied,
    "QuotaExceeded": QuotaExceeded,
    "StorageFull": QuotaExceeded,
    "InsufficientStorage": QuotaExceeded,
    "XMinioStorageFull": QuotaExceeded,
    "XMinioAdminBucketQuotaExceeded": QuotaExceeded,
    "NotImplemented": NotSupported,
    "MethodNotAllowed": NotSupported,
    "SlowDown": Unavailable,
    "ServiceUnavailable": Unavailable,
    "InternalError": Unavailable,
    "RequestTimeout": Unavailable,
    "Throttling": Unavailable,
    "ThrottlingException": Unavailable,
    "RequestLimitExceeded": Unavailable,
    "TooManyRequests": Unavailable,
}
_BY_STATUS: Final[dict[int, type[S3Error]]] = {
    401: AccessDenied,
    403: AccessDenied,
    405: NotSupported,
    408: Unavailable,
    409: ConditionalConflict,
    412: PreconditionFailed,
    429: Unavailable,
    501: NotSupported,
    507: QuotaExceeded,
}
_OF_A_MULTIPART: Final = frozenset({"UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload", "ListParts"})
_SERVER_ERROR: Final = 500
_NOT_FOUND: Final = 404


def of_answer(operation: str, status: int, code: str) -> S3Error:
    """The error of an answer that is no success, after the whole request was sent."""
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if kind is None and status == _NOT_FOUND and code != "NoSuchBucket":
        kind = NoSuchUpload if operation in _OF_A_MULTIPART else NoSuchKey
    if kind is None:
        kind = Unavailable if status >= _SERVER_ERROR else S3Error
    unknown = status >= _SERVER_ERROR and issubclass(kind, Unavailable) and operation not in READS
    return kind(operation, code or str(status), status, outcome_unknown=unknown)


def of_trouble(operation: str, error: Exception, *, sent: bool) -> S3Error:
    """The error of a call without an answer; `sent`: the store may have the whole request."""
    unknown = sent and operation not in READS
    if isinstance(error, TimeoutError):
        return Unavailable(operation, "Timeout", outcome_unknown=unknown)
    if isinstance(error, CredentialRetrievalError):
        return NotConnected(operation, "NoCredentials")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return NotConnected(operation, "CertificateRefused")
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return NotConnected(operation, "ConnectionFailed")
    return Unavailable(operation, "ConnectionCut", outcome_unknown=unknown)


def of_driver(operation: str, error: Exception) -> S3Error:
    """The error of an exception that aiobotocore raised."""
    if isinstance(error, ClientError):
        answer = error.response
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return of_answer(operation, status, answer.get("Error", {}).get("Code", ""))
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return AccessDenied(operation, "NoCredentials")
    if isinstance(error, ConnectTimeoutError):
        return NotConnected(operation, "ConnectionFailed")
    if isinstance(error, (HTTPClientError, EndpointConnectionError, SSLError)):
        # EndpointConnectionError is also what it makes of a connection that was cut.
        cause: Exception | None = error.kwargs.get("error")
        return of_trouble(operation, cause or error, sent=True)
    if isinstance(error, (TimeoutError, CredentialRetrievalError)):
        return of_trouble(operation, error, sent=True)
    # A success that cannot be read, or trouble that nobody has named yet.
    return Unavailable(operation, "BadAnswer", outcome_unknown=operation not in READS)


_CODE: Final = re.compile(rb"<Code>\s*([A-Za-z0-9_.-]{1,100})\s*</Code>")


def code_in(body: bytes) -> str:
    """The `<Code>` of S3's error document; empty where there is none."""
    found = _CODE.search(body)
    return found[1].decode() if found else ""


def translate(error: S3Error) -> TryLater:
    """The answer that a client gets: 507 where the store is full, else 503 (fault S18)."""
    return StorageFull() if isinstance(error, QuotaExceeded) else StorageFault()

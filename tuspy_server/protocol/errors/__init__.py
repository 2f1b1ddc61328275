"""Errors that know their answer: HTTP status, stable code, headers.

The status chooses the client's next move. By default tus-js-client retries 5xx, 409 and 423 on PATCH, gives up on other
4xx, and starts from zero after any failed HEAD but 423. So an error is grouped by what its client should do next.
A message never holds what the client sent: it is written into logs and answers as it is.
"""

from __future__ import annotations

from tuspy_server.protocol.errors.base import (
    TUS_VERSION,
    BytesMissing,
    ClientDisconnected,
    Headers,
    TusError,
)
from tuspy_server.protocol.errors.later import (
    BodyStalled,
    Draining,
    HookFailed,
    Overloaded,
    StorageFault,
    StorageFull,
    StoreUnavailable,
    TryLater,
)
from tuspy_server.protocol.errors.permissions import (
    BodyTooLarge,
    Forbidden,
    IdTaken,
    InvalidJson,
    InvalidParameter,
    InvalidRequest,
    JobClosed,
    JobNotFound,
    NotFound,
    NotJson,
    Refused,
    TypeNotAllowed,
    Unauthorized,
)
from tuspy_server.protocol.errors.requests import (
    FixRequest,
    HeadersTooLarge,
    InvalidHeader,
    InvalidMetadata,
    MethodNotAllowed,
    NotDownloadable,
    PreconditionFailed,
    RangeNotSatisfiable,
    UnknownChecksumAlgorithm,
    UnsupportedVersion,
    UploadGone,
    UploadNotFound,
    UploadTooLarge,
    WrongContentType,
)
from tuspy_server.protocol.errors.resend import (
    ChecksumMismatch,
    NotFinished,
    OffsetMismatch,
    Resend,
    UploadBusy,
    WriterFenced,
)

__all__ = [
    "TUS_VERSION",
    "BodyStalled",
    "BodyTooLarge",
    "BytesMissing",
    "ChecksumMismatch",
    "ClientDisconnected",
    "Draining",
    "FixRequest",
    "Forbidden",
    "Headers",
    "HeadersTooLarge",
    "HookFailed",
    "IdTaken",
    "InvalidHeader",
    "InvalidJson",
    "InvalidMetadata",
    "InvalidParameter",
    "InvalidRequest",
    "JobClosed",
    "JobNotFound",
    "MethodNotAllowed",
    "NotDownloadable",
    "NotFinished",
    "NotFound",
    "NotJson",
    "OffsetMismatch",
    "Overloaded",
    "PreconditionFailed",
    "RangeNotSatisfiable",
    "Refused",
    "Resend",
    "StorageFault",
    "StorageFull",
    "StoreUnavailable",
    "TryLater",
    "TusError",
    "TypeNotAllowed",
    "Unauthorized",
    "UnknownChecksumAlgorithm",
    "UnsupportedVersion",
    "UploadBusy",
    "UploadGone",
    "UploadNotFound",
    "UploadTooLarge",
    "WriterFenced",
    "WrongContentType",
]

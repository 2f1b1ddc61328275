"""Errors that know their answer: HTTP status, stable code, headers.

The status chooses the client's next move. By default tus-js-client retries 5xx, 409 and 423 on PATCH, gives up on other
4xx, and starts from zero after any failed HEAD but 423. So an error is grouped by what its client should do next.
A message never holds what the client sent: it is written into logs and answers as it is.
"""

from __future__ import annotations

from typing import ClassVar

TUS_VERSION = "1.0.0"

Headers = tuple[tuple[str, str], ...]


class TusError(Exception):
    """Base of all answers that are not a success.

    Attributes:
        status: HTTP status.
        code: stable, machine-readable name; part of the public interface.
        closes: whether the connection must be closed, because a body that was announced is not read to its end.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    closes: ClassVar[bool] = False

    def headers(self) -> Headers:
        """Headers that the answer carries besides those of every answer."""
        return ()


# --- the request is wrong: mend it --------------------------------------------------------------------------------


class FixRequest(TusError):
    """4xx that a client does not retry."""


class InvalidHeader(FixRequest):
    """400: a header is missing, malformed, doubled or contradicts another."""

    status = 400
    code = "invalid_header"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name


class InvalidMetadata(InvalidHeader):
    """400: `Upload-Metadata` breaks its grammar."""

    code = "invalid_metadata"

    def __init__(self, reason: str) -> None:
        super().__init__("Upload-Metadata", reason)


class UnknownChecksumAlgorithm(InvalidHeader):
    """400: tus 1.0.0, Checksum: the server does not support the algorithm."""

    code = "unknown_checksum_algorithm"

    def __init__(self) -> None:
        super().__init__("Upload-Checksum", "unknown algorithm; see Tus-Checksum-Algorithm")


class InvalidJson(FixRequest):
    """400: the body is no JSON text in UTF-8."""

    status = 400
    code = "invalid_json"

    def __init__(self) -> None:
        super().__init__("the body is no valid JSON")


class InvalidParameter(FixRequest):
    """400: a parameter of the query is unknown, doubled or malformed."""

    status = 400
    code = "invalid_parameter"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")


class NotDownloadable(FixRequest):
    """403: downloads are switched off."""

    status = 403
    code = "downloads_off"

    def __init__(self) -> None:
        super().__init__("this server does not serve downloads")


class Unauthorized(FixRequest):
    """401: who asks has to say who it is."""

    status = 401
    code = "unauthorized"

    def __init__(self, reason: str = "this needs a token") -> None:
        super().__init__(reason)

    def headers(self) -> Headers:
        """`WWW-Authenticate`."""
        return (("WWW-Authenticate", "Bearer"),)


class Forbidden(FixRequest):
    """403: who asks may not do this."""

    status = 403
    code = "forbidden"

    def __init__(self) -> None:
        super().__init__("not allowed")


class Refused(FixRequest):
    """A hook's refusal, with the status and the text that it has chosen.

    `status` is one that clients do not retry: 400 to 499, but not 409, 423 and 460.
    """

    code = "refused"

    def __init__(self, text: str = "refused", status: int = 403) -> None:
        if status // 100 != 4 or status in {409, 423, 460}:  # noqa: PLR2004  # the class of RFC 9110 15.5
            raise ValueError("a refusal has a status from 400 to 499 that no client retries: not 409, 423 or 460")
        super().__init__(text)
        self.status = status  # type: ignore[misc]  # the one error whose status its maker chooses


class NotFound(FixRequest):
    """404: nothing is at this path."""

    status = 404
    code = "not_found"

    def __init__(self) -> None:
        super().__init__("nothing is here")


class JobNotFound(FixRequest):
    """404: no such job, or one of somebody else's (I9)."""

    status = 404
    code = "job_not_found"

    def __init__(self) -> None:
        super().__init__("no such job")


class JobClosed(FixRequest):
    """409: the job was cancelled and takes no more files."""

    status = 409
    code = "job_closed"

    def __init__(self) -> None:
        super().__init__("the job takes no more files")


class IdTaken(FixRequest):
    """409: an upload or a job of this id exists, or an object of this key."""

    status = 409
    code = "id_taken"

    def __init__(self) -> None:
        super().__init__("the id is taken")


class UploadNotFound(FixRequest):
    """404: no such upload, or one of somebody else's (I9: the two cannot be told apart)."""

    status = 404
    code = "upload_not_found"

    def __init__(self) -> None:
        super().__init__("no such upload")


class MethodNotAllowed(FixRequest):
    """405: the resource has no such method; `Allow` lists those that it has (RFC 9110 15.5.6)."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__("method not allowed here")
        self.allowed = allowed

    def headers(self) -> Headers:
        """`Allow`."""
        return (("Allow", ", ".join(self.allowed)),)


class UploadGone(FixRequest):
    """410: the upload was there and has been terminated, has expired, or has failed."""

    status = 410
    code = "upload_gone"

    def __init__(self) -> None:
        super().__init__("the upload is gone")


class UnsupportedVersion(FixRequest):
    """412: `Tus-Resumable` is absent or names another version; the request is not processed (tus 1.0.0, Core)."""

    status = 412
    code = "unsupported_version"

    def __init__(self) -> None:
        super().__init__(f"Tus-Resumable must be {TUS_VERSION}")

    def headers(self) -> Headers:
        """`Tus-Version`."""
        return (("Tus-Version", TUS_VERSION),)


class UploadTooLarge(FixRequest):
    """413: more bytes than the upload's length, the server's `Tus-Max-Size`, or another limit allows."""

    status = 413
    code = "upload_too_large"


class BodyTooLarge(FixRequest):
    """413: the body of a request to the API is larger than one may be."""

    status = 413
    code = "body_too_large"

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"the body may have {most_bytes} bytes at most")


class NotJson(FixRequest):
    """415: the API takes `Content-Type: application/json`."""

    status = 415
    code = "not_json"

    def __init__(self) -> None:
        super().__init__("Content-Type must be application/json")


class InvalidRequest(FixRequest):
    """422: the body is JSON, but does not say what it should. The answer points to the place."""

    status = 422
    code = "invalid_request"


class WrongContentType(FixRequest):
    """415: tus 1.0.0, PATCH: all requests MUST use `Content-Type: application/offset+octet-stream`."""

    status = 415
    code = "wrong_content_type"

    def __init__(self) -> None:
        super().__init__("Content-Type must be application/offset+octet-stream")


class TypeNotAllowed(FixRequest):
    """415: the application takes no file of the type that the upload's metadata declare. Clients do not retry it."""

    status = 415
    code = "type_not_allowed"

    def __init__(self) -> None:
        super().__init__("files of this type are not taken")


class RangeNotSatisfiable(FixRequest):
    """416: the range lies outside the file (RFC 9110 15.5.17)."""

    status = 416
    code = "range_not_satisfiable"

    def __init__(self, total_bytes: int) -> None:
        super().__init__("the range lies outside the file")
        self.total_bytes = total_bytes

    def headers(self) -> Headers:
        """`Content-Range`."""
        return (("Content-Range", f"bytes */{self.total_bytes}"),)


class HeadersTooLarge(FixRequest):
    """431: a header, or all of them together, pass the server's limit (RFC 6585 5)."""

    status = 431
    code = "headers_too_large"


class HookFailed(TusError):
    """500: a hook that was asked has raised, or has not answered in time; nothing has changed."""

    code = "hook_failed"

    def __init__(self) -> None:
        super().__init__("a hook of the application failed")


# --- the state has moved on: look again, send again ----------------------------------------------------------------


class Resend(TusError):
    """Statuses after which clients ask for the offset and go on."""


class OffsetMismatch(Resend):
    """409: `Upload-Offset` is not the upload's offset (tus 1.0.0, PATCH). The answer tells the true one."""

    status = 409
    code = "offset_mismatch"

    def __init__(self, upload_offset: int) -> None:
        super().__init__("Upload-Offset is not the offset of the upload")
        self.upload_offset = upload_offset

    def headers(self) -> Headers:
        """`Upload-Offset`."""
        return (("Upload-Offset", str(self.upload_offset)),)


class NotFinished(Resend):
    """409: only a finished upload can be downloaded."""

    status = 409
    code = "upload_not_finished"

    def __init__(self) -> None:
        super().__init__("the upload is not finished")


class UploadBusy(Resend):
    """423: another request holds the upload, or (on HEAD) trouble that passes: ask again in a moment."""

    status = 423
    code = "upload_busy"

    def __init__(self, reason: str = "another request is writing to the upload", retry_after_seconds: int = 1) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds

    def headers(self) -> Headers:
        """`Retry-After`."""
        return (("Retry-After", str(self.retry_after_seconds)),)


class WriterFenced(UploadBusy):
    """423: a newer request has taken the upload over; this one changes nothing any more (I5)."""

    code = "writer_fenced"

    def __init__(self) -> None:
        super().__init__("a newer request has taken the upload over")


class ChecksumMismatch(Resend):
    """460: the bytes are not those that `Upload-Checksum` names; they are discarded (tus 1.0.0, Checksum)."""

    status = 460
    code = "checksum_mismatch"

    def __init__(self) -> None:
        super().__init__("the body does not match Upload-Checksum")


# --- the server is in trouble: try later ---------------------------------------------------------------------------


class TryLater(TusError):
    """5xx with `Retry-After`; clients resume by themselves."""

    status = 503
    code = "unavailable"
    retry_after_seconds: ClassVar[int] = 5

    def headers(self) -> Headers:
        """`Retry-After`."""
        return (("Retry-After", str(self.retry_after_seconds)),)


class Draining(TryLater):
    """503: the server is shutting down; the next one takes over."""

    code = "draining"
    closes = True

    def __init__(self) -> None:
        super().__init__("the server is shutting down")


class BodyStalled(TryLater):
    """503: no byte arrived for too long. Not 408: tus-js-client does not retry that."""

    code = "body_stalled"
    closes = True
    retry_after_seconds = 1

    def __init__(self) -> None:
        super().__init__("the request body stalled; what arrived is kept")


class Overloaded(TryLater):
    """503: all memory that the settings grant to bodies is in use."""

    code = "overloaded"

    def __init__(self) -> None:
        super().__init__("too many uploads at once")


class StoreUnavailable(TryLater):
    """503: the database does not answer in time."""

    code = "store_unavailable"

    def __init__(self) -> None:
        super().__init__("the database is not available")


class StorageFault(TryLater):
    """503: storage failed a call; nothing of it counts, the upload can go on from its offset."""

    code = "storage_fault"

    def __init__(self) -> None:
        super().__init__("the storage failed; what was acknowledged is safe")


class StorageFull(TryLater):
    """507: no space is left; the upload goes on once there is."""

    status = 507
    code = "storage_full"
    retry_after_seconds = 30

    def __init__(self) -> None:
        super().__init__("no space left; what was acknowledged is safe")


# --- not answers ---------------------------------------------------------------------------------------------------


class BytesMissing(Exception):
    """Storage holds fewer bytes than the row counts: the upload has failed. Becomes `UploadGone`."""


class ClientDisconnected(Exception):
    """The client went away in the middle of its body; nobody is left to answer."""

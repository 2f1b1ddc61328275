"""The request is wrong: 4xx that its client has to mend, and does not retry."""

from __future__ import annotations

from tuspy_server.protocol.errors.base import TUS_VERSION, Headers, TusError


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


class NotDownloadable(FixRequest):
    """403: downloads are switched off."""

    status = 403
    code = "downloads_off"

    def __init__(self) -> None:
        super().__init__("this server does not serve downloads")


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


class PreconditionFailed(FixRequest):
    """412: the file is not the one that `If-Match` or `If-Unmodified-Since` names (RFC 9110 15.5.13)."""

    status = 412
    code = "precondition_failed"

    def __init__(self) -> None:
        super().__init__("the file is not the one that the request is about")


class UploadTooLarge(FixRequest):
    """413: more bytes than the upload's length, the server's `Tus-Max-Size`, or another limit allows."""

    status = 413
    code = "upload_too_large"


class WrongContentType(FixRequest):
    """415: tus 1.0.0, PATCH: all requests MUST use `Content-Type: application/offset+octet-stream`."""

    status = 415
    code = "wrong_content_type"

    def __init__(self) -> None:
        super().__init__("Content-Type must be application/offset+octet-stream")


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

"""tus 1.0.0, Core Protocol: which method a request has, HEAD, and where the body of a PATCH goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tuspy_server.model import Upload, UploadStatus
from tuspy_server.protocol.checksum import Checksum, TrailerChecksum, parse_checksum
from tuspy_server.protocol.errors import (
    TUS_VERSION,
    ChecksumMismatch,
    Headers,
    InvalidHeader,
    MethodNotAllowed,
    OffsetMismatch,
    UnsupportedVersion,
    UploadBusy,
    UploadGone,
    UploadTooLarge,
    WrongContentType,
)
from tuspy_server.protocol.expiration import expires_headers
from tuspy_server.protocol.fields import RequestHead
from tuspy_server.protocol.policy import Policy

BODY_TYPE: Final = "application/offset+octet-stream"

COLLECTION_METHODS: Final = ("OPTIONS", "POST")
UPLOAD_METHODS: Final = ("OPTIONS", "HEAD", "GET", "PATCH", "DELETE")
ALL_METHODS: Final = ("OPTIONS", "POST", "HEAD", "GET", "PATCH", "DELETE")

_VERSIONED: Final = frozenset({"POST", "PATCH", "DELETE"})


def effective_method(head: RequestHead, allowed: tuple[str, ...]) -> str:
    """The method to act on, past `X-HTTP-Method-Override` and the version gate.

    The override is honoured on POST alone: on GET, which prefetchers and links send, it would be a hole (CORE-OVR-03).

    Raises:
        MethodNotAllowed: 405. UnsupportedVersion: 412, before anything is looked up.
    """
    method = head.method
    if method == "POST":
        # If this header is present, its value MUST be interpreted as the request's method by the Server.
        method = head.one("X-HTTP-Method-Override") or method
    if method not in allowed:
        raise MethodNotAllowed(allowed)
    if method not in ("OPTIONS", "GET"):
        version = head.one("Tus-Resumable")
        # Every request and response except for OPTIONS MUST include it. A HEAD without it is a download's preview.
        if version != TUS_VERSION and (version is not None or method in _VERSIONED):
            raise UnsupportedVersion
    return method


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A PATCH as its head states it.

    Attributes:
        upload_offset: first byte of the body, zero-based.
        body_bytes: from `Content-Length`; None where the body is chunked.
        declared_length: `Upload-Length`, for an upload whose length was deferred; None if not sent.
        checksum: of the body; None if not sent.
    """

    upload_offset: int
    body_bytes: int | None
    declared_length: int | None
    checksum: Checksum | TrailerChecksum | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Take the body.

    Attributes:
        upload_offset: where its first byte goes.
        upload_length: length of the upload with what this request declares; None while deferred.
        most_bytes: the most bytes that the body may have; one more is a 413.
        declares_length: whether the length is this request's news, to be stored by its first commit.
        checksum: what the bytes must match before any of them counts.
    """

    upload_offset: int
    upload_length: int | None
    most_bytes: int
    declares_length: bool
    checksum: Checksum | TrailerChecksum | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    """Say 204 and change nothing: an empty PATCH at the end of a finished upload (CORE-PATCH-11)."""

    upload: Upload


def parse_patch(head: RequestHead, policy: Policy, *, delivers_trailers: bool = False) -> Patch:
    """Read a PATCH's head.

    Args:
        head: of the request.
        policy: limits.
        delivers_trailers: whether this request's body will tell its trailers.

    Raises:
        WrongContentType: 415. InvalidHeader: 400. UploadTooLarge: 413, past `Tus-Max-Size` or the checksum's limit.

    Source: tus 1.0.0, Core Protocol, PATCH; Creation, POST (deferred length); Checksum.
    """
    # All PATCH requests MUST use Content-Type: application/offset+octet-stream, otherwise 415.
    if head.media_type() != BODY_TYPE:
        raise WrongContentType
    upload_offset = head.integer("Upload-Offset")
    if upload_offset is None:
        raise InvalidHeader("Upload-Offset", "is required")
    declared_length = head.integer("Upload-Length")
    if declared_length is not None:
        policy.check_length(declared_length)
    body_bytes = head.body_bytes
    # No upload has an offset past the limit: such a claim is a mismatch, and 409 lets its client mend it.
    if upload_offset <= policy.largest_upload:
        policy.check_length(upload_offset + (body_bytes or 0))
    return Patch(
        upload_offset=upload_offset,
        body_bytes=body_bytes,
        declared_length=declared_length,
        checksum=body_checksum(head, policy, delivers_trailers=delivers_trailers),
    )


def body_checksum(
    head: RequestHead, policy: Policy, *, delivers_trailers: bool = False
) -> Checksum | TrailerChecksum | None:
    """The checksum of the request's body, or that it comes as a trailer; None if neither is said.

    Raises:
        InvalidHeader: 400. UploadTooLarge: 413: a body that counts only as a whole has a limit of its own.
    """
    text = head.one("Upload-Checksum")
    if text is None:
        # Only what the header announces is waited for: other trailers must not change the request (RFC 9110 6.5.1).
        announced = delivers_trailers and head.announces_trailer("upload-checksum")
        return TrailerChecksum() if announced else None
    checksum = parse_checksum(text)
    if (head.body_bytes or 0) > policy.checksum_max_bytes:
        raise UploadTooLarge(f"a body with Upload-Checksum may have {policy.checksum_max_bytes} bytes")
    return checksum


def decide_patch(patch: Patch, upload: Upload, policy: Policy) -> Append | Acknowledge:
    """Decide where a PATCH body goes; no byte of it is read here.

    Args:
        patch: parsed head.
        upload: last committed state, expired or not by its own `as_of`.
        policy: limits.

    Raises:
        UploadGone: 410. UploadBusy: 423, the upload is completing, or its writer is about to move the offset.
        OffsetMismatch: 409. InvalidHeader: 400, the length is known already or lies below the offset.
        UploadTooLarge: 413, the body passes the length. ChecksumMismatch: 460, an empty body that is to be another.

    Source: tus 1.0.0, Core Protocol, PATCH; Creation, POST: the length MUST NOT change once set; Expiration.
    """
    if upload.is_gone:
        raise UploadGone
    if upload.status is UploadStatus.COMPLETING:
        raise UploadBusy("the upload is being finished")
    if patch.upload_offset != upload.upload_offset:
        # Some clients never retry 409; where a writer may still move the offset, 423 sends them to HEAD first.
        raise OffsetMismatch(upload.upload_offset) if upload.writer is None else UploadBusy
    body_end = patch.upload_offset + (patch.body_bytes or 0)
    upload_length = _length_after(patch, upload)
    if upload_length is not None and body_end > upload_length:
        raise UploadTooLarge("the body passes the length of the upload")
    if upload.most_bytes is not None and max(body_end, upload_length or 0) > upload.most_bytes:
        raise UploadTooLarge("the upload is larger than the application allows")
    if upload.status is UploadStatus.FINISHED:
        if patch.body_bytes is None:
            raise UploadTooLarge("the upload is finished")
        if isinstance(patch.checksum, Checksum) and not patch.checksum.holds(patch.checksum.start(), ()):
            raise ChecksumMismatch
        return Acknowledge(upload=upload)
    largest = policy.largest_upload if upload.most_bytes is None else min(upload.most_bytes, policy.largest_upload)
    most_bytes = (largest if upload_length is None else upload_length) - upload.upload_offset
    return Append(
        upload_offset=upload.upload_offset,
        upload_length=upload_length,
        most_bytes=most_bytes if patch.checksum is None else min(most_bytes, policy.checksum_max_bytes),
        declares_length=upload.upload_length is None and upload_length is not None,
        checksum=patch.checksum,
    )


def _length_after(patch: Patch, upload: Upload) -> int | None:
    """Of the upload, with what the request declares."""
    if upload.upload_length is None and patch.declared_length is not None:
        if patch.declared_length < upload.upload_offset:
            raise InvalidHeader("Upload-Length", "lies below the offset of the upload")
        return patch.declared_length
    if patch.declared_length not in (None, upload.upload_length):
        raise InvalidHeader("Upload-Length", "the length of the upload is known and differs")
    return upload.upload_length


def decide_head(upload: Upload) -> Headers:
    """Headers of the answer to HEAD.

    Raises:
        UploadGone: 410. UploadBusy: 423, the upload is completing: its offset is about to become its length.

    Source: tus 1.0.0, Core Protocol, HEAD; Creation, POST; Expiration.
    """
    if upload.is_gone:
        raise UploadGone
    if upload.status is UploadStatus.COMPLETING:
        raise UploadBusy("the upload is being finished")
    # One without bytes is being finished, too: offset = length would say that it is.
    if upload.status is UploadStatus.UPLOADING and upload.upload_offset == upload.upload_length:
        raise UploadBusy("the upload is being finished")
    # The Server MUST always include Upload-Offset, even if it is 0 or the upload is complete.
    headers = [("Upload-Offset", str(upload.upload_offset))]
    if upload.upload_length is not None:
        headers.append(("Upload-Length", str(upload.upload_length)))
    else:
        # All HEAD responses MUST include it as long as the length is not known.
        headers.append(("Upload-Defer-Length", "1"))
    if upload.upload_metadata is not None:
        headers.append(("Upload-Metadata", upload.upload_metadata))
    headers.extend(expires_headers(upload))
    # The Server MUST prevent the client and/or proxies from caching the response.
    headers.append(("Cache-Control", "no-store"))
    return tuple(headers)


def patch_headers(upload: Upload) -> Headers:
    """Headers of 204 after PATCH. Source: tus 1.0.0, Core Protocol, PATCH; Expiration."""
    return (("Upload-Offset", str(upload.upload_offset)), *expires_headers(upload))

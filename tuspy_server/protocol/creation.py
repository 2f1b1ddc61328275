"""tus 1.0.0, Creation, with creation-with-upload and creation-defer-length: what a POST asks for."""

from __future__ import annotations

from dataclasses import dataclass

from tuspy_server.model import Upload
from tuspy_server.protocol.checksum import Checksum, TrailerChecksum
from tuspy_server.protocol.core import BODY_TYPE, Append, body_checksum
from tuspy_server.protocol.errors import Headers, InvalidHeader, UploadTooLarge, WrongContentType
from tuspy_server.protocol.expiration import expires_headers
from tuspy_server.protocol.fields import RequestHead
from tuspy_server.protocol.metadata import check_metadata
from tuspy_server.protocol.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Make an upload, and append what the POST carries.

    Attributes:
        upload_length: bytes; None where the client defers it.
        upload_metadata: raw, to be echoed exactly; None if not sent.
        carries_body: whether the request is one of creation-with-upload, though its body may be empty.
        most_bytes: the most bytes that the body may have.
        checksum: of the body.
    """

    upload_length: int | None
    upload_metadata: str | None
    carries_body: bool
    most_bytes: int
    checksum: Checksum | TrailerChecksum | None

    def append_of(self, most_bytes: int | None) -> Append:
        """Where the body goes, once the upload exists; `most_bytes`: the longest that it may become, where it has a
        limit of its own."""
        return Append(
            upload_offset=0,
            upload_length=self.upload_length,
            most_bytes=self.most_bytes if most_bytes is None else min(self.most_bytes, most_bytes),
            declares_length=False,
            checksum=self.checksum,
        )


def decide_create(head: RequestHead, policy: Policy, *, delivers_trailers: bool = False) -> Create:
    """Read a POST's head.

    Raises:
        InvalidHeader, InvalidMetadata: 400. UploadTooLarge: 413. HeadersTooLarge: 431. WrongContentType: 415, a body
            of another type than creation-with-upload's is refused rather than silently dropped.

    Source: tus 1.0.0, Creation, POST; Creation With Upload.
    """
    if head.one("Upload-Concat") is not None:
        raise InvalidHeader("Upload-Concat", "concatenation is not supported; see Tus-Extension")
    upload_length = head.integer("Upload-Length")
    defer_length = head.one("Upload-Defer-Length")
    # If the value is anything else than 1, the Server SHOULD return 400.
    if defer_length not in (None, "1"):
        raise InvalidHeader("Upload-Defer-Length", "must be 1")
    if (upload_length is None) == (defer_length is None):
        raise InvalidHeader("Upload-Length", "exactly one of Upload-Length and Upload-Defer-Length is required")
    if upload_length is not None:
        policy.check_length(upload_length)
    upload_metadata = head.one("Upload-Metadata")
    check_metadata(upload_metadata, policy.max_metadata_bytes)

    carries_body = head.media_type() == BODY_TYPE
    body_bytes = head.body_bytes
    if not carries_body and body_bytes != 0:
        raise WrongContentType
    most_bytes = policy.largest_upload if upload_length is None else upload_length
    if (body_bytes or 0) > most_bytes:
        raise UploadTooLarge("the body passes the length of the upload")
    checksum = body_checksum(head, policy, delivers_trailers=delivers_trailers) if carries_body else None
    return Create(
        upload_length=upload_length,
        upload_metadata=upload_metadata,
        carries_body=carries_body,
        most_bytes=most_bytes if checksum is None else min(most_bytes, policy.checksum_max_bytes),
        checksum=checksum,
    )


def creation_headers(location: str, upload: Upload, create: Create) -> Headers:
    """Headers of 201. `Upload-Offset` answers each creation-with-upload, 0 included: tus-js-client fails without it."""
    offset = (("Upload-Offset", str(upload.upload_offset)),) if create.carries_body else ()
    return (("Location", location), *offset, *expires_headers(upload))

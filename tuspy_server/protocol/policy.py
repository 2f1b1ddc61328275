"""What the operator's settings mean to the protocol, and what OPTIONS says of it."""

from __future__ import annotations

from dataclasses import dataclass

from tuspy_server.protocol.checksum import CHECKSUM_ALGORITHMS
from tuspy_server.protocol.errors import TUS_VERSION, Headers, UploadTooLarge
from tuspy_server.protocol.fields import MAX_INTEGER


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Limits and features, fixed for the life of a server.

    Attributes:
        tus_max_size: largest upload in bytes; None for no limit but 2^63 - 1.
        max_header_bytes: names and values of all request headers together.
        max_metadata_bytes: the raw `Upload-Metadata` value.
        checksum_max_bytes: largest body of a request with `Upload-Checksum`.
        expiration: whether unfinished uploads expire.
    """

    tus_max_size: int | None
    max_header_bytes: int
    max_metadata_bytes: int
    checksum_max_bytes: int
    expiration: bool

    def extensions(self, *, delivers_trailers: bool) -> tuple[str, ...]:
        """Names for `Tus-Extension`; checksum-trailer only where the body path delivers trailers."""
        always = ("creation", "creation-with-upload", "creation-defer-length", "termination", "checksum")
        trailer = ("checksum-trailer",) if delivers_trailers else ()
        return (*always, *trailer, *(("expiration",) if self.expiration else ()))

    @property
    def largest_upload(self) -> int:
        """The limit that holds in any case, in bytes."""
        return MAX_INTEGER if self.tus_max_size is None else self.tus_max_size

    def check_length(self, upload_length: int) -> None:
        """Refuse a length above the limit (tus 1.0.0, Creation: the Server MUST respond with 413).

        Raises:
            UploadTooLarge: 413.
        """
        if upload_length > self.largest_upload:
            raise UploadTooLarge("the upload is larger than Tus-Max-Size")

    def describe(self, *, delivers_trailers: bool = False) -> Headers:
        """Headers of OPTIONS (tus 1.0.0, Core Protocol, OPTIONS; Checksum)."""
        max_size = () if self.tus_max_size is None else (("Tus-Max-Size", str(self.tus_max_size)),)
        return (
            ("Tus-Version", TUS_VERSION),
            ("Tus-Extension", ",".join(self.extensions(delivers_trailers=delivers_trailers))),
            ("Tus-Checksum-Algorithm", ",".join(CHECKSUM_ALGORITHMS)),
            *max_size,
        )

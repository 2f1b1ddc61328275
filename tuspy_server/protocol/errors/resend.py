"""The state has moved on: look again, send again."""

from __future__ import annotations

from tuspy_server.protocol.errors.base import Headers, TusError


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

"""tus 1.0.0, Expiration: `Upload-Expires` for unfinished uploads."""

from __future__ import annotations

from tuspy_server.model import Upload, UploadStatus
from tuspy_server.protocol.errors import Headers
from tuspy_server.protocol.fields import http_date


def expires_headers(upload: Upload) -> Headers:
    """`Upload-Expires` where the upload is unfinished and can expire; nothing otherwise.

    Source: this header MUST be included in every PATCH response if the upload is going to expire; and in the response
    to POST where the expiry is known at creation. HEAD carries it too, so that a resuming client sees it (EXP-04).
    """
    if upload.expires_at is None or upload.status is not UploadStatus.UPLOADING:
        return ()
    return (("Upload-Expires", http_date(upload.expires_at)),)

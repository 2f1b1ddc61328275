"""tus 1.0.0, Termination: DELETE of unfinished and of finished uploads."""

from __future__ import annotations

from tuspy_server.model import Upload, UploadStatus
from tuspy_server.protocol.errors import UploadBusy, UploadGone


def decide_terminate(upload: Upload) -> None:
    """Whether the upload may be terminated now.

    Raises:
        UploadGone: 410, it is gone already (for all future requests the Server SHOULD respond with 404 or 410).
        UploadBusy: 423, it is completing; DELETE waits for the finish.
    """
    if upload.is_gone:
        raise UploadGone
    if upload.status is UploadStatus.COMPLETING:
        raise UploadBusy("the upload is being finished")

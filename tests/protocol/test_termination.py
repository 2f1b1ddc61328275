"""`protocol/termination.py`: which uploads DELETE takes."""

from __future__ import annotations

import pytest

from tests.protocol.samples import GONE_UPLOADS, finished, upload
from tuspy_server.model import Upload, UploadStatus
from tuspy_server.protocol.errors import UploadBusy, UploadGone
from tuspy_server.protocol.termination import decide_terminate


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(upload(), id="TERM-01"),
        pytest.param(upload(writer="a request"), id="TERM-04"),
        pytest.param(finished(), id="TERM-03"),
    ],
)
def test_unfinished_and_finished_uploads_may_be_terminated(wanted: Upload) -> None:
    decide_terminate(wanted)


@pytest.mark.parametrize("gone", GONE_UPLOADS, ids=lambda gone: gone.status)
def test_what_is_gone_is_410(gone: Upload) -> None:
    """TERM-02, EXP-05."""
    with pytest.raises(UploadGone):
        decide_terminate(gone)


def test_an_upload_being_finished_is_423() -> None:
    with pytest.raises(UploadBusy):
        decide_terminate(upload(status=UploadStatus.COMPLETING))

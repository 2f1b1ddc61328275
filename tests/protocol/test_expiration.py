"""`protocol/expiration.py`: who is told when an upload expires."""

from __future__ import annotations

import pytest

from tests.protocol.samples import finished, upload
from tuspy_server.model import Upload, UploadStatus
from tuspy_server.protocol.errors import Headers
from tuspy_server.protocol.expiration import expires_headers


@pytest.mark.parametrize(
    ("shown", "headers"),
    [
        pytest.param(upload(), (("Upload-Expires", "Thu, 05 Mar 2026 13:00:00 GMT"),), id="EXP-01 EXP-02 EXP-03"),
        pytest.param(upload(expires_at=None), (), id="never expires"),
        pytest.param(finished(), (), id="EXP-07"),
        pytest.param(finished(expires_at=upload().expires_at), (), id="EXP-07 whatever the row says"),
        pytest.param(upload(status=UploadStatus.COMPLETING), (), id="being finished"),
    ],
)
def test_only_unfinished_uploads_expire(shown: Upload, headers: Headers) -> None:
    assert expires_headers(shown) == headers

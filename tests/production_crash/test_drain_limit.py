"""A drain that passes its limit, because the bucket does not answer."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final

import pytest

from tests.production_crash.production import Production, persevere
from tests.support.client import CONNECTION_LOST, TusUpload, make_bytes, sha256
from tests.support.process import MEBIBYTE, wait_for

CONTENT: Final = make_bytes(12 * MEBIBYTE, seed=6)
FIRST: Final = 1000
CONNECTIONS: Final = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.mark.parametrize(
    ("operation", "length"),
    [("PutObject", MEBIBYTE), ("UploadPart", len(CONTENT)), ("CompleteMultipartUpload", len(CONTENT))],
)
def test_a_bucket_that_hangs_does_not_hold_the_exit(production: Production, operation: str, length: int) -> None:
    """C11 (I1, I3, I6, I8): past its limit the process ends all the same, and takes its connections with it; what was
    shown is kept, whatever becomes of the call."""
    content = CONTENT[:length]
    node = production.node(drain_seconds=1, storage_seconds=60)
    node.start()
    upload = TusUpload.create(node.url, length, body=content[:FIRST])
    hold = production.strict.hold(operation, key_prefix=f"{production.prefix}{upload.id}")

    def send() -> None:
        with suppress(*CONNECTION_LOST):
            # uvicorn's own 500 for a task that it has cancelled, which clients take as they take 503.
            assert upload.patch(content[FIRST:]).status in (423, 500, 503)

    sending = threading.Thread(target=send)
    sending.start()
    hold.reached()
    assert node.terminate(30) in (0, 1)
    sending.join()
    wait_for(lambda: not production.sql(CONNECTIONS), "the database has no connection left")
    node.start()
    assert upload.head() >= FIRST
    hold.release()  # and the call lands, of a process that is no more
    hold.done()
    persevere(upload, content)
    assert sha256(upload.download()) == sha256(content)
    production.assert_finished_once(upload)
    production.assert_nothing_left()

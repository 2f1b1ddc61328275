"""kill -9 before and after each step that PostgreSQL, the storage and S3 take; a restart and a resume mend all."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import pytest

from tests.crash.failpoint_server import (
    ASSEMBLY_METHODS,
    FAILPOINT_SERVER,
    FAILPOINT_VARIABLE,
    OUTBOX_METHODS,
    PRODUCTION_BLOB_METHODS,
    UPLOAD_METHODS,
    WRITER_METHODS,
)
from tests.production_crash.production import PART_BYTES, Production
from tests.support.client import CONNECTION_LOST, OpenPatch, TusUpload, make_bytes, request, sha256
from tests.support.process import MEBIBYTE, wait_for

CONTENT: Final = make_bytes(16 * MEBIBYTE, seed=6)
SMALL: Final = make_bytes(1024, seed=7)
FIRST: Final = PART_BYTES + MEBIBYTE
SECOND: Final = 3 * PART_BYTES
"""The second writer takes over inside the second part, so that it and the third are contested: pieces at first."""

S3_CALLS: Final = (
    *("put_object", "create_multipart", "upload_part", "copy_part", "complete_multipart", "abort_multipart"),
    *("list_multiparts", "list_objects", "delete_objects"),
)


def both_sides(owner: str, methods: tuple[str, ...]) -> list[str]:
    return [f"{owner}.{method}:{side}:1" for method in methods for side in ("before", "after")]


EVERY_STEP: Final = [
    *both_sides("uploads", UPLOAD_METHODS),
    *both_sides("uploads", tuple(method for method in ASSEMBLY_METHODS if method != "adopt")),
    *both_sides("outbox", OUTBOX_METHODS),
    *both_sides("blobs", PRODUCTION_BLOB_METHODS),
    *both_sides("writer", WRITER_METHODS),
    *both_sides("s3", S3_CALLS),
]
LATER_STEPS: Final = [
    "uploads.commit:before:3",
    "uploads.commit:after:3",
    "uploads.finish:before:2",
    "uploads.finish:after:2",
    "writer.finish:after:2",
    "s3.put_object:after:2",
    "s3.create_multipart:before:2",
    "s3.upload_part:before:2",
    "s3.upload_part:after:2",
    "s3.copy_part:after:2",
    "s3.list_parts:before:1",  # which finds that the aborted one is gone, and so has no after
]
IN_SHORT: Final = {
    "uploads.commit:after:3",
    "blobs.assemble:after:1",
    "s3.create_multipart:after:2",
    "s3.complete_multipart:after:1",
}
TWICE: Final = [
    ("uploads.complete:after:1", "uploads.adopt:after:1"),
    ("s3.copy_part:after:1", "s3.complete_multipart:before:1"),
    ("s3.complete_multipart:after:1", "s3.head_object:before:1"),
    ("blobs.assemble:after:1", "uploads.finish:after:1"),
    ("blobs.clean:before:1", "uploads.cleaned:before:1"),
]


@dataclass(slots=True)
class Client:
    """What the client has done and knows; it outlives the server."""

    kept: TusUpload | None = None
    small: TusUpload | None = None
    doomed: list[TusUpload] = field(default_factory=list)


def use_everything(client: Client, creation_url: str) -> None:
    """A small object, a body that is refused, a termination, and parts of which some are contested."""
    client.small = TusUpload.create(creation_url, len(SMALL), body=SMALL)
    refused = TusUpload.create(creation_url, len(CONTENT))
    client.doomed.append(refused)
    wrong = {"Upload-Checksum": "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "Upload-Offset": "0"}
    fields = {**wrong, "Content-Type": "application/offset+octet-stream"}
    assert request("PATCH", refused.url, fields, SMALL).status == 460
    doomed = TusUpload.create(creation_url, len(CONTENT))
    client.doomed.append(doomed)
    assert doomed.patch(CONTENT[:FIRST]).status == 204
    terminate(doomed)
    client.kept = upload = TusUpload.create(creation_url, len(CONTENT))
    with OpenPatch(upload, len(CONTENT)) as patch:
        patch.send(CONTENT[:FIRST])
        wait_for(lambda: upload.head() == FIRST, "HEAD shows what was sent")
        assert upload.patch(CONTENT[FIRST:SECOND]).status == 204
    assert upload.patch(CONTENT[SECOND:]).status == 204


def terminate(upload: TusUpload) -> None:
    """Also once more after a crash: it may have been done, and its answer lost."""
    assert upload.delete() in (204, 410)


def is_done(upload: TusUpload, content: bytes) -> bool:
    """HEAD is 423 while the dead node's work is taken over; whatever it shows is never less than before."""
    answer = request("HEAD", upload.url)
    assert answer.status in (200, 423), answer
    return answer.status == 200 and upload.acknowledge(int(answer.fields["upload-offset"])) <= len(content)


@pytest.mark.parametrize(
    "failpoints",
    [
        pytest.param((step,), id=step, marks=[] if step in IN_SHORT else [pytest.mark.long])
        for step in [*EVERY_STEP, *LATER_STEPS]
    ]
    + [pytest.param(steps, id="+".join(steps), marks=pytest.mark.long) for steps in TWICE],
)
def test_a_kill_at_any_step_loses_nothing(production: Production, failpoints: tuple[str, ...]) -> None:
    """C01, C02, C03, C04, C05, C06, C07, C08, C12 (I1, I2, I3, I6, I7, I8)."""
    node = production.node(FAILPOINT_SERVER, commit_interval_seconds=0.05)
    node.start(**{FAILPOINT_VARIABLE: failpoints[0]})
    client = Client()
    with suppress(*CONNECTION_LOST):
        use_everything(client, node.url)
    assert node.wait_exit() == -signal.SIGKILL, "the failpoint was not reached"
    for failpoint in failpoints[1:]:
        node.launch(**{FAILPOINT_VARIABLE: failpoint})
        assert node.wait_exit() == -signal.SIGKILL, "the later failpoint was not reached"

    node.start()
    upload = client.kept or TusUpload.create(node.url, len(CONTENT))
    known = upload.acknowledged
    wait_for(lambda: is_done(upload, CONTENT), "HEAD shows an offset")
    if upload.acknowledged > known:
        # The commit was made and its answer lost: the same bytes once more must not be appended (C03, I4).
        # 423 for as long as the row names a writer of the dead node, which might move the offset for all that is known.
        assert upload.patch(CONTENT[known:], offset=known).status in (409, 423)
    upload.finish(CONTENT)
    assert sha256(upload.download()) == sha256(CONTENT)
    small = client.small or TusUpload.create(node.url, len(SMALL))
    small.finish(SMALL)
    assert small.download() == SMALL
    for doomed in client.doomed:
        terminate(doomed)
    production.assert_finished_once(upload, small)
    # Uploads whose URL the client never learned expire.
    production.sql("UPDATE uploads SET expires_at = now() - interval '1 second' WHERE status = 'uploading'")
    wait_for(lambda: not production.sql("SELECT FROM uploads WHERE status = 'uploading'"), "the unknown expire")
    production.assert_nothing_left()
    assert {production.prefix + upload.id, production.prefix + small.id} <= production.keys


@pytest.mark.long
@pytest.mark.parametrize(
    "failpoint",
    [
        *both_sides("uploads", ("expire", "cleaned")),
        *both_sides("blobs", ("clean",)),
        *both_sides("s3", ("delete_objects", "abort_multipart", "list_objects", "list_multiparts", "head_object")),
    ],
)
def test_a_sweep_that_is_killed_is_done_by_the_next(production: Production, failpoint: str) -> None:
    """C12 (I8): an expired upload leaves neither part nor piece, wherever its sweep was killed."""
    node = production.node(FAILPOINT_SERVER, sweep_interval_seconds=3600).start()
    upload = TusUpload.create(node.url, len(CONTENT), body=CONTENT[:FIRST])
    assert f"multipart:{production.prefix}{upload.id}" in production.keys
    with OpenPatch(upload, len(CONTENT) - FIRST) as patch:
        patch.send(CONTENT[FIRST : FIRST + 1000])
        wait_for(lambda: upload.head() == FIRST + 1000, "it has arrived")
        node.kill()
    production.sql("UPDATE uploads SET expires_at = now() - interval '1 second', writer = NULL")

    node.launch(**{FAILPOINT_VARIABLE: failpoint})
    assert node.wait_exit() == -signal.SIGKILL, "the failpoint was not reached"

    node.settings["sweep_interval_seconds"] = 0.5
    node.start()
    production.assert_nothing_left()
    assert production.keys == set()
    assert request("HEAD", upload.url).status == 410

"""The server is killed before and after each step that storage and database take; a restart and a resume mend all."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.crash.failpoint_server import (
    BLOB_METHODS,
    FAILPOINT_SERVER,
    FAILPOINT_VARIABLE,
    OUTBOX_METHODS,
    UPLOAD_METHODS,
)
from tests.support.client import CONNECTION_LOST, OpenPatch, TusUpload, make_bytes, request, sha256
from tests.support.events import EVENTS_VARIABLE, finished_event_ids
from tests.support.fixtures import MakeServer
from tests.support.process import ServerProcess, wait_for

CONTENT = make_bytes(3 << 20, seed=3)
THIRD = len(CONTENT) // 3

EVERY_STEP = [
    f"{method}:{side}:1"
    for method in (*UPLOAD_METHODS, *OUTBOX_METHODS, *BLOB_METHODS, "sync")
    for side in ("before", "after")
]
LATER_CALLS = ["create:after:2", "commit:before:2", "commit:after:2", "sync:after:2", "open_writer:after:3"]

STEPS_OF_A_SWEEP = ["expire", "clean", "cleaned"]


@dataclass(slots=True)
class Client:
    """What the client has done and knows; it outlives the server."""

    kept: TusUpload | None = None
    ended: list[TusUpload] = field(default_factory=list)


def use_everything(client: Client, creation_url: str) -> None:
    """A body with a pause in it, a HEAD, a POST with a body, a finish, a termination: every step of the stores."""
    client.kept = upload = TusUpload.create(creation_url, len(CONTENT))
    with OpenPatch(upload, 2 * THIRD) as patch:
        patch.send(CONTENT[:THIRD])
        wait_for(lambda: upload.head() == THIRD, "HEAD shows what was sent")
        patch.send(CONTENT[THIRD : 2 * THIRD])
        answer = patch.answer()
        if answer is None:
            raise ConnectionResetError
        assert answer.status == 204, answer
        upload.acknowledge(2 * THIRD)
    assert upload.patch(CONTENT[2 * THIRD :]).status == 204
    # A length above the body's leaves it unfinished, which is what a termination usually ends.
    doomed = TusUpload.create(creation_url, 2 * THIRD, body=CONTENT[:THIRD])
    client.ended.append(doomed)
    terminate(doomed)


def terminate(upload: TusUpload) -> None:
    """Also once more after a crash: it may have been done, and its answer lost."""
    assert upload.delete() in (204, 410)


def short_or_long(failpoint: str) -> object:
    """Of each step one side is for `make test`: after it is done, and before anybody is told."""
    return pytest.param(failpoint, marks=[] if ":after:" in failpoint else [pytest.mark.long])


def files_of_live_rows(server: ServerProcess) -> set[str]:
    path = server.data / "tuspy.sqlite3"
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return {
            row[0] for row in connection.execute("SELECT id FROM uploads WHERE status IN ('uploading', 'finished')")
        }


@pytest.mark.parametrize("failpoint", [short_or_long(step) for step in (*EVERY_STEP, *LATER_CALLS)])
def test_a_kill_at_any_step_loses_nothing(make_server: MakeServer, tmp_path: Path, failpoint: str) -> None:
    """C02, C03, C06, C07, C12, D03 (I1, I2, I3, I6, I7, I8)."""
    events = tmp_path / "events"
    variables = {EVENTS_VARIABLE: str(events)}
    server = make_server(program=FAILPOINT_SERVER, commit_interval_seconds=0.02)
    server.start(**variables, **{FAILPOINT_VARIABLE: failpoint})
    client = Client()
    with suppress(*CONNECTION_LOST):
        use_everything(client, server.url)
    assert server.wait_exit() == -signal.SIGKILL, "the failpoint was not reached"

    server.start(**variables)
    upload = client.kept or TusUpload.create(server.url, len(CONTENT))
    known = upload.acknowledged
    if upload.head() > known:
        # The commit was made and its answer lost: the same bytes once more must not be appended (C03, I4).
        assert upload.patch(CONTENT[known:], offset=known).status == 409
    upload.finish(CONTENT)
    assert sha256(upload.download()) == sha256(CONTENT)
    for doomed in client.ended:
        terminate(doomed)
    ended = {doomed.id for doomed in client.ended}
    wait_for(lambda: not ended & server.files, "terminated uploads leave no file")
    wait_for(lambda: upload.id in finished_event_ids(events), "the finished event reaches the hook")
    assert {key: len(ids) for key, ids in finished_event_ids(events).items()} == {upload.id: 1}
    wait_for(lambda: server.files <= files_of_live_rows(server), "no file without a live row")


@pytest.mark.parametrize(
    "failpoint", [short_or_long(f"{step}:{side}:1") for step in STEPS_OF_A_SWEEP for side in ("before", "after")]
)
def test_a_sweep_that_is_killed_is_done_by_the_next(make_server: MakeServer, failpoint: str) -> None:
    """C12 (I8): an expired upload leaves no file, wherever its sweep was killed."""
    server = make_server(
        program=FAILPOINT_SERVER, expires_seconds=0.3, expires_cap_seconds=1, sweep_interval_seconds=3600
    ).start()
    upload = TusUpload.create(server.url, 2 * THIRD, body=CONTENT[:THIRD])
    wait_for(lambda: request("HEAD", upload.url).status == 410, "the upload expires")
    assert upload.acknowledged == THIRD
    assert server.files == {upload.id}
    server.kill()

    server.launch(**{FAILPOINT_VARIABLE: failpoint})
    assert server.wait_exit() == -signal.SIGKILL, "the failpoint was not reached"

    server.start()
    wait_for(lambda: not server.files, "the next sweep removes the file")
    assert request("HEAD", upload.url).status == 410

"""`--workers N` on PostgreSQL and a bucket: processes that serve one port, and that an upload moves between.

Which of them takes a connection is the kernel's choice; a test that wants a certain one stops the others meanwhile.
"""

from __future__ import annotations

import http.client
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.production.fixtures import MakeNode, make_node, pair
from tests.production.pair import Pair, ProductionServer
from tests.support import cli
from tests.support.client import TUS, OpenPatch, TusUpload, make_bytes, sha256
from tests.support.process import MEBIBYTE, wait_for
from tests.support.strict_s3.remote import StrictProcess
from trial.gateways import Gateway

__all__ = ["make_node", "pair"]

PART_BYTES = 5 * MEBIBYTE
CONTENT = make_bytes(11 * MEBIBYTE + 11, seed=7)


@pytest.fixture
def gateway(rclone: Gateway) -> Gateway:
    """One is enough."""
    return rclone


@pytest.fixture
def parent(make_node: MakeNode) -> ProductionServer:
    """Commits come seldom: what another process shows of a running body, it has asked for."""
    return make_node(workers=2, s3_part_bytes=PART_BYTES, commit_interval_seconds=60, node_seconds=4).start()


def workers_of(parent: ProductionServer) -> list[psutil.Process]:
    children = psutil.Process(parent.pid).children()
    return [child for child in children if any("spawn_main" in word for word in child.cmdline())]


@contextmanager
def alone(parent: ProductionServer, chosen: psutil.Process) -> Iterator[None]:
    """Whoever connects is served by the chosen worker."""
    with ExitStack() as stack:
        for worker in workers_of(parent):
            if worker != chosen:
                worker.suspend()
                stack.callback(worker.resume)
        yield


@contextmanager
def connected(parent: ProductionServer, worker: psutil.Process) -> Iterator[http.client.HTTPConnection]:
    """A connection to one worker, which stays with it."""
    with closing(http.client.HTTPConnection("127.0.0.1", parent.port, timeout=30)) as connection:
        with alone(parent, worker):
            connection.request("GET", "/livez")
            connection.getresponse().read()
        yield connection


@contextmanager
def patching(parent: ProductionServer, worker: psutil.Process, upload: TusUpload) -> Iterator[OpenPatch]:
    """A PATCH for all that is missing, at one worker, which has seen its first byte."""
    with alone(parent, worker):
        before = connections_of(worker)
        patch = OpenPatch(upload, len(CONTENT) - upload.acknowledged)
        wait_for(lambda: connections_of(worker) > before, "the worker takes the connection")
    with patch:
        yield patch


def connections_of(worker: psutil.Process) -> int:
    return sum(row.status == psutil.CONN_ESTABLISHED for row in worker.net_connections("tcp"))


def head(connection: http.client.HTTPConnection, upload: TusUpload) -> int:
    connection.request("HEAD", "/files/" + upload.id, headers=TUS)
    response = connection.getresponse()
    response.read()
    assert response.status == 200, response.status
    return upload.acknowledge(int(response.headers["Upload-Offset"]))


def test_an_upload_moves_with_every_request(parent: ProductionServer, strict_process: StrictProcess) -> None:
    """I1, I2, I4: each PATCH comes to the worker that has not had the last one, also in the middle of a part."""
    assert strict_process.calls["ListParts"] == 1, "the bucket is probed once, whatever the number of workers"
    workers = workers_of(parent)
    assert len(workers) == 2
    upload = TusUpload.create(parent.url, len(CONTENT))
    turn = 0
    while upload.acknowledged < len(CONTENT):
        with connected(parent, workers[turn % 2]) as connection:
            start = upload.acknowledged
            body = CONTENT[start : start + 3 * MEBIBYTE]
            fields = {**TUS, "Upload-Offset": str(start), "Content-Type": "application/offset+octet-stream"}
            connection.request("PATCH", "/files/" + upload.id, body, fields)
            response = connection.getresponse()
            assert response.status == 204, response.read()
            upload.acknowledge(int(response.headers["Upload-Offset"]))
        turn += 1
    assert turn == 4
    assert sha256(upload.download()) == sha256(CONTENT)


@pytest.mark.long
def test_head_at_another_worker_shows_what_a_running_patch_has_brought(parent: ProductionServer) -> None:
    """I4, I12: asked through PostgreSQL, the writer commits what it holds."""
    one, other = workers_of(parent)
    upload = TusUpload.create(parent.url, len(CONTENT))
    with patching(parent, one, upload) as patch, connected(parent, other) as connection:
        patch.send(CONTENT[:MEBIBYTE])
        wait_for(lambda: head(connection, upload) == MEBIBYTE, "HEAD shows the bytes")
        patch.send(CONTENT[MEBIBYTE:])
        answer = patch.answer()
        assert answer is not None
        assert answer.status == 204
        assert head(connection, upload) == len(CONTENT)
    assert sha256(upload.download()) == sha256(CONTENT)


def test_a_killed_worker_is_replaced_and_its_uploads_go_on(parent: ProductionServer) -> None:
    """C01 (I1, I2, I12)."""
    one, other = workers_of(parent)
    upload = TusUpload.create(parent.url, len(CONTENT))
    with patching(parent, one, upload) as patch, connected(parent, other) as connection:
        patch.send(CONTENT[: 6 * MEBIBYTE])
        wait_for(lambda: head(connection, upload) == 6 * MEBIBYTE, "HEAD shows the bytes")
        one.kill()
        assert head(connection, upload) == 6 * MEBIBYTE
    wait_for(lambda: {worker.pid for worker in workers_of(parent)} - {one.pid, other.pid} != set(), "a successor")
    upload.finish(CONTENT)
    assert sha256(upload.download()) == sha256(CONTENT)
    assert [event["pid"] for event in parent.log_events() if event["event"] == "server.worker.died"] == [one.pid]


def test_sigterm_drains_every_worker(parent: ProductionServer) -> None:
    """C10 (I1): bodies under way at each are committed as far as they came, and the parent exits 0."""
    workers = workers_of(parent)
    with ExitStack() as stack:
        uploads = [TusUpload.create(parent.url, len(CONTENT)) for _ in workers]
        patches = [
            stack.enter_context(patching(parent, worker, upload))
            for worker, upload in zip(workers, uploads, strict=True)
        ]
        for patch in patches:
            patch.send(CONTENT[:MEBIBYTE])
        for upload in uploads:
            wait_for(lambda: upload.head() == MEBIBYTE, "HEAD shows the bytes")  # noqa: B023  # called at once
        parent.begin_to_terminate()
        answers = [patch.answer() for patch in patches]
        assert [answer and answer.status for answer in answers] == [503, 503]
        assert parent.wait_exit() == 0
    assert not any(worker.is_running() for worker in workers)
    parent.start()
    for upload in uploads:
        assert upload.head() == MEBIBYTE
        upload.finish(CONTENT)
        assert sha256(upload.download()) == sha256(CONTENT)


@pytest.mark.long
def test_a_killed_parent_takes_its_workers_with_it(parent: ProductionServer) -> None:
    """Nobody else would end them, and the port would stay taken."""
    workers = workers_of(parent)
    parent.kill()
    wait_for(lambda: not any(worker.is_running() for worker in workers), "the workers end")
    parent.start()
    assert {worker.pid for worker in workers_of(parent)}.isdisjoint(worker.pid for worker in workers)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_workers_without_work_end_at_once(parent: ProductionServer, number: signal.Signals) -> None:
    parent._signal(number)
    assert parent.wait_exit() == 0


@pytest.mark.long
def test_a_start_that_fails_is_one_line(pair: Pair, tmp_path: Path) -> None:
    """A worker says why, the parent tells it, and none is left behind."""
    variables = {"TUSPY_DATABASE_URL": "postgresql://x:hush@127.0.0.1:1/none", **pair.variables}
    result = cli.run(tmp_path, "--workers", "2", "--port", "0", *pair.flags[2:], variables=variables)
    assert (result.status, result.stdout) == (1, "")
    [line] = [line for line in result.stderr.splitlines() if not line.startswith("{")]
    assert line.startswith("tuspy-server: the database at 127.0.0.1:1 is not available")
    assert "hush" not in result.stderr

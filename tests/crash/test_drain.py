"""SIGTERM: bodies under way are committed as far as they came, and the process exits 0 within its limit."""

from __future__ import annotations

import http.client
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.crash.failpoint_server import FAILPOINT_SERVER, HANG_VARIABLE
from tests.support.client import CONNECTION_LOST, Answer, OpenPatch, TusUpload, make_bytes, request, sha256
from tests.support.events import EVENTS_VARIABLE, STALL_VARIABLE, finished_event_ids, seen_events
from tests.support.fixtures import MakeServer
from tests.support.process import MEBIBYTE, wait_for
from tuspy_server.edge.server import CLOSE_SECONDS

LENGTH = 8 * MEBIBYTE
CONTENT = make_bytes(LENGTH, seed=8)
SENT = 300_000
SLOW_BODIES = 5
DRAIN_SECONDS = 15.0
EXIT_SECONDS = DRAIN_SECONDS + CLOSE_SECONDS + 15.0
"""After the limit uvicorn cancels, the stores close, a watchdog ends what still hangs; with room for a busy machine."""

CUT_OFF = 1
"""The exit code of that watchdog (tests/edge/test_server.py): something hung, and a traceback says what."""


def says_come_again(answer: Answer | None) -> bool:
    """None: the connection is closed, which a client takes as the same."""
    return answer is None or (answer.status == 503 and int(answer.fields["retry-after"]) >= 0)


def wait_until_read(upload: TusUpload) -> None:
    """A HEAD asks the running body to commit what it has."""
    wait_for(lambda: upload.head() == SENT, "the server has read all that was sent")


def test_slow_bodies_are_kept_and_their_clients_told_to_come_again(make_server: MakeServer) -> None:
    """C10 (I1, I4, I12): every byte that the server had read is there after the restart."""
    server = make_server(drain_seconds=DRAIN_SECONDS).start()
    uploads = [TusUpload.create(server.url, LENGTH) for _ in range(SLOW_BODIES)]
    with ExitStack() as stack:
        patches = [stack.enter_context(OpenPatch(upload, LENGTH)) for upload in uploads]
        for upload, patch in zip(uploads, patches, strict=True):
            patch.send(CONTENT[:SENT])
            wait_until_read(upload)
        began = time.monotonic()
        server.begin_to_terminate()
        answers = [patch.answer() for patch in patches]
        assert server.wait_exit(EXIT_SECONDS) == 0
        # Bodies that go nowhere must not use up the limit.
        assert time.monotonic() - began < DRAIN_SECONDS
    assert all(says_come_again(answer) for answer in answers)
    assert any(answer is not None for answer in answers), "nobody was told"
    server.start()
    for upload in uploads:
        assert upload.head() == SENT
        upload.finish(CONTENT)
        assert sha256(upload.download()) == sha256(CONTENT)


def test_bodies_that_go_on_are_cut_where_they_are(make_server: MakeServer) -> None:
    """C10 (I1, I3): clients that send on and on do not hold the exit, and lose nothing that was shown."""
    server = make_server(drain_seconds=DRAIN_SECONDS).start()
    uploads = [TusUpload.create(server.url, LENGTH) for _ in range(SLOW_BODIES)]
    sent: dict[str, int] = {}

    def send_on(upload: TusUpload) -> None:
        with OpenPatch(upload, LENGTH) as patch, suppress(*CONNECTION_LOST):
            while patch.sent < LENGTH:
                sent[upload.id] = patch.sent
                patch.send(CONTENT[patch.sent : patch.sent + 4096])
                time.sleep(0.005)  # a slow line

    threads = [threading.Thread(target=send_on, args=(upload,)) for upload in uploads]
    for thread in threads:
        thread.start()
    wait_for(lambda: all(upload.head() > 50_000 for upload in uploads), "all are on their way")
    assert server.terminate(EXIT_SECONDS) == 0
    for thread in threads:
        thread.join(30)
    server.start()
    for upload in uploads:
        # TusUpload.head asserts that it is no less than what was shown before.
        assert upload.head() <= sent[upload.id] + 4096
        upload.finish(CONTENT)
        assert sha256(upload.download()) == sha256(CONTENT)


def test_idle_connections_do_not_delay_the_exit(make_server: MakeServer) -> None:
    """C10 (I12)."""
    server = make_server(drain_seconds=60).start()
    idle = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=10) for _ in range(20)]
    for connection in idle:
        connection.request("OPTIONS", "/files/")
        connection.getresponse().read()
    # One more that has sent half a head, and never will send the rest.
    half = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    half.connect()
    half.sock.sendall(b"PATCH /files/ HT")
    try:
        assert server.terminate(40) == 0
    finally:
        for connection in [*idle, half]:
            connection.close()


def test_what_was_created_while_it_began_to_drain_is_there_afterwards(make_server: MakeServer) -> None:
    """C10 (I1): until the port is closed a POST is either carried out for good or told to come again."""
    server = make_server(drain_seconds=DRAIN_SECONDS).start()
    created: list[TusUpload] = []
    server.begin_to_terminate()
    with suppress(*CONNECTION_LOST):
        while (answer := request("POST", server.url, {"Upload-Length": "5"})).status == 201:
            created.append(TusUpload(urljoin(server.url, answer.fields["location"])))
        assert says_come_again(answer)
    assert server.wait_exit(EXIT_SECONDS) == 0
    server.start()
    for upload in created:
        upload.finish(b"hello")


def test_a_second_signal_changes_nothing(make_server: MakeServer) -> None:
    """C10: supervisors repeat themselves; the exit is still a clean one."""
    server = make_server(drain_seconds=DRAIN_SECONDS).start()
    upload = TusUpload.create(server.url, LENGTH)
    with OpenPatch(upload, LENGTH) as patch:
        patch.send(CONTENT[:SENT])
        wait_until_read(upload)
        server.begin_to_terminate()
        server.begin_to_terminate()
        assert server.wait_exit(EXIT_SECONDS) == 0
    server.start()
    assert upload.head() == SENT


@pytest.mark.long
@pytest.mark.parametrize("stall", ["task", "thread"])
def test_a_hook_that_never_returns_does_not_hold_the_exit(make_server: MakeServer, tmp_path: Path, stall: str) -> None:
    """C11 (I6, I12): its event is delivered by the next start."""
    events = tmp_path / "events"
    variables = {EVENTS_VARIABLE: str(events)}
    server = make_server(program=FAILPOINT_SERVER, drain_seconds=1).start(**variables, **{STALL_VARIABLE: stall})
    upload = TusUpload.create(server.url, 5, body=b"hello")
    wait_for(lambda: len(seen_events(events)) == 1, "the hook is called")
    # A thread cannot be cancelled: the interpreter waits for it, and the watchdog does not.
    assert server.terminate(EXIT_SECONDS) == {"task": 0, "thread": CUT_OFF}[stall]
    server.start(**variables)
    wait_for(lambda: len(seen_events(events)) == 2, "the hook is called again")
    assert {key: len(ids) for key, ids in finished_event_ids(events).items()} == {upload.id: 1}


@pytest.mark.long
def test_a_disk_that_hangs_does_not_hold_the_exit(make_server: MakeServer) -> None:
    """C11 (I1, I3): past its limit the process ends all the same, and what was shown before is kept."""
    server = make_server(program=FAILPOINT_SERVER, drain_seconds=1).start(**{HANG_VARIABLE: "2"})
    upload = TusUpload.create(server.url, LENGTH)
    assert upload.patch(CONTENT[:SENT]).status == 204
    with OpenPatch(upload, LENGTH - SENT) as patch:
        patch.send(CONTENT[SENT : 2 * SENT])
        wait_for(lambda: server.file_of(upload.id).stat().st_size == 2 * SENT, "the file has it all")
        assert server.terminate(EXIT_SECONDS) == CUT_OFF
    server.start()
    assert SENT <= upload.head() <= 2 * SENT
    upload.finish(CONTENT)
    assert sha256(upload.download()) == sha256(CONTENT)

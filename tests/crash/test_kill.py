"""The server is killed at random instants, again and again; nothing that it had acknowledged is lost."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.client import CONNECTION_LOST, OpenPatch, TusUpload, make_bytes, sha256
from tests.support.events import EVENTS_VARIABLE, HOOKED_APP, finished_event_ids
from tests.support.fixtures import MakeServer
from tests.support.process import MEBIBYTE, wait_for

SEED = int(os.environ.get("KILL_SEED") or random.SystemRandom().randrange(2**32))
"""Of every random choice in this file; a failing run prints it, and `KILL_SEED=…` repeats the choices."""

KILLS = (int(os.environ.get("KILL_COUNT") or 8), 24)
"""In `make test`, and in `make test-long`."""

LENGTH = 200 * MEBIBYTE
BLOCK = 256 << 10
LONGEST_LIFE_SECONDS = 0.4


class Life:
    """What the client does between two kills, in a thread; what ends it is the server's death."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,))

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except CONNECTION_LOST:
            pass
        except BaseException as error:
            self._error = error

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error


def send_in_one_request(upload: TusUpload, content: bytes, budget: int) -> None:
    """One PATCH for all that is left, of which `budget` bytes are sent; now and then somebody asks how far it is."""
    with OpenPatch(upload, len(content) - upload.acknowledged) as patch:
        start = upload.acknowledged
        while patch.sent < budget:
            at = start + patch.sent
            patch.send(content[at : min(at + BLOCK, start + budget)])
            if patch.sent % (8 * BLOCK) == 0:
                upload.head()
        patch.answer()


def send_in_chunks(upload: TusUpload, content: bytes, budget: int) -> None:
    """PATCH after PATCH, each acknowledged by its 204."""
    stop = upload.acknowledged + budget
    while upload.acknowledged < stop:
        answer = upload.patch(content[upload.acknowledged : min(upload.acknowledged + 4 * BLOCK, stop)])
        assert answer.status == 204, answer


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kills", [KILLS[0], pytest.param(KILLS[1], marks=pytest.mark.long)])
def test_an_upload_survives_being_killed_at_random_instants(make_server: MakeServer, kills: int) -> None:
    """C01, C09 (I1, I2, I3): every offset that HEAD or a 204 showed stays; the object is what was sent."""
    print(f"KILL_SEED={SEED} KILL_COUNT={kills}")
    chance = random.Random(SEED)
    content = make_bytes(LENGTH, SEED)
    server = make_server(commit_interval_seconds=0.05).start()
    upload = TusUpload.create(server.url, LENGTH)
    offsets: list[int] = []
    for kills_left in range(kills, 0, -1):
        offsets.append(upload.head())
        # At most a share of what is left, so that there is something left to send at the last kill.
        budget = chance.randint(1, 2 * (LENGTH - upload.acknowledged) // (kills_left + 1))
        send = chance.choice((send_in_one_request, send_in_chunks))
        life = Life(partial(send, upload, content, budget))
        life.begin()
        time.sleep(chance.uniform(0, LONGEST_LIFE_SECONDS))  # the random instant itself
        server.kill()
        life.end()
        server.start()
    print(f"offsets after each kill: {offsets[1:]}")
    assert len(set(offsets)) > kills // 4, "the kills met no upload that moved"
    upload.finish(content)
    assert sha256(upload.download()) == sha256(content)
    assert server.files == {upload.id}


@pytest.mark.timeout(240)
def test_no_finished_event_is_lost_to_kills_at_random_instants(make_server: MakeServer, tmp_path: Path) -> None:
    """C06, C07, C09 (I6, I7): each finished upload's event reaches the hook at least once, always with the same id."""
    print(f"KILL_SEED={SEED}")
    chance = random.Random(SEED)
    events = tmp_path / "events"
    server = make_server(program=HOOKED_APP).start(**{EVENTS_VARIABLE: str(events)})
    uploads: list[TusUpload] = []

    def upload_small_ones() -> None:
        while True:
            upload = TusUpload.create(server.url, 5)
            uploads.append(upload)
            upload.patch(b"small")

    for _ in range(8):
        life = Life(upload_small_ones)
        life.begin()
        time.sleep(chance.uniform(0, LONGEST_LIFE_SECONDS))  # the random instant itself
        server.kill()
        life.end()
        server.start(**{EVENTS_VARIABLE: str(events)})
    for upload in uploads:
        upload.finish(b"small")
    assert uploads, "no upload came between two kills"
    wait_for(
        lambda: finished_event_ids(events).keys() == {upload.id for upload in uploads},
        "each finished upload has its event, and no other",
    )
    assert all(len(ids) == 1 for ids in finished_event_ids(events).values())

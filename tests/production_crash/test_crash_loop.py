"""A node that is killed again and again, also before it serves."""

from __future__ import annotations

import os
import random
import time
from functools import partial
from typing import Final

import pytest

from tests.crash.test_kill import Life, send_in_chunks, send_in_one_request
from tests.production_crash.production import Production, persevere
from tests.support.client import TusUpload, make_bytes, sha256
from tests.support.process import MEBIBYTE, wait_for

SEED: Final = int(os.environ.get("KILL_SEED") or random.SystemRandom().randrange(2**32))
LENGTH: Final = 60 * MEBIBYTE
KILLS: Final = 10
LONGEST_LIFE_SECONDS: Final = 0.6


@pytest.mark.timeout(240)
def test_a_crash_loop_loses_nothing(production: Production) -> None:
    """C09 (I1, I2, I3, I6, I8, I12): offsets never fall, and the upload is finished as soon as the loop ends."""
    print(f"KILL_SEED={SEED}")
    chance = random.Random(SEED)
    content = make_bytes(LENGTH, SEED)
    node = production.node(commit_interval_seconds=0.05)
    node.start()
    upload = TusUpload.create(node.url, LENGTH)
    offsets: list[int] = []
    for kills_left in range(KILLS, 0, -1):
        # At most a share of what is left, so that there is something left to send at the last kill.
        budget = chance.randint(1, 2 * (LENGTH - upload.acknowledged) // (kills_left + 1))
        life = Life(partial(chance.choice((send_in_one_request, send_in_chunks)), upload, content, budget))
        life.begin()
        time.sleep(chance.uniform(0, LONGEST_LIFE_SECONDS))  # the random instant itself
        node.kill()
        life.end()
        node.launch()
        if kills_left % 2:
            time.sleep(chance.uniform(0, 2))  # and one in its start
            node.kill()
            node.launch()
        node.wait_ready()
        offsets.append(upload.head())
    answers = persevere(upload, content)
    print(f"offsets after each kill: {offsets}")
    print(f"answers after the last kill: {dict(answers)}")
    assert sha256(upload.download()) == sha256(content)
    production.assert_finished_once(upload)
    # What killed probes have left is an hour old before another probe takes it away.
    wait_for(lambda: not {key for key in production.leftovers() if "/tmp/probe/" not in key}, "the pieces go")

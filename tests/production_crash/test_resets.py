"""Connections that are reset in the middle of a PATCH, at every kind of byte of the part grid."""

from __future__ import annotations

import random
from typing import Final

from tests.production_crash.production import PART_BYTES, Node, Production, environment_seed
from tests.support.client import OpenPatch, TusUpload, make_bytes, sha256
from tests.support.process import MEBIBYTE, wait_for

SEED: Final = environment_seed("RESETS_SEED", 4)
LENGTH: Final = 2 * PART_BYTES + 12345
CONTENT: Final = make_bytes(LENGTH, seed=SEED)
COUNTS: Final = [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, random.Random(SEED).randrange(2, LENGTH - MEBIBYTE)]
LATER: Final = 70_001
"""Bytes that are sent right before the reset; those that the kernel still has are lost with it."""


def test_a_reset_keeps_what_was_shown_and_no_byte_too_many(pair: Production, nodes: tuple[Node, Node]) -> None:
    """N02 (I1, I2, I3): the offset is exact, at the node that had the connection and at the other one."""
    uploads = []
    for count in COUNTS:
        upload = TusUpload.create(nodes[0].url, LENGTH)
        there = pair.on(nodes[1], upload)
        with OpenPatch(upload, LENGTH) as patch:
            patch.send(CONTENT[:count])
            wait_for(lambda: upload.head() == count, "all that was sent is shown")  # noqa: B023  # called at once
            if count % 2:
                patch.send(CONTENT[count : count + LATER])
            patch.reset()
        wait_for(lambda: pair.row(upload)["writer"] is None, "the body has ended")  # noqa: B023  # as above
        offset = upload.head()
        assert count <= offset <= patch.sent
        assert there.head() == offset
        there.finish(CONTENT)
        assert sha256(there.download()) == sha256(CONTENT)
        uploads.append(upload)
    pair.assert_finished_once(*uploads)
    pair.assert_nothing_left()

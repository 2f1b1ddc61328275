"""An upload that goes from node to node in the middle of its parts."""

from __future__ import annotations

import base64
import hashlib
import itertools
import random
from contextlib import ExitStack
from typing import Final

import pytest

from tests.production_crash.production import PART_BYTES, Node, Production, environment_seed
from tests.support.client import OpenPatch, TusUpload, make_bytes, request, sha256
from tests.support.process import MEBIBYTE, wait_for

SEED: Final = environment_seed("MOVES_SEED", 3)
CONTENT: Final = make_bytes(3 * PART_BYTES + 12345, seed=SEED)


@pytest.fixture(scope="module")
def node_settings() -> dict[str, object]:
    """Nobody dies here: a node that the machine holds up for some seconds is not to be taken for dead."""
    return {"commit_interval_seconds": 0.05, "node_seconds": 30}


def patch(upload: TusUpload, body: bytes, **fields: str) -> int:
    headers = {"Upload-Offset": str(upload.acknowledged), "Content-Type": "application/offset+octet-stream"}
    given = {name.replace("_", "-"): value for name, value in fields.items()}
    answer = request("PATCH", upload.url, {**headers, **given}, body)
    if answer.status == 204:
        upload.acknowledge(int(answer.fields["upload-offset"]))
    return answer.status


def digest(body: bytes) -> str:
    return f"sha256 {base64.b64encode(hashlib.sha256(body).digest()).decode()}"


def checked(pair: Production, upload: TusUpload, content: bytes) -> None:
    assert upload.head() == len(content)
    assert sha256(upload.download()) == sha256(content)
    pair.assert_finished_once(upload)
    pair.assert_nothing_left()


@pytest.mark.parametrize("length_is", ["known", "deferred"])
@pytest.mark.parametrize("with_checksums", [False, True], ids=["plain", "checksums"])
def test_every_request_on_another_node(
    pair: Production, nodes: tuple[Node, Node], length_is: str, with_checksums: bool
) -> None:
    """I2, I3: odd sizes, so that pieces of one part are both nodes'."""
    chance = random.Random(SEED)
    upload = TusUpload.create(nodes[0].url, len(CONTENT) if length_is == "known" else None)
    for node in itertools.cycle(reversed(nodes)):
        there = pair.on(node, upload)
        assert there.head() == upload.acknowledged
        size = chance.choice((1, 1000, 65_537, MEBIBYTE + 1, 2 * MEBIBYTE - 1, PART_BYTES, PART_BYTES + 7))
        body = CONTENT[there.acknowledged :][:size]
        fields = {}
        if with_checksums:
            assert patch(there, body, Upload_Checksum=digest(body + b"x")) == 460
            assert there.head() == upload.acknowledged
            fields["Upload_Checksum"] = digest(body)
        if length_is == "deferred" and there.acknowledged + len(body) == len(CONTENT):
            fields["Upload_Length"] = str(len(CONTENT))
        assert patch(there, body, **fields) == 204
        upload.acknowledge(there.acknowledged)
        if upload.acknowledged == len(CONTENT):
            break
    checked(pair, upload, CONTENT)


def test_a_length_declared_at_the_very_end_elsewhere(pair: Production, nodes: tuple[Node, Node]) -> None:
    """S13 (I2): all bytes are there, and the length comes with an empty PATCH to the other node."""
    for content in (CONTENT[:1000], CONTENT[:PART_BYTES], CONTENT):
        upload = TusUpload.create(nodes[0].url, None, body=content)
        there = pair.on(nodes[1], upload)
        assert patch(there, b"", Upload_Length=str(len(content))) == 204
        checked(pair, there, content)


def test_many_small_requests_in_turn(pair: Production, nodes: tuple[Node, Node]) -> None:
    """I2: pieces of both nodes are merged, and read back by the one that finishes."""
    content = CONTENT[:20_001]
    upload = TusUpload.create(nodes[0].url, len(content))
    for node in itertools.cycle(nodes):
        there = pair.on(node, upload)
        assert patch(there, content[there.acknowledged :][:500]) == 204
        upload.acknowledge(there.acknowledged)
        if upload.acknowledged == len(content):
            break
    checked(pair, upload, content)


@pytest.mark.long
def test_taken_over_again_and_again_in_the_middle(pair: Production, nodes: tuple[Node, Node]) -> None:
    """N01, I1, I4, I5: each body is cut off by the next one on the other node, at the offset that HEAD gives."""
    chance = random.Random(SEED)
    upload = TusUpload.create(nodes[0].url, len(CONTENT))
    sent = 0
    with ExitStack() as stack:
        for node in itertools.cycle(reversed(nodes)):
            there = pair.on(node, upload)
            # It is here, or on its way, and not shown yet: whoever asks elsewhere must get it.
            wait_for(lambda there=there, sent=sent: there.head() == sent, "HEAD gives all")  # type: ignore[misc]
            upload.acknowledge(sent)
            size = chance.randint(1, PART_BYTES)
            if sent + size >= len(CONTENT):
                assert patch(there, CONTENT[sent:]) == 204
                break
            stack.enter_context(running := OpenPatch(there, len(CONTENT) - sent)).send(CONTENT[sent : sent + size])
            sent += running.sent
    checked(pair, pair.on(nodes[0], upload), CONTENT)

"""The node that puts an upload together dies over it; another one finishes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, Literal

import pytest

from tests.production_crash.production import NODE_SECONDS, Node, Production, persevere
from tests.support.client import CONNECTION_LOST, TusUpload, make_bytes, sha256
from tests.support.process import MEBIBYTE, wait_for

CONTENT: Final = make_bytes(12 * MEBIBYTE, seed=8)


@pytest.fixture
def nodes(production: Production) -> tuple[Node, Node]:
    first, second = production.node(), production.node()
    first.launch()
    second.start()
    first.wait_ready()
    return first, second


@pytest.mark.parametrize("stage", ["before_apply", "after_apply"])
def test_the_finisher_is_killed(
    production: Production, nodes: tuple[Node, Node], stage: Literal["before_apply", "after_apply"]
) -> None:
    """C04, C05, S06 (I2, I6, I7, I12): in Complete, which then is applied, or not; it lands when B has finished."""
    upload = TusUpload.create(nodes[0].url, len(CONTENT))
    there = production.on(nodes[1], upload)
    key = f"{production.prefix}{upload.id}"
    hold = production.strict.hold("CompleteMultipartUpload", key_prefix=key, stage=stage)

    def send() -> None:
        with suppress(*CONNECTION_LOST):
            upload.patch(CONTENT)

    sending = threading.Thread(target=send)
    sending.start()
    hold.reached()
    nodes[0].kill()
    sending.join()
    assert production.row(upload)["status"] == "completing"
    if stage == "after_apply":  # the object is in its place, and nobody has heard so
        hold.release()
    with ThreadPoolExecutor() as threads:
        finishing = threads.submit(persevere, there, CONTENT)
        if stage == "before_apply":
            # A's call holds the multipart upload in the layer, as a slow store does; B's waits behind it.
            production.strict.called("CompleteMultipartUpload")
            hold.release()
        answers = finishing.result()
    print(answers)
    assert sha256(there.download()) == sha256(CONTENT)
    etag = production.row(upload)["etag"]
    hold.done()
    assert sha256(there.download()) == sha256(CONTENT)
    assert production.row(upload)["etag"] == etag
    production.assert_finished_once(upload)
    production.assert_nothing_left()


def test_nobody_asks_and_it_is_finished_all_the_same(production: Production, nodes: tuple[Node, Node]) -> None:
    """C05 (I6): the client has gone, too; the other node finds it."""
    upload = TusUpload.create(nodes[0].url, len(CONTENT))
    hold = production.strict.hold("CompleteMultipartUpload", key_prefix=f"{production.prefix}{upload.id}")
    with ThreadPoolExecutor() as threads:
        patching = threads.submit(upload.patch, CONTENT)
        hold.reached()
        nodes[0].kill()
        with suppress(*CONNECTION_LOST):
            patching.result()
    hold.release()
    wait_for(lambda: production.row(upload)["status"] == "finished", "B finishes it", 10 * NODE_SECONDS)
    production.assert_finished_once(upload)
    assert sha256(production.on(nodes[1], upload).download()) == sha256(CONTENT)
    production.assert_nothing_left()
    nodes[0].start()
    assert TusUpload(upload.url).head() == len(CONTENT)


def test_the_finisher_is_paused(production: Production, nodes: tuple[Node, Node]) -> None:
    """K05 (I5, I6): its heart stops, B takes over and finishes; it goes on, and finishes nothing a second time."""
    upload = TusUpload.create(nodes[0].url, len(CONTENT))
    there = production.on(nodes[1], upload)
    hold = production.strict.hold("CompleteMultipartUpload", key_prefix=f"{production.prefix}{upload.id}")
    with ThreadPoolExecutor() as threads:
        patching = threads.submit(upload.patch, CONTENT)
        hold.reached()
        nodes[0].pause()
        try:
            hold.release()
            persevere(there, CONTENT)
            etag = production.row(upload)["etag"]
        finally:
            nodes[0].go_on()
        assert patching.result().status == 204
    assert production.row(upload)["etag"] == etag
    assert sha256(there.download()) == sha256(CONTENT)
    production.assert_finished_once(upload)
    production.assert_nothing_left()

"""Two nodes and one upload: whoever was there first and does not know that it is over changes nothing (I5)."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import pytest

from tests.production_crash.production import PART_BYTES, Node, Production, environment_seed
from tests.support.client import CONNECTION_LOST, OpenPatch, TusUpload, make_bytes, request, sha256
from tests.support.process import MEBIBYTE, wait_for
from tests.support.strict_s3.remote import RemoteHold

Pair = tuple[Node, Node]

LENGTH: Final = 12 * MEBIBYTE
SMALL_LENGTH: Final = MEBIBYTE
SEED: Final = environment_seed("FENCING_SEED", 41)
OURS: Final = make_bytes(LENGTH, seed=SEED)
THEIRS: Final = make_bytes(LENGTH, seed=SEED + 1)


@contextmanager
def a_paused_writer(
    pair: Production, nodes: Pair, upload: TusUpload, body: bytes, operation: str
) -> Iterator[RemoteHold]:
    """The first node, stopped while a call of its own is under way, which lands when the hold is released. At the end
    it goes on, and its client has an answer, or none."""
    key = f"{pair.prefix}{upload.id}"
    hold = pair.strict.hold(operation, key_prefix=key)
    with OpenPatch(upload, len(body)) as patch:
        sending = threading.Thread(target=lambda: patch.send(body))
        sending.start()
        try:
            hold.reached()
            sending.join()
            nodes[0].pause()
            yield hold
        finally:
            nodes[0].go_on()
            hold.release()
        answer = patch.answer()
        assert answer is None or answer.status in (409, 410, 423, 503), answer


def take_over(pair: Production, node: Node, upload: TusUpload, content: bytes) -> TusUpload:
    """The client asks the other node how far it is, and goes on there with content of its own."""
    there = pair.on(node, upload)
    assert there.head() == 0
    assert there.patch(content).status == 204
    return there


def assert_is(pair: Production, upload: TusUpload, content: bytes) -> None:
    assert sha256(upload.download()) == sha256(content)
    pair.assert_finished_once(upload)


def assert_goes_on(node: Node) -> None:
    """The node that was paused serves as before (I12)."""
    TusUpload.create(node.url, 5, body=b"hello")


def other(content: bytes) -> bytes:
    return THEIRS[: len(content)]


@pytest.mark.parametrize("sends", ["the same", "other"])
@pytest.mark.parametrize(("operation", "length"), [("UploadPart", LENGTH), ("PutObject", SMALL_LENGTH)])
def test_a_late_call_after_the_finish(pair: Production, nodes: Pair, operation: str, length: int, sends: str) -> None:
    """K05, S07 (I2, I5, I6): A's part, or its whole object, arrives when B has finished."""
    upload, ours = TusUpload.create(nodes[0].url, length), OURS[:length]
    theirs = ours if sends == "the same" else other(ours)
    with a_paused_writer(pair, nodes, upload, ours, operation) as hold:
        there = take_over(pair, nodes[1], upload, theirs)
        assert_is(pair, there, theirs)
        before = pair.row(there)
        hold.release()
        hold.done()
        assert_is(pair, there, theirs)
    assert_goes_on(nodes[0])
    assert_is(pair, there, theirs)
    assert pair.row(there)["etag"] == before["etag"]
    pair.assert_nothing_left()


@pytest.mark.parametrize("sends", ["the same", "other"])
@pytest.mark.parametrize(("operation", "length"), [("UploadPart", LENGTH), ("PutObject", SMALL_LENGTH)])
def test_a_late_call_before_the_other_nodes_last(
    pair: Production, nodes: Pair, operation: str, length: int, sends: str
) -> None:
    """K05, S07 (I2, I5): A's call lands when B has claimed, and before B's object is in its place."""
    upload, ours = TusUpload.create(nodes[0].url, length), OURS[:length]
    theirs = ours if sends == "the same" else other(ours)
    last = {"UploadPart": "CompleteMultipartUpload", "PutObject": "PutObject"}[operation]
    with a_paused_writer(pair, nodes, upload, ours, operation) as hold, ThreadPoolExecutor() as threads:
        final = pair.strict.hold(last, key_prefix=f"{pair.prefix}{upload.id}")
        taking = threads.submit(take_over, pair, nodes[1], upload, theirs)
        final.reached()
        hold.release()
        hold.done()
        final.release()
        there = taking.result()
        assert_is(pair, there, theirs)
    assert_goes_on(nodes[0])
    assert_is(pair, there, theirs)
    pair.assert_nothing_left()


@pytest.mark.parametrize("length", [1, SMALL_LENGTH, LENGTH])
def test_two_writers_at_one_offset(pair: Production, nodes: Pair, length: int) -> None:
    """K01 (I2, I5): one of them wins, and the object is its body."""
    bodies = [make_bytes(length, seed=SEED + number) for number in range(2)]
    for _ in range(6 if length <= SMALL_LENGTH else 3):
        upload = TusUpload.create(nodes[0].url, length)
        barrier = threading.Barrier(2)

        def send(number: int, upload: TusUpload = upload, barrier: threading.Barrier = barrier) -> int:
            there = pair.on(nodes[number], upload)
            barrier.wait()
            return there.patch(bodies[number], offset=0).status

        with ThreadPoolExecutor() as threads:
            statuses = list(threads.map(send, range(2)))
        assert statuses.count(204) == 1, statuses
        assert set(statuses) <= {204, 409, 423}, statuses
        assert_is(pair, upload, bodies[statuses.index(204)])
    pair.assert_nothing_left()


def test_sixteen_writers_at_one_offset(pair: Production, nodes: Pair) -> None:
    """K01 (I2, I5), with different lengths, so that they are no last bytes: the offset is one writer's, and its bytes
    are that one's."""
    upload = TusUpload.create(nodes[0].url, LENGTH)
    bodies = [make_bytes(1000 + number, seed=number) for number in range(16)]
    barrier = threading.Barrier(len(bodies))

    def send(number: int) -> int:
        there = pair.on(nodes[number % 2], upload)
        barrier.wait()
        return there.patch(bodies[number], offset=0).status

    with ThreadPoolExecutor(len(bodies)) as threads:
        statuses = list(threads.map(send, range(len(bodies))))
    offset = upload.head()
    (winner,) = (body for body in bodies if len(body) == offset)
    assert statuses[bodies.index(winner)] == 204, statuses
    assert statuses.count(204) == 1, statuses
    upload.finish(winner + OURS[offset:])
    assert_is(pair, upload, winner + OURS[offset:])


@pytest.mark.parametrize("length", [SMALL_LENGTH, LENGTH])
def test_a_delete_elsewhere_ends_a_running_patch(pair: Production, nodes: Pair, length: int) -> None:
    """K03 (I7, I8): the PATCH is told 410, and nothing stays."""
    upload = TusUpload.create(nodes[0].url, length)
    there = pair.on(nodes[1], upload)
    with OpenPatch(upload, length) as patch:
        patch.send(OURS[: length - 1])
        wait_for(lambda: there.head() > 0, "B hears what A holds")
        assert there.delete() == 204
        patch.send(OURS[length - 1 : length])
        answer = patch.answer()
        assert answer is None or answer.status == 410, answer
    assert request("HEAD", upload.url).status == request("HEAD", there.url).status == 410
    pair.assert_nothing_left()
    assert upload.id not in pair.finished_events()


def test_a_delete_elsewhere_waits_for_the_object(pair: Production, nodes: Pair) -> None:
    """K03 (I6, I7, I8): in `completing` it is finished first, with its event, and then goes."""
    upload = TusUpload.create(nodes[0].url, LENGTH)
    hold = pair.strict.hold("CompleteMultipartUpload", key_prefix=f"{pair.prefix}{upload.id}")
    with ThreadPoolExecutor() as threads:
        patching = threads.submit(upload.patch, OURS)
        hold.reached()
        deleting = threads.submit(pair.on(nodes[1], upload).delete)
        hold.release()
        assert patching.result().status in (204, 410)
        assert deleting.result() == 204
    pair.assert_finished_once(upload)
    pair.assert_nothing_left()
    assert f"{pair.prefix}{upload.id}" not in pair.keys


@pytest.mark.long
def test_expiry_races_a_resume(pair: Production, nodes: Pair) -> None:
    """K04 (I1, I8): two sweepers and a PATCH; either it counts and the upload goes on, or it is gone for everybody."""
    chance = random.Random(SEED)
    print(f"FENCING_SEED={SEED}")
    outcomes = set()
    for number in range(12):
        last = number % 2 == 0
        length = SMALL_LENGTH
        upload = TusUpload.create(nodes[0].url, length, body=OURS[:1000])
        seconds = chance.uniform(0, 0.8)
        pair.sql("UPDATE uploads SET expires_at = now() + make_interval(secs => $2) WHERE id = $1", upload.id, seconds)
        there = pair.on(nodes[1], upload)
        threading.Event().wait(seconds + chance.uniform(-0.05, 0.05) if seconds > 0.1 else 0)  # the race itself
        answer = there.patch(OURS[1000 : length if last else 2000])
        assert answer.status in (204, 410), answer
        outcomes.add(answer.status)
        if answer.status == 204:
            there.finish(OURS[:length])
            assert_is(pair, there, OURS[:length])
        else:
            assert request("HEAD", upload.url).status == 410
            assert upload.id not in pair.finished_events()
    print(outcomes)
    pair.sql("UPDATE uploads SET expires_at = now() - interval '1 second' WHERE status = 'uploading'")
    wait_for(lambda: not pair.sql("SELECT FROM uploads WHERE status = 'uploading' AND writer IS NULL"), "it is swept")
    pair.assert_nothing_left()


def test_head_elsewhere_gets_the_bytes_of_a_half_open_client(pair: Production, nodes: Pair) -> None:
    """N01 (I1, I4, I12): the client has gone without a word; what A holds of it counts, and B goes on."""
    upload = TusUpload.create(nodes[0].url, LENGTH)
    sent = PART_BYTES + 12345
    with OpenPatch(upload, LENGTH) as patch:
        patch.send(OURS[:sent])
        there = pair.on(nodes[1], upload)
        wait_for(lambda: there.head() == sent, "B gives what A holds", 10)
        assert there.patch(OURS[sent:]).status == 204
        assert_is(pair, there, OURS)
        try:
            patch.send(THEIRS[sent:])
        except CONNECTION_LOST:
            pass
        else:
            answer = patch.answer()
            assert answer is None or answer.status in (409, 423), answer
    assert_is(pair, there, OURS)
    pair.assert_nothing_left()


def test_a_lost_204(pair: Production, nodes: Pair) -> None:
    """N03 (I6): the client has seen no answer; HEAD says that all is there, and one event is sent."""
    for length in (SMALL_LENGTH, LENGTH):
        upload = TusUpload.create(nodes[0].url, length)
        with OpenPatch(upload, length) as patch:
            patch.send(OURS[:length])
        there = pair.on(nodes[1], upload)
        wait_for(lambda there=there, length=length: there.head() == length, "HEAD elsewhere says so")  # type: ignore[misc]
        assert there.patch(OURS[:length], offset=0).status in (204, 409)
        assert_is(pair, there, OURS[:length])


def test_an_old_patch_that_comes_late(pair: Production, nodes: Pair) -> None:
    """N04 (I5): held back on its way to A, it arrives when B has got everything, and is refused."""
    for length, started in itertools.product((SMALL_LENGTH, LENGTH), (False, True)):
        upload = TusUpload.create(nodes[0].url, length)
        there = pair.on(nodes[1], upload)
        if started:
            with OpenPatch(upload, length) as patch:  # its head has come, so that it is the writer
                wait_for(lambda upload=upload: pair.row(upload)["writer"] is not None, "A claims")  # type: ignore[misc]
                assert there.patch(OURS[:length]).status == 204
                try:
                    patch.send(THEIRS[:length])
                    answer = patch.answer()
                except CONNECTION_LOST:
                    answer = None
                assert answer is None or answer.status in (409, 423), answer
        else:
            assert there.patch(OURS[:length]).status == 204
            assert upload.patch(THEIRS[:length]).status == 409
        assert_is(pair, there, OURS[:length])
    pair.assert_nothing_left()

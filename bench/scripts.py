"""What each connection does: upload, ask, or upload slowly. One file of scripts for `bench.driver`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from bench import wire
from bench.driver import Exchange, Partial, Pause, Script, Step
from bench.wire import Answer, Broken

SLOW_BYTES: Final = 1 << 10
"""What a slow upload sends a second."""

PROBE_SECONDS: Final = 0.02
"""Time between two HEADs beside the slow uploads."""


BEGUN_SECONDS: Final = 2.0
"""After them every slow upload has sent its first bytes."""


class Uploaded(NamedTuple):
    """An upload that the server has acknowledged as whole."""

    path: str
    upload_length: int


@dataclass(slots=True)
class Work:
    """What the scripts of one process share: where to, what is left to do, what was done."""

    host: str
    creation_path: str
    upload_bytes: int
    chunk_bytes: int
    in_creation: bool
    left: deque[int] = field(default_factory=deque)
    """One entry for each upload, or each HEAD, that is still to be made."""
    done: list[Uploaded] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    """Seconds of each HEAD."""


def uploads(work: Work) -> Script:
    """Upload after upload, as long as there are any left."""
    while work.left:
        work.left.popleft()
        yield from _upload(work)


def heads(work: Work, targets: list[Uploaded]) -> Script:
    """HEAD after HEAD; each answer's offset is checked."""
    while work.left:
        target = targets[work.left.popleft() % len(targets)]
        yield from _look(work, target)


def slow_upload(work: Work, seconds: int, phase: float) -> Script:
    """One upload whose PATCH brings 1 KiB a second; `phase` spreads many of them over the second."""
    started = time.monotonic() + phase
    yield Pause(started)
    length = SLOW_BYTES * seconds
    path = yield from _create(work, length, with_body=False)
    head = wire.patch(path, work.host, 0, length)
    for second in range(seconds - 1):
        yield Pause(started + second)
        yield Partial(head if second == 0 else b"", second * SLOW_BYTES, SLOW_BYTES)
    yield Pause(started + seconds - 1)
    answer = yield from _exchange(Exchange(b"", length - SLOW_BYTES, SLOW_BYTES))
    _acknowledged(answer, length)
    work.done.append(Uploaded(path, length))


def probe(work: Work, seconds: float) -> Script:
    """HEAD of one idle upload, again and again while all slow ones flow: once all have begun, until the first ends."""
    path = yield from _create(work, SLOW_BYTES, with_body=False)
    started = time.monotonic()
    begun = min(BEGUN_SECONDS, seconds / 2)
    turn = int(begun / PROBE_SECONDS)
    while (turn := turn + 1) * PROBE_SECONDS < max(seconds - 1, begun + 0.5):
        yield Pause(started + turn * PROBE_SECONDS)
        yield from _look(work, Uploaded(path, 0))


def final_offsets(work: Work, targets: list[Uploaded]) -> Script:
    """HEAD of each once: what the server says of them after the load."""
    for target in targets:
        yield from _look(work, target)


def fetch(head: bytes, answers: list[Answer]) -> Script:
    """One request; its answer is put into `answers`."""
    answers.append((yield from _exchange(Exchange(head))))


Answering = Generator[Step, Answer | None, Answer]


def _exchange(exchange: Exchange) -> Answering:
    answer = yield exchange
    if answer is None:
        raise AssertionError("the driver answers each exchange")
    return answer


def _upload(work: Work) -> Script:
    length = work.upload_bytes
    path = yield from _create(work, length, with_body=work.in_creation)
    position = length if work.in_creation else 0
    while position < length:
        count = min(work.chunk_bytes or length, length - position)
        answer = yield from _exchange(Exchange(wire.patch(path, work.host, position, count), position, count))
        position += count
        _acknowledged(answer, position)
    work.done.append(Uploaded(path, length))


def _create(work: Work, length: int, *, with_body: bool) -> Generator[Step, Answer | None, str]:
    head = wire.post(work.creation_path, work.host, length, with_body=with_body)
    answer = yield from _exchange(Exchange(head, 0, length if with_body else 0))
    answer.expect(201, "POST")
    location = answer.header("Location")
    if location is None:
        raise Broken("POST: no Location")
    if with_body and answer.header("Upload-Offset") != str(length):
        raise Broken(f"POST: Upload-Offset {answer.header('Upload-Offset')} in place of {length}")
    return urlsplit(location).path


def _look(work: Work, target: Uploaded) -> Script:
    started = time.perf_counter()
    answer = yield from _exchange(Exchange(wire.head(target.path, work.host)))
    work.latencies.append(time.perf_counter() - started)
    answer.expect(200, "HEAD")
    if answer.header("Upload-Offset") != str(target.upload_length):
        raise Broken(f"HEAD: Upload-Offset {answer.header('Upload-Offset')} in place of {target.upload_length}")


def _acknowledged(answer: Answer, upload_offset: int) -> None:
    answer.expect(204, "PATCH")
    if answer.header("Upload-Offset") != str(upload_offset):
        raise Broken(f"PATCH: Upload-Offset {answer.header('Upload-Offset')} in place of {upload_offset}")

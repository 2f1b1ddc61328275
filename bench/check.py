"""Whether what was acknowledged is there: HEAD says so, and so does the disk, or the S3 sink."""

from __future__ import annotations

from collections import deque
from typing import Final

from bench import load, scripts
from bench.load import Load
from bench.process import Running
from bench.scripts import Uploaded, Work
from bench.services import S3, S3Object, Services
from bench.shapes import Shape
from bench.site import Server
from bench.source import Source
from bench.wire import Broken

MOST_FINAL_HEADS: Final = 64
HEAD_SECONDS: Final = 60.0


def check_uploads(running: Running, below: Services, shape: Shape, done: Load, source: Source) -> None:
    """Every upload was made, HEAD says so, every file or object has its size, and one its bytes.

    Raises:
        Broken: it is not so.
    """
    if len(done.uploaded) != shape.uploads:
        raise Broken(f"{len(done.uploaded)} of {shape.uploads} uploads were made")
    if len({upload.path for upload in done.uploaded}) != shape.uploads:
        raise Broken("two uploads have one URL")
    step = max(1, shape.uploads // MOST_FINAL_HEADS)
    work = Work(f"127.0.0.1:{running.port}", "/files/", 0, 0, in_creation=False, left=deque())
    load.run_here(running.port, source, [scripts.final_offsets(work, done.uploaded[::step])], HEAD_SECONDS)
    if not done.uploaded:
        return
    if running.server.stored is not None:
        _check_files(running, done.uploaded, source)
    if below.s3 is not None:
        check_objects(running.server, below.s3, done.uploaded, source)


def _check_files(running: Running, uploaded: list[Uploaded], source: Source) -> None:
    stored = running.server.stored
    if stored is None:
        return
    for upload in uploaded:
        path = stored(running.data, _name(upload))
        if not path.exists() or path.stat().st_size != upload.upload_length:
            raise Broken(f"{upload.path} is not whole on the disk")
    last = uploaded[-1]
    if not source.equals(stored(running.data, _name(last)), last.upload_length):
        raise Broken(f"{last.path} has other bytes on the disk than were sent")


def check_objects(server: Server, s3: S3, uploaded: list[Uploaded], source: Source) -> None:
    """Every upload is one object of its length, its parts are in their places, and the last one's bytes are right.

    Raises:
        Broken: it is not so.
    """
    objects = s3.objects()
    for upload in uploaded:
        found = _object(server, objects, _name(upload))
        if found is None or found[1].length != upload.upload_length:
            raise Broken(f"{upload.path} is not whole in S3")
        check_ends(upload, found[1], source)
    key, last = _object(server, objects, _name(uploaded[-1])) or ("", S3Object(0, kept=False, pieces=[]))
    if last.kept and s3.read(key) != b"".join(source.runs(0, last.length)):
        raise Broken(f"{uploaded[-1].path} has other bytes in S3 than were sent")


def _object(server: Server, objects: dict[str, S3Object], name: str) -> tuple[str, S3Object] | None:
    if server.stored_key is not None:
        key = server.stored_key(name)
        return (key, objects[key]) if key in objects else None
    found = [(key, row) for key, row in objects.items() if name in key]
    return found[0] if len(found) == 1 else None


def check_ends(upload: Uploaded, row: S3Object, source: Source) -> None:
    """Each part of the object begins and ends with the bytes of its place, or `Broken` is raised."""
    position = 0
    for length, first, last in row.pieces:
        expected = (
            b"".join(source.runs(position, len(first) // 2)).hex(),
            b"".join(source.runs(position + length - len(last) // 2, len(last) // 2)).hex(),
        )
        if (first, last) != expected:
            raise Broken(f"{upload.path}: the part at {position} has other bytes in S3 than were sent")
        position += length


def _name(upload: Uploaded) -> str:
    return upload.path.rsplit("/", 1)[-1]

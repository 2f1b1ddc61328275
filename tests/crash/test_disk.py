"""The disk is full, or fails: nothing is acknowledged that is not there, and when it is over the upload goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.injection import Injection
from tests.support.client import TusUpload, make_bytes, request, sha256
from tests.support.fixtures import MakeServer, need
from tests.support.process import MEBIBYTE, ServerProcess, wait_for

DISK_BYTES = 24 * MEBIBYTE
CONTENT = make_bytes(12 * MEBIBYTE, seed=12)
FIRST = MEBIBYTE


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which a test can fill."""
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if mount is None or unmount is None:
        need("mount and umount")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder], capture_output=True, check=False, text=True
    )
    if mounted.returncode:
        need(f"leave to mount a tmpfs ({mounted.stderr.strip()})")
    try:
        yield folder
    finally:
        # Lazily: a server that a failed test has left is ended by another fixture.
        subprocess.run([unmount, "-l", folder], check=True)


def fill(folder: Path, left_bytes: int) -> Path:
    """Take all space of the disk but `left_bytes`."""
    filler = folder / "filler"
    free = os.statvfs(folder)
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - left_bytes))
    return filler


def assert_honest(server: ServerProcess, upload: TusUpload) -> None:
    """What HEAD shows is there, byte for byte (I1, I2, I3)."""
    offset = upload.head()
    stored = (server.data / "files" / upload.id).read_bytes()
    assert stored[:offset] == CONTENT[:offset]
    assert len(stored) >= offset


def test_a_full_disk_is_507_and_the_upload_goes_on_when_there_is_space(
    make_server: MakeServer, small_disk: Path
) -> None:
    """D02 (I1, I2, I3, I12): with room for some of the body, which counts."""
    server = make_server(data=small_disk / "data").start()
    upload = TusUpload.create(server.url, len(CONTENT))
    filler = fill(small_disk, 5 * MEBIBYTE)
    answer = upload.patch(CONTENT)
    assert answer.status == 507, answer
    assert_honest(server, upload)
    filler.unlink()
    upload.finish(CONTENT)
    assert sha256(upload.download()) == sha256(CONTENT)


def test_a_disk_without_any_space_loses_nothing(make_server: MakeServer, small_disk: Path) -> None:
    """D02 (I1, I3, I12): not even the database can grow. HEAD never answers 5xx; a restart changes nothing."""
    server = make_server(data=small_disk / "data").start()
    upload = TusUpload.create(server.url, len(CONTENT))
    assert upload.patch(CONTENT[:FIRST]).status == 204
    filler = fill(small_disk, 0)
    for _ in range(3):
        answer = upload.patch(CONTENT[upload.acknowledged :])
        assert answer.status == 507, answer
        assert_honest(server, upload)
    assert request("POST", server.url, {"Upload-Length": "5"}).status in (201, 507)
    server.kill()
    filler.unlink()
    server.start()
    upload.finish(CONTENT)
    assert sha256(upload.download()) == sha256(CONTENT)


def test_a_termination_frees_a_full_disk(make_server: MakeServer, small_disk: Path) -> None:
    """D02, I8, I12: what people do about a full disk."""
    server = make_server(data=small_disk / "data").start()
    doomed = TusUpload.create(server.url, 2 * len(CONTENT))
    assert doomed.patch(CONTENT).status == 204
    upload = TusUpload.create(server.url, len(CONTENT))
    answer = upload.patch(CONTENT)
    assert answer.status == 507, answer
    wait_for(lambda: doomed.delete() in (204, 410), "the termination is carried out", seconds=3)
    wait_for(lambda: doomed.id not in server.files, "its bytes are gone")
    upload.finish(CONTENT)
    assert sha256(upload.download()) == sha256(CONTENT)


@pytest.mark.parametrize("fault", ["fdatasync:error=EIO", "pwrite64:error=EIO", "pwrite64:error=ENOSPC"])
def test_a_file_that_fails_is_not_acknowledged(make_server: MakeServer, fault: str) -> None:
    """D01, D02 (I1, I2): no 204 while it lasts; what the kernel may have dropped is sent again, not synced again."""
    server = make_server(commit_interval_seconds=0.05).start()
    upload = TusUpload.create(server.url, len(CONTENT))
    assert upload.patch(CONTENT[:FIRST]).status == 204
    path = server.data / "files" / upload.id
    with Injection(server, fault, path=path) as injection:
        answer = upload.patch(CONTENT[FIRST:])
        assert answer.status == (507 if "ENOSPC" in fault else 503), answer
        assert injection.count > 0
        assert upload.head() == FIRST
    upload.finish(CONTENT)
    assert sha256(upload.download()) == sha256(CONTENT)


def test_a_database_that_fails_is_not_acknowledged(make_server: MakeServer) -> None:
    """D01 (I1, I3, I12): the bytes are there but their row cannot be; HEAD shows the row, or is told to come again."""
    server = make_server().start()
    upload = TusUpload.create(server.url, len(CONTENT))
    assert upload.patch(CONTENT[:FIRST]).status == 204
    with Injection(server, "fdatasync:error=EIO", path=server.data / "tuspy.sqlite3-wal") as injection:
        answer = upload.patch(CONTENT[FIRST:])
        assert answer.status in (503, 507), answer
        assert injection.count > 0
        assert upload.head() >= FIRST
    upload.finish(CONTENT)
    assert sha256(upload.download()) == sha256(CONTENT)

"""One process a data folder."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tuspy_server.stores.folder_lock import FolderInUse, FolderLock


def hold(folder: Path, connection: Connection) -> None:
    FolderLock(folder).acquire()
    connection.send("held")
    connection.recv()


def test_the_folder_is_made_with_all_above_it(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "a" / "b" / "c")
    lock.acquire()
    assert (tmp_path / "a" / "b" / "c").is_dir()
    lock.release()


def test_a_second_holder_is_refused_with_a_sentence_that_names_the_way_out(tmp_path: Path) -> None:
    """I5: two processes would write into the same files."""
    lock = FolderLock(tmp_path)
    lock.acquire()
    with pytest.raises(FolderInUse, match="PostgreSQL") as refusal:
        FolderLock(tmp_path).acquire()
    assert str(tmp_path) in str(refusal.value)
    lock.release()


def test_a_released_folder_can_be_taken_again(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        lock = FolderLock(tmp_path)
        lock.acquire()
        with pytest.raises(FolderInUse):
            FolderLock(tmp_path).acquire()
        lock.release()
        lock.release()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    """I12: the kernel lets go of it, however the process dies."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=hold, args=(tmp_path, theirs))
    process.start()
    assert ours.recv() == "held"
    with pytest.raises(FolderInUse):
        FolderLock(tmp_path).acquire()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    process.close()
    for end in (ours, theirs):
        end.close()
    lock = FolderLock(tmp_path)
    lock.acquire()
    lock.release()


def test_a_folder_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        FolderLock(tmp_path / "file" / "data").acquire()

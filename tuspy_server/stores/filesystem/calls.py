"""The system calls of the filesystem adapter, each made in a thread; and what their failures mean.

Plain functions, so that a test can replace one of them by a call that fails (faults D01, D02).
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

from tuspy_server.protocol.errors import StorageFault, StorageFull, TryLater

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def translate(error: OSError) -> TryLater:
    """The answer that an `OSError` of the storage becomes: 507 where space is short, else 503."""
    return StorageFull() if error.errno in _NO_SPACE else StorageFault()


class ShortWrite(OSError):
    """A write that failed after some bytes had been taken: `written_bytes` of them."""

    def __init__(self, error: OSError, written_bytes: int) -> None:
        super().__init__(error.errno, error.strerror)
        self.written_bytes = written_bytes


def write_at(descriptor: int, view: memoryview, position: int) -> None:
    """Write the whole view; a disk that fills up takes a part and fails on the next call.

    Raises:
        ShortWrite: with the bytes that were taken.
    """
    written_bytes = 0
    while written_bytes < len(view):
        try:
            written_bytes += os.pwrite(descriptor, view[written_bytes:], position + written_bytes)
        except OSError as error:
            raise ShortWrite(error, written_bytes) from error


_SYNC_FILE_RANGE_WRITE: Final = 2


def _find_sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Linux has it, and Python does not know it."""
    try:
        function = ctypes.CDLL(None).sync_file_range
    except (AttributeError, OSError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    function.restype = ctypes.c_int
    return cast("Callable[[int, int, int, int], int]", function)


_sync_file_range: Final = _find_sync_file_range()


def start_writeback(descriptor: int, position: int, count: int) -> None:
    """Have the kernel begin to bring these bytes to the disk, so that the sync at the end finds little left to do.

    A hint: nothing is durable by it, and an error is the next sync's to tell. So it must not take that error away
    (fault D01): the kernel marks a descriptor's error as told where it waits for the bytes, and
    `SYNC_FILE_RANGE_WRITE` alone waits for none.
    """
    if _sync_file_range is not None:
        _sync_file_range(descriptor, position, count, _SYNC_FILE_RANGE_WRITE)


def drop_cached(descriptor: int, position: int, count: int) -> None:
    """Have the kernel give up its copies of bytes that a sync has brought to the disk; what is not there yet it keeps.

    A hint: a reader finds the bytes on the disk, and an error is none of theirs.
    """
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):
            os.posix_fadvise(descriptor, position, count, os.POSIX_FADV_DONTNEED)


def make_durable(descriptor: int, folder: Folder | None) -> None:
    """Bytes and size of the file to the disk; with `folder`, the file's name in it too."""
    os.fdatasync(descriptor)
    if folder is not None:
        folder.sync()


class Folder:
    """The one folder of all files. Threads that need its names on the disk at the same time share one sync."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._wanted = 0
        self._synced = 0
        self._counting = threading.Lock()
        self._syncing = threading.Lock()

    def sync(self) -> None:
        """Return when every name that was in the folder at the call is durable."""
        with self._counting:
            self._wanted += 1
            mine = self._wanted
        with self._syncing:
            if self._synced >= mine:
                return
            with self._counting:
                covered = self._wanted
            sync_folder(self.path)
            self._synced = covered


def sync_folder(folder: Path) -> None:
    """The names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_at(path: Path, upload_offset: int) -> int:
    """Open for appending at `upload_offset`; bytes past it, which no commit has counted, are cut off.

    Raises:
        FileNotFoundError: fewer bytes are there than the offset counts.
    """
    if not upload_offset:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_TRUNC, 0o600)
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        stored_bytes = os.fstat(descriptor).st_size
        if stored_bytes < upload_offset:
            raise FileNotFoundError(errno.ENOENT, "the file is shorter than the offset")
        if stored_bytes > upload_offset:
            os.ftruncate(descriptor, upload_offset)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def remove(path: Path, folder: Folder | None) -> None:
    """Unlink, and with `folder` make that durable; a file that is not there is removed already."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    if folder is not None:
        folder.sync()


def probe(folder: Path) -> None:
    """Write, sync, read back and delete a small file."""
    path = folder / f".probe-{os.getpid()}"
    content = os.urandom(4096)
    try:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fdatasync(file.fileno())
        if path.read_bytes() != content:
            raise OSError(errno.EIO, "read back other bytes than written")
    finally:
        path.unlink(missing_ok=True)

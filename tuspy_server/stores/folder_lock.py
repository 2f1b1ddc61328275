"""One process a data folder: `flock`, which the kernel lets go of when the process dies, however it dies."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path


class FolderInUse(OSError):
    """Another process serves this data folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"another tuspy-server process uses the data folder {folder.absolute()}; SQLite and local files serve one "
            "process: name another folder by --data, or PostgreSQL is the way to more, with --s3-bucket"
        )


class FolderLock:
    """Held from `acquire` to `release` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Make the folder where needed and lock it.

        Raises:
            FolderInUse: another process holds it. OSError: it cannot be made or written.
        """
        _make(self._folder)
        descriptor = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise FolderInUse(self._folder) from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Let another process in."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _make(folder: Path) -> None:
    """With all folders above it. A new folder's name must outlive a power cut: all that is acknowledged lies below it
    (fault D04)."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # "File exists" would tell nobody what is wrong
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error
    for path in new:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""Where the bench has its files: a folder of its own for each measurement."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.services import Postgres
from bench.shapes import GIBIBYTE, Shape
from bench.site import Server
from bench.source import Source
from bench.wire import Broken

_FS_IOC_GETFLAGS: Final = 0x8008_6601
_FS_IOC_SETFLAGS: Final = 0x4008_6602
_FS_TOPDIR_FL: Final = 0x0002_0000
_NEW_FILES: Final = 500


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bench has its files."""

    folder: Path
    source: Source
    postgres: Postgres | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def check_space(self, server: Server, shape: Shape) -> None:
        """Raise `Broken` if the shape would fill the disk."""
        free = shutil.disk_usage(self.folder).free
        if free < 2 * GIBIBYTE + (shape.body_bytes if server.store == "files" else 0):
            raise Broken(f"the disk has {free / GIBIBYTE:.1f} GiB left")

    @contextmanager
    def run_folder(self) -> Iterator[Path]:
        """The folder of one measurement, not made yet, and removed at its end. No two have the same: see `spread`."""
        folder = self.folder / f"run-{next(self._numbers)}"
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def spread(folder: Path) -> None:
    """Have the file system put the folders in this one far from each other, if it is one that can (ext4).

    Without a journal, ext4 looks through the files of a folder's block group that were deleted in the last minutes
    whenever one is made there, half a millisecond and more for each: a server would pay for what the one before it has
    left behind.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            flags = struct.unpack("l", fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, struct.pack("l", 0)))[0]
            fcntl.ioctl(descriptor, _FS_IOC_SETFLAGS, struct.pack("l", flags | _FS_TOPDIR_FL))
    finally:
        os.close(descriptor)


def new_file_microseconds(folder: Path) -> float:
    """CPU time to make an empty file, in a new folder in this one."""
    folder = folder / "new-files"
    folder.mkdir()
    try:
        started = time.process_time()
        for number in range(_NEW_FILES):
            os.close(os.open(folder / str(number), os.O_CREAT | os.O_WRONLY, 0o600))
        return (time.process_time() - started) / _NEW_FILES * 1e6
    finally:
        shutil.rmtree(folder)

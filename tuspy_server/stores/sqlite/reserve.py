"""Space that is kept for the statements that free space: without it a full disk would refuse even a DELETE."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

RESERVE_BYTES: Final = 1 << 20
"""Room for the log pages of some hundred small transactions."""


class Reserve:
    """A file that takes up space until it is needed. Its methods block, and are called by the writer thread alone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self) -> None:
        """Take up the space, if it is not taken up; on a disk that is full already there is nothing to keep."""
        if self._path.exists():
            return
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            except OSError:
                self._path.unlink()
            finally:
                os.close(descriptor)

    def spend(self) -> bool:
        """Give the space up. False if there was none."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

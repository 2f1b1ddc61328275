"""The bytes that are uploaded: one random file of an odd length, sent again and again.

It stays in the page cache however large the upload, and its odd length makes a block at a wrong place differ.
"""

from __future__ import annotations

import mmap
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

SOURCE_BYTES: Final = (64 << 20) + 4099
COMPARE_BYTES: Final = 4 << 20


class Source:
    """An endless repetition of one file; position p of every upload is position p here."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(random.Random(path.name).randbytes(SOURCE_BYTES))
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._map = mmap.mmap(self.descriptor, 0, prot=mmap.PROT_READ)
        self._view = memoryview(self._map)

    def at(self, position: int, count: int) -> tuple[int, int]:
        """Offset in the file and count of the run that starts at `position`, at most `count` bytes long."""
        start = position % SOURCE_BYTES
        return start, min(count, SOURCE_BYTES - start)

    def runs(self, position: int, count: int) -> Iterator[memoryview]:
        """The bytes from `position` on, in runs."""
        while count:
            start, length = self.at(position, count)
            yield self._view[start : start + length]
            position, count = position + length, count - length

    def equals(self, path: Path, count: int) -> bool:
        """Whether the file holds exactly the first `count` bytes."""
        if path.stat().st_size != count:
            return False
        position = 0
        with path.open("rb", buffering=0) as file:
            while position < count:
                block = file.read(min(COMPARE_BYTES, count - position))
                expected = b"".join(self.runs(position, len(block)))
                if not block or block != expected:
                    return False
                position += len(block)
        return True

    def close(self) -> None:
        """Let go of the file; it is not removed."""
        self._view.release()
        self._map.close()
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

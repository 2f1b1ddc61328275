"""The fills of one writer in their order, and what of them is durable."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from tuspy_server.pages import PagePool
from tuspy_server.ports import Stored, StoredPart, StoredPiece
from tuspy_server.stores.s3.fill import Fill
from tuspy_server.stores.s3.part_plan import part_start


class Line:
    """Fills one behind the other.

    Attributes:
        current: the one that takes bytes; the last.
        length: of the upload, once it is known.
        handed_offset: up to where the last `collect` reached.
        named: keys of the pieces that have been given to commits.
    """

    def __init__(self, pool: PagePool, part_bytes: int, length: int | None, upload_offset: int, first: Fill) -> None:
        self.current = first
        self.length = length
        self.handed_offset = upload_offset
        self.named: set[str] = set()
        self._pool = pool
        self._part_bytes = part_bytes
        self._fills = deque([first])

    def __iter__(self) -> Iterator[Fill]:
        return iter(self._fills)

    def open_next(self) -> None:
        """A new one, behind the full one."""
        number = self.current.part_number + 1
        start = part_start(number, self._part_bytes)
        stop = start + self._part_bytes
        self.current = Fill(self._pool, number, start, stop if self.length is None else min(stop, self.length))
        self._fills.append(self.current)

    def is_last(self, fill: Fill) -> bool:
        """Whether the upload ends with it."""
        return fill.stop == self.length

    @property
    def reached(self) -> int:
        """The offset up to which all is durable."""
        offset = self.handed_offset
        for fill in self._fills:
            offset = max(offset, fill.reached)
            if not fill.is_stored:
                break
        return offset

    @property
    def has_unnamed(self) -> bool:
        """Whether there are pieces that no commit has been given."""
        return any(fill.new_pieces for fill in self._fills)

    def collect(self, *, multipart_id: str | None) -> Stored:
        """What has become durable since the last time, as far as it reaches without a gap; lets go of what nobody needs
        in memory any more."""
        parts: list[StoredPart] = []
        pieces: list[StoredPiece] = []
        while self._fills:
            fill = self._fills[0]
            pieces += fill.new_pieces
            fill.new_pieces = []
            self.handed_offset = max(self.handed_offset, fill.reached)
            if fill.part is not None:
                parts.append(fill.part)
            elif not fill.is_stored or self.is_last(fill):
                break
            self._fills.popleft().release()
        self.named.update(piece.key for piece in pieces)
        return Stored(
            upload_offset=self.handed_offset, parts=tuple(parts), pieces=tuple(pieces), multipart_id=multipart_id
        )

    def release(self) -> None:
        """Let go of all pages."""
        for fill in self._fills:
            fill.new_pieces = []
            fill.release()

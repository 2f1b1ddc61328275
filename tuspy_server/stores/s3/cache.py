"""What this node has written as pieces, and still has in memory: so that it need not read it back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from tuspy_server.pages import PagePool
from tuspy_server.ports import StoredPiece
from tuspy_server.stores.s3.fill import Fill


class FillCache:
    """One fill an upload, between its requests. The pool has the one that was used least lately dropped before anybody
    has to wait for a page."""

    def __init__(self, pool: PagePool) -> None:
        self._fills: OrderedDict[str, Fill] = OrderedDict()
        pool.keep_cache(self.drop_oldest)

    def keep(self, upload_id: str, fill: Fill) -> None:
        """Keep a fill whose bytes are all durable."""
        self.drop(upload_id)
        fill.rest()
        self._fills[upload_id] = fill

    def take(self, upload_id: str, pieces: Sequence[StoredPiece]) -> Fill | None:
        """The fill, if it consists of exactly these pieces; otherwise another node has gone on since, or a commit has
        failed, and it is dropped."""
        fill = self._fills.pop(upload_id, None)
        if fill is None:
            return None
        if [piece.key for piece in fill.pieces] != [piece.key for piece in pieces]:
            fill.release()
            return None
        return fill

    def drop(self, upload_id: str) -> None:
        """Forget an upload."""
        fill = self._fills.pop(upload_id, None)
        if fill is not None:
            fill.release()

    def drop_oldest(self) -> bool:
        """Whether there was one."""
        if not self._fills:
            return False
        _, fill = self._fills.popitem(last=False)
        fill.release()
        return True

    def clear(self) -> None:
        """Forget all."""
        while self.drop_oldest():
            pass

"""The bodies that this process receives now, at most one writer an upload that counts."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Set
from typing import Final
from weakref import WeakValueDictionary

from tuspy_server.access import RequestContext
from tuspy_server.model import Upload
from tuspy_server.ports import BodySource, Claimed
from tuspy_server.protocol.core import Append
from tuspy_server.protocol.errors import Draining, TusError
from tuspy_server.uploads.append import RunningAppend
from tuspy_server.uploads.means import Means

CROWD: Final = 32
"""Bodies at once from which on their commits become rarer."""


class NoBody:
    """`ports.BodySource` where no request is: nothing comes."""

    delivers_trailers: Final = False
    trailers: Final = ()

    async def readinto(self, buffer: memoryview) -> int:
        """See the port."""
        return 0


class Bodies:
    """Running appends by their upload, and the writers that stand behind them."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._running: dict[str, RunningAppend] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._writers: set[str] = set()
        self._stopped: TusError | None = None

    @property
    def writers(self) -> Set[str]:
        """Those that a request of this process has, or is about to have."""
        return self._writers

    def new_writer(self) -> str:
        """An id for a claim. To be let go of with `forget`."""
        writer = secrets.token_hex(16)
        self._writers.add(writer)
        return writer

    def forget(self, writer: str) -> None:
        """No request stands behind it any more."""
        self._writers.discard(writer)

    def of(self, upload_id: str) -> RunningAppend | None:
        """The latest append of an upload that has not ended."""
        return self._running.get(upload_id)

    def turn(self, upload_id: str) -> asyncio.Lock:
        """Held from a statement that gives an upload to a writer, or ends it, until this process knows of it: a
        store may answer two such statements in another order than it carried them out."""
        return self._turns.setdefault(upload_id, asyncio.Lock())

    def register(
        self, claimed: Claimed, append: Append, source: BodySource, request: RequestContext | None
    ) -> tuple[RunningAppend, RunningAppend | None]:
        """The new writer, and the one before it: in the order of the claims."""
        running = RunningAppend(
            claimed,
            append,
            source,
            means=self._means,
            commit_interval_seconds=self._commit_interval_seconds,
            request=request,
        )
        predecessor = self._running.get(running.upload_id)
        self._running[running.upload_id] = running
        if self._stopped is not None:
            running.stop(self._stopped)
        return running, predecessor

    async def run(self, running: RunningAppend, predecessor: RunningAppend | None) -> Upload:
        """Take a body that has been registered. Returns and raises as `RunningAppend.run`."""
        try:
            return await running.run(predecessor)
        finally:
            if self._running.get(running.upload_id) is running:
                if running.unended is None or running.unended.ended.is_set():
                    del self._running[running.upload_id]
                else:  # the next writer has to wait for it, too
                    self._running[running.upload_id] = running.unended

    def stop(self, source: BodySource) -> None:
        """End the append whose body is `source`, as a shutdown does."""
        for running in list(self._running.values()):
            if running.reads_from(source):
                running.stop(Draining())

    def drain(self) -> None:
        """End all of them, those to come too."""
        self._stopped = Draining()
        for running in list(self._running.values()):
            running.stop(self._stopped)

    def _commit_interval_seconds(self) -> float:
        """In a crowd each body is counted less often, so that slow ones do not keep the disk busy with syncs; a
        HEAD has its own counted at once."""
        return self._means.options.commit_interval_seconds * max(1.0, len(self._running) / CROWD)

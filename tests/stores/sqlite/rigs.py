"""The SQLite adapters as the contract suites take them."""

from __future__ import annotations

from pathlib import Path

from tests.contracts.rig import ManualClock, StoreRig
from tuspy_server.stores.sqlite.database import Database
from tuspy_server.stores.sqlite.jobs import SqliteJobs
from tuspy_server.stores.sqlite.outbox import SqliteOutbox
from tuspy_server.stores.sqlite.store import SqliteUploadStore


class SqliteRig(StoreRig):
    def __init__(self, clock: ManualClock, path: Path, *, durable: bool = False, deadline_seconds: float = 30) -> None:
        super().__init__(clock)
        self.path = path
        self._durable = durable
        self._deadline_seconds = deadline_seconds
        self._renew()

    def _renew(self) -> None:
        self.database = Database(self.path, durable=self._durable, deadline_seconds=self._deadline_seconds)
        self._uploads = SqliteUploadStore(self.database, self.clock)
        self._outbox = SqliteOutbox(self.database, self.clock)
        self._jobs = SqliteJobs(self.database, self.clock)

    def wait_longer(self) -> None:
        """No deadline of later calls is met; an earlier one is meant to be."""
        self.database._writer._deadline_seconds = self.database._reader._deadline_seconds = 30

    @property
    def uploads(self) -> SqliteUploadStore:
        return self._uploads

    @property
    def outbox(self) -> SqliteOutbox:
        return self._outbox

    @property
    def jobs(self) -> SqliteJobs:
        return self._jobs

    async def start(self) -> None:
        await self.uploads.open()

    async def stop(self) -> None:
        await self.uploads.close()
        self._renew()

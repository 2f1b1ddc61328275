"""Everything that one process keeps in PostgreSQL, opened and closed together."""

from __future__ import annotations

from tuspy_server.stores.postgres.jobs import PostgresJobs
from tuspy_server.stores.postgres.nodes import Node
from tuspy_server.stores.postgres.notifications import PostgresNotifications
from tuspy_server.stores.postgres.options import PostgresOptions
from tuspy_server.stores.postgres.outbox import PostgresOutbox
from tuspy_server.stores.postgres.pool import Pool
from tuspy_server.stores.postgres.store import PostgresUploadStore


class PostgresStores:
    """One node.

    Attributes:
        uploads: also `ports.Assemblies`.
        jobs: `ports.JobStore` and `ports.Catalogue`.
        notifications: `ports.Wakeup`, `ports.Peers` and `ports.ProgressBus`.
    """

    def __init__(self, options: PostgresOptions) -> None:
        """No I/O."""
        self.pool = Pool(options)
        self.node = Node(self.pool)
        self.uploads = PostgresUploadStore(self.pool, self.node)
        self.notifications = PostgresNotifications(self.pool, self.node)
        self.outbox = PostgresOutbox(self.pool, self.node, lambda: self.notifications.events_channel)
        self.jobs = PostgresJobs(self.pool, self.node)

    async def open(self) -> None:
        """Raises StoreUnavailable (503), whose text names the host; others as they are."""
        await self.uploads.open()
        try:
            await self.notifications.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """May be called twice."""
        await self.notifications.close()
        await self.uploads.close()

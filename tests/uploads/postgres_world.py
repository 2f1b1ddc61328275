"""The world of the bucket with its rows in PostgreSQL. Nothing else moves while a call of the rows is under way; the
database's time is the loop's."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import asyncpg

from tests.stores.postgres.rigs import SCHEMA, ClockedPool, with_schema
from tests.uploads.bucket_world import SETTLED_SECONDS, BucketWorld
from tests.uploads.gates import Gates
from tests.uploads.stepping import SteppedLoop
from tests.uploads.worlds import Seat
from tuspy_server.ports import Outbox
from tuspy_server.stores.postgres.nodes import Node
from tuspy_server.stores.postgres.options import PostgresOptions
from tuspy_server.stores.postgres.outbox import PostgresOutbox
from tuspy_server.stores.postgres.pool import Result, Work
from tuspy_server.stores.postgres.store import PostgresUploadStore

HEART_SECONDS = 1e8


class _Pool(ClockedPool):
    """Its calls have their turns."""

    def __init__(self, options: PostgresOptions, loop: SteppedLoop, dsn: str) -> None:
        clock: Any = loop
        super().__init__(options, clock, dsn)
        self._loop = loop

    async def run(self, work: Work[Result], **options: Any) -> Result:
        call = super().run
        return await self._loop.in_turn(lambda: self._loop.create_task(call(work, **options)))


class _Node(Node):
    """Its heart beats when the world says so."""

    async def start(self) -> None:
        await self.beat()
        self._task = asyncio.get_running_loop().create_future()  # type: ignore[assignment]


class PostgresWorld(BucketWorld):
    """A database of its own, `dsn`, made anew for each world."""

    dsn: ClassVar[str]

    def __init__(self, loop: SteppedLoop) -> None:
        super().__init__(loop)
        self._nodes: dict[str, tuple[Node, PostgresUploadStore]] = {}
        self.loop.do(self._forget_everything())
        pool, node = self._node()
        self._store = PostgresUploadStore(pool, node)
        self._outbox = PostgresOutbox(pool, node)
        self.loop.do(self._store.open())

    async def _forget_everything(self) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        finally:
            await connection.close()

    def _node(self) -> tuple[_Pool, Node]:
        options = PostgresOptions(
            url=with_schema(self.dsn),
            connections=2,
            node_seconds=HEART_SECONDS,
            settled_seconds=SETTLED_SECONDS,
        )
        pool = _Pool(options, self.loop, self.dsn)
        return pool, _Node(pool)

    @property
    def uploads(self) -> PostgresUploadStore:
        return self._store

    @property
    def outbox(self) -> Outbox:
        return self._outbox

    def seat(self, gates: Gates) -> Seat:
        pool, node = self._node()
        store = PostgresUploadStore(pool, node)
        self.loop.do(store.open())
        self._nodes[node.id] = node, store
        return self.seat_with(store, node.id, gates)

    def _node_of(self, seat: Seat) -> Node:
        return next(node for node, store in self._nodes.values() if store is seat.uploads)

    def stand_still(self, seat: Seat, *, still: bool) -> None:
        node = self._node_of(seat)
        self.loop.do(node.stop() if still else node.start())

    def kill(self, seat: Seat, *, power_cut: bool) -> None:
        """The others know at once."""
        del self._nodes[self._node_of(seat).id]
        self.loop.do(seat.uploads.close())

    def close(self) -> None:
        for _, store in self._nodes.values():
            self.loop.do(store.close())
        self.loop.do(self._store.close())
        super().close()

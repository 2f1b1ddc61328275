"""A bounded pool of connections on which every call has a deadline, and a task of its own.

A caller that is cancelled leaves its call behind: the statement goes on to its end, and its connection comes back
clean. So no statement is broken off because a client went away, and no connection has to be thrown away for it.

A new connection costs what twenty statements cost (27 ms, mostly of the server's processor). So a server makes all of
its own before it serves, and any other one is made beside the calls that wait, one at a time: in a burst whoever waits
is served sooner by those that there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg
import structlog

from tuspy_server.protocol.errors import StoreUnavailable, TusError
from tuspy_server.stores.postgres.connecting import prepare
from tuspy_server.stores.postgres.errors import DatabaseUnreachable, is_dying, translate
from tuspy_server.stores.postgres.options import PostgresOptions
from tuspy_server.stores.postgres.turns import Turns

log = structlog.get_logger("tuspy_server.stores.postgres")

RELEASE_SECONDS: Final = 2.0
"""For a server to take a cancelled statement back; a connection that it has not cleared by then is cut."""

RETRY_SECONDS: Final = 0.05
MOST_TRIES: Final = 3
"""Of a statement that has certainly not been executed, or may be twice: several connections may have died together."""

STATEMENTS_KEPT: Final = 200

REFUSED_SECONDS: Final = 1.0
"""After a connection that could not be made, before another is tried: those that there are go on."""

Result = TypeVar("Result")
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Work: TypeAlias = Callable[[Connection], Awaitable[Result]]


class _Call:
    """One call on its way. `sent`: its statement may have reached the server."""

    __slots__ = ("answer", "deadline", "repeatable", "sent", "urgent", "work")

    def __init__(self, work: Work[Any], seconds: float, *, repeatable: bool, urgent: bool) -> None:
        loop = asyncio.get_running_loop()
        self.work = work
        self.deadline = loop.time() + seconds
        self.repeatable = repeatable
        self.urgent = urgent
        self.sent = False
        self.answer: asyncio.Future[Any] = loop.create_future()

    def succeed(self, result: object) -> None:
        if not self.answer.done():
            self.answer.set_result(result)

    def fail(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # a caller that is cancelled now will not look at it


class Pool:
    """Connections to one database. There is no session state: a pooler in transaction mode may stand in between."""

    def __init__(self, options: PostgresOptions) -> None:
        self.options = options
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._turns = Turns(1, self._grow)
        self._connections = 1
        self._grow_at: float | None = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect once.

        Raises:
            DatabaseUnreachable: 503, names the host. Others, as they are: what hinders the start, like a wrong
                password, is for the operator to read.
        """
        options = self.options
        self._pool = asyncpg.create_pool(
            options.url,
            min_size=0,
            max_size=options.connections,
            timeout=options.connect_seconds,
            command_timeout=options.call_seconds,
            statement_cache_size=STATEMENTS_KEPT if options.prepared else 0,
            max_cached_statement_lifetime=0,
            max_inactive_connection_lifetime=0,  # a burst after a pause would wait for all of them again
            init=prepare,
            reset=_no_state,
        )
        await self._pool
        self._turns, self._connections = Turns(1, self._grow), 1
        try:
            await self.fetch_value("SELECT 1", repeatable=True)
        except StoreUnavailable as error:
            await self.close()
            cause = error.__cause__ or error
            raise DatabaseUnreachable(options.where, str(cause) or type(cause).__name__) from error
        except BaseException:
            await self.close()
            raise

    async def fill(self) -> None:
        """Make all connections that there may be. What the server refuses is tried again when it is missed."""
        pool = self._pool
        if pool is None:
            return
        made = await asyncio.gather(*(pool.acquire() for _ in range(self.options.connections)), return_exceptions=True)
        refused = [outcome for outcome in made if isinstance(outcome, BaseException)]
        for outcome in made:
            if not isinstance(outcome, BaseException):
                await pool.release(outcome, timeout=RELEASE_SECONDS)
        for _ in range(len(made) - len(refused) - self._connections):
            self._add_place()
        if refused:
            self._refused(refused[0])

    async def close(self) -> None:
        """Let calls under way end, for as long as their deadlines allow, and disconnect. May be called twice."""
        pool, self._pool = self._pool, None
        while self._tasks:
            await asyncio.wait(self._tasks)
        if pool is not None:
            try:
                async with asyncio.timeout(RELEASE_SECONDS):
                    await pool.close()
            except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                pool.terminate()

    async def fetch(
        self, statement: str, *arguments: object, repeatable: bool = False, urgent: bool = False
    ) -> list[asyncpg.Record]:
        """All rows. Raises as `run`."""
        return await self.run(
            lambda connection: connection.fetch(statement, *arguments), repeatable=repeatable, urgent=urgent
        )

    async def fetch_row(self, statement: str, *arguments: object, repeatable: bool = False) -> asyncpg.Record | None:
        """The only row, if there is one. Raises as `run`."""
        return await self.run(lambda connection: connection.fetchrow(statement, *arguments), repeatable=repeatable)

    async def fetch_value(self, statement: str, *arguments: object, repeatable: bool = False) -> Any:
        """The only value of the only row; None where there is no row. Raises as `run`."""
        return await self.run(lambda connection: connection.fetchval(statement, *arguments), repeatable=repeatable)

    async def run(
        self, work: Work[Result], *, seconds: float | None = None, repeatable: bool = False, urgent: bool = False
    ) -> Result:
        """Run on a connection of the pool. Cancelled, a call that has begun goes on without its caller.

        Args:
            seconds: deadline, if another than that of all calls.
            repeatable: whether it does no harm to run it twice, as for what only reads.
            urgent: whether it goes before all that are not: for what is asked once at a time in a process, for all.

        Raises:
            StoreUnavailable: 503; whether it has been executed is not known. StorageFull: 507.
        """
        call = _Call(work, seconds or self.options.call_seconds, repeatable=repeatable, urgent=urgent)
        task = self._start(self._answer(call))
        try:
            result: Result = await call.answer
        finally:
            if not call.sent:
                task.cancel()
        return result

    # --- in the call's own task ----------------------------------------------------------------------------------

    async def _answer(self, call: _Call) -> None:
        try:
            await self._try(call)
        except Exception as error:
            translated = translate(error)
            if translated is not error:
                translated.__cause__ = error
                log.warning("database.call.failed", reason=f"{type(error).__name__}: {error}"[:200])
            call.fail(translated)
        except BaseException:
            call.fail(StoreUnavailable())
            raise

    async def _try(self, call: _Call) -> None:
        tries = 1
        while True:
            try:
                return await self._once(call)
            except TimeoutError:
                raise
            except Exception as error:
                harmless = call.repeatable or not call.sent
                if not harmless or tries == MOST_TRIES or not isinstance(translate(error), StoreUnavailable):
                    raise
                log.info("database.call.repeated", reason=type(error).__name__)
            tries += 1
            await asyncio.sleep(RETRY_SECONDS)

    async def _once(self, call: _Call) -> None:
        pool = self._pool
        if pool is None:
            raise asyncpg.InterfaceError("the pool is closed")
        async with asyncio.timeout_at(call.deadline):
            await self._turns.take(urgent=call.urgent)
            try:
                connection = await pool.acquire()
            except BaseException:
                self._lose_place()
                raise
        call.sent = True
        try:
            async with asyncio.timeout_at(call.deadline):
                result = await call.work(connection)
        except BaseException as error:
            if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                connection.terminate()  # the next connection may find the new primary
            elif is_dying(error):
                connection.terminate()
                call.sent = False
            # The caller need not wait until the server has taken a cancelled statement back.
            self._start(self._give_back(pool, connection))
            raise
        # Before the connection is back, which takes two turns of a loop that may be busy.
        call.succeed(result)
        await self._give_back(pool, connection)

    # --- connections ---------------------------------------------------------------------------------------------

    def _add_place(self) -> None:
        self._connections += 1
        self._turns.give()

    def _lose_place(self) -> None:
        """A connection is gone. But for the last, whose place makes a new one in its next call, it is missed by those
        who wait: no call fails for it while there are others."""
        if self._connections == 1:
            self._turns.give()
            return
        self._connections -= 1
        if self._turns.is_waited_for:
            self._grow()

    def _refused(self, error: BaseException) -> None:
        reason = f"{type(error).__name__}: {error}"[:200]
        log.warning("database.connection.failed", connections=self._connections, reason=reason)

    def _grow(self) -> None:
        """Somebody waits: make one connection more, unless one is being made."""
        now = asyncio.get_running_loop().time()
        if self._connections < self.options.connections and self._grow_at is not None and now >= self._grow_at:
            self._grow_at = None
            self._start(self._connect())

    async def _connect(self) -> None:
        pause_seconds = 0.0
        try:
            pool = self._pool
            # One that has just come back is somebody's; with all of them at work, asyncpg gives one not yet connected.
            while pool is not None and self._turns.is_waited_for and pool.get_idle_size():  # noqa: ASYNC110
                await asyncio.sleep(0)  # it is a matter of a turn of the loop or two
            if pool is not None and self._turns.is_waited_for:
                connection = await pool.acquire()
                await pool.release(connection, timeout=RELEASE_SECONDS)
                self._add_place()
        except Exception as error:  # there is one at least; a call that fails on it says more
            pause_seconds = REFUSED_SECONDS
            self._refused(error)
        finally:
            self._grow_at = asyncio.get_running_loop().time() + pause_seconds
        if self._turns.is_waited_for and self._pool is not None:
            self._grow()

    async def _give_back(self, pool: asyncpg.Pool[asyncpg.Record], connection: Connection) -> None:
        is_lost = _is_gone(connection)
        try:
            with suppress(OSError, TusError, asyncpg.PostgresError, asyncpg.InterfaceError):  # it is cut then
                await pool.release(connection, timeout=RELEASE_SECONDS)
        finally:
            self._lose_place() if is_lost else self._turns.give()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _is_gone(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # it has been terminated, and asyncpg's pool has it back already
        return True


async def _no_state(_: object) -> None:
    """Nothing is left in a session that would have to be reset: a round trip less for each call."""

"""`TusServer`: the public face, an ASGI app with a life of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import structlog
from starlette.types import Receive, Scope, Send

from tuspy_server.access import Grant, Intent, RequestContext
from tuspy_server.compose import Parts, Stores, compose
from tuspy_server.events.blocking import BlockingHooks, Question
from tuspy_server.events.hooks import AnyHook, Hooks
from tuspy_server.model import Upload, UploadStatus
from tuspy_server.operations import look_at_expired
from tuspy_server.ports import Creation, Proposal, StoredUpload
from tuspy_server.protocol.errors import Draining, NotFinished, NotFound, StoreUnavailable, TusError
from tuspy_server.settings import Settings
from tuspy_server.uploads.sweeper import SweepReport
from tuspy_server.web.answers import refuse
from tuspy_server.web.api.endpoint import PREFIXES
from tuspy_server.web.api.problems import problem
from tuspy_server.web.site import Site
from tuspy_server.web.streams import PREFIXES as STREAM_PREFIXES
from tuspy_server.web.streams import refuse_stream

log = structlog.get_logger("tuspy_server")

AnyPreCreate = TypeVar("AnyPreCreate", bound=Callable[[Proposal], Awaitable[Creation | None] | Creation | None])
AnyPreFinish = TypeVar("AnyPreFinish", bound=Callable[[StoredUpload], Awaitable[None] | None])
AnyPreTerminate = TypeVar("AnyPreTerminate", bound=Callable[[Upload, RequestContext], Awaitable[None] | None])
AnyAuthorize = TypeVar("AnyAuthorize", bound=Callable[[Intent, RequestContext], Awaitable[Grant | bool] | Grant | bool])


class TusServer:
    """The tus server as an ASGI app of the uploads alone; mount it anywhere. `app` is the whole site.

        tus = TusServer(Settings(data="uploads"))
        app = Starlette(routes=[Mount("/files", tus)], lifespan=tus.lifespan)

    Where the host does not run `lifespan`, the server starts with its first request.
    """

    def __init__(self, settings: Settings | None = None, *, stores: Stores | None = None) -> None:
        """Costs nothing: files are touched by `start`. `stores` replaces those that the settings name."""
        self.settings = settings or Settings()
        self._hooks = Hooks()
        self._blocking = BlockingHooks(self.settings.hook_seconds)
        self._given_stores = stores
        self._parts: Parts | None = None
        self._background: list[asyncio.Task[None]] = []
        self._starting = asyncio.Lock()
        self._stopped = False

    # --- hooks and lookups for the application -------------------------------------------------------------------

    def on(self, *types: str, name: str | None = None, processing: bool = False) -> Callable[[AnyHook], AnyHook]:
        """Call a function on events, such as `@tus.on("upload.finished")`; without types on all.

        The function takes an `Event`; it may be `async def`, or plain, and then runs in a thread. It is called at least
        once for every event, after a crash too, with the same `event.id` each time; when it raises, it is called
        again, later and later. `name` is what deliveries are remembered by: set it if the function may be renamed.
        With `processing` a finished upload counts as processed only when the function has succeeded with it.

        Raises:
            ValueError: an unknown event type, or a second hook of the same name.
        """
        return self._hooks.on(*types, name=name, processing=processing)

    def pre_create(self, function: AnyPreCreate) -> AnyPreCreate:
        """Ask a function before an upload is made: `@tus.pre_create`, above a function of a `Proposal`.

        It is asked before anything is stored and before a byte of the body is read. It returns a `Creation` with what
        it wants of the upload, or None, or raises `Refused(text, status)`.

        This and the other three: one function each. It may be `async def`, or plain, and then runs in a thread. Where
        it raises anything but a `TusError`, or takes longer than `settings.hook_seconds`, the answer is 500, and
        nothing has changed.

        Raises:
            ValueError: there is one already.
        """
        self._blocking.register(Question.PRE_CREATE, function)
        return function

    def pre_finish(self, function: AnyPreFinish) -> AnyPreFinish:
        """Ask a function before an upload is finished: `@tus.pre_finish`, above a function of a `StoredUpload`.

        The whole of it is stored and can be read, and nobody has been told yet. Where the function raises `Refused`,
        the upload fails, its bytes go, and the client gets that answer. It may be asked again for the same upload:
        after an error of its own, after a crash, or by two servers at once.

        Raises:
            ValueError: there is one already.
        """
        self._blocking.register(Question.PRE_FINISH, function)
        return function

    def pre_terminate(self, function: AnyPreTerminate) -> AnyPreTerminate:
        """Ask a function before a client removes an upload: `@tus.pre_terminate`, above a function of an `Upload` and a
        `RequestContext`. It raises `Refused` where the upload is to stay. `terminate` asks nobody.

        Raises:
            ValueError: there is one already.
        """
        self._blocking.register(Question.PRE_TERMINATE, function)
        return function

    def authorize(self, function: AnyAuthorize) -> AnyAuthorize:
        """Ask a function what each request may reach: `@tus.authorize`, above a function of an `Intent` and a
        `RequestContext`.

        It returns a `Grant` (with the tenant whose uploads it may reach), True for all, or False: then the answer is
        403, or 404 where the request names an upload or a job. It is asked before anything is looked up and before a
        byte of a body is read, for every request but OPTIONS and those that carry `settings.api_token`.

        Raises:
            ValueError: there is one already.
        """
        self._blocking.register(Question.AUTHORIZE, function)
        return function

    async def find(self, upload_id: str) -> Upload:
        """The upload as last committed.

        Raises:
            UploadNotFound: there is none.
        """
        return await (await self._started()).uploads.find(upload_id)

    async def read(self, upload_id: str, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes `[start, stop)` of a finished upload, in blocks.

        Raises:
            UploadNotFound, NotFinished: there is nothing to read. BytesMissing: the storage has lost it.
        """
        parts = await self._started()
        upload = await parts.uploads.find(upload_id)
        if upload.status is not UploadStatus.FINISHED:
            raise NotFinished
        last = upload.upload_offset if stop is None else min(stop, upload.upload_offset)
        async for block in parts.stores.blobs.read(upload, start, last):
            yield block

    async def path(self, upload_id: str) -> Path | None:
        """The local file of an upload; None where the storage has no local files. Read it, but never change it.

        Raises:
            UploadNotFound: there is no such upload, so that no made-up id becomes a path (fault X01).
        """
        blobs = (await self._started()).stores.blobs
        await self.find(upload_id)
        return blobs.path(upload_id)

    async def terminate(self, upload_id: str) -> None:
        """Remove an upload and its bytes, as DELETE does.

        Raises:
            UploadNotFound, UploadGone, UploadBusy: as for DELETE.
        """
        await (await self._started()).uploads.terminate(upload_id)

    # --- ASGI ----------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of the uploads, or the lifespan where this app is a server's root."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            parts = self._parts or await self._started()
        except Exception as error:  # the host has stopped it, or a lazy start failed: no reason to answer HEAD by 5xx
            if not isinstance(error, Draining):
                log.exception("server.start.failed")
            reason = error if isinstance(error, TusError) else StoreUnavailable()
            await refuse(reason, scope["method"]).send(send, receive)
            return
        await parts.endpoint(scope, receive, send)

    @cached_property
    def app(self) -> Site:
        """The whole site: the uploads at `settings.path`, `/livez`, `/readyz`, `/metrics`; it runs the lifespan."""
        return Site(
            self.settings.path,
            self,
            check=self.check,
            metrics=self.render_metrics,
            lifespan=self.lifespan,
            sections={
                **dict.fromkeys(PREFIXES, self._serve_api),
                **dict.fromkeys(STREAM_PREFIXES, self._serve_streams),
            },
        )

    async def _serve_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            api = (await self._started()).api
            if api is None:
                raise NotFound
        except Exception as error:  # as for the uploads
            if not isinstance(error, TusError):
                log.exception("server.start.failed")
            reason = error if isinstance(error, TusError) else StoreUnavailable()
            await problem(reason, scope["method"]).send(send, receive)
            return
        await api(scope, receive, send)

    async def _serve_streams(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            streams = (await self._started()).streams
        except Exception as error:  # as for the uploads
            if not isinstance(error, TusError):
                log.exception("server.start.failed")
            await refuse_stream(error if isinstance(error, TusError) else StoreUnavailable(), scope, receive, send)
            return
        await streams(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Start and stop with a host: `Starlette(lifespan=tus.lifespan)`, or `async with tus.lifespan():` in one."""
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    # --- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the stores and begin to sweep and relay. May be called again while running: nothing happens.

        Raises:
            FolderInUse: another process serves the data folder. OSError, sqlite3.Error: it cannot be used.
        """
        async with self._starting:
            if self._parts is not None:
                return
            parts = compose(self.settings, self._hooks, self._given_stores, blocking=self._blocking)
            await _open(parts.stores)
            loop = asyncio.get_running_loop()
            self._background = [
                loop.create_task(parts.relay.run()),
                loop.create_task(parts.sweeper.run(self.settings.sweep_interval_seconds)),
            ]
            if parts.stores.assemblies is not None:
                self._background.append(loop.create_task(parts.sweeper.recover(self.settings.node_seconds / 2)))
            self._parts = parts
            self._stopped = False

    def drain(self) -> None:
        """Before a shutdown: running bodies are committed as far as they came and answered 503, new ones refused."""
        if self._parts is not None:
            self._parts.uploads.drain()
            self._parts.streams.drain()

    async def stop(self) -> None:
        """Drain, await what runs for at most `settings.drain_seconds`, close everything. May be called twice."""
        async with self._starting:
            parts, self._parts = self._parts, None
            self._stopped = True
            if parts is None:
                return
            closing = [parts.uploads.close(self.settings.drain_seconds), parts.streams.close()]
            if parts.jobs is not None:
                closing.append(parts.jobs.close(self.settings.drain_seconds))
            await asyncio.gather(*closing)
            for task in self._background:
                task.cancel()
            for task in self._background:
                with suppress(asyncio.CancelledError):
                    await task
            for outgoing in parts.outgoing:
                await outgoing.close()
            await _close(parts.stores)

    async def _started(self) -> Parts:
        """The running server; started by this call where no lifespan has. Once stopped, it stays so."""
        if self._parts is None:
            if self._stopped:
                raise Draining
            await self.start()
        if self._parts is None:
            raise Draining
        return self._parts

    # --- for operators -------------------------------------------------------------------------------------------

    async def sweep(self, *, dry_run: bool = False) -> SweepReport:
        """One pass of the sweeper. `dry_run` changes nothing, and works beside another process that serves the folder.

        Raises:
            FolderInUse: another process serves the data folder, and sweeps by itself.
        """
        if self._parts is not None:
            return await (self._parts.sweeper.due() if dry_run else self._parts.sweeper.sweep())
        if dry_run:
            return SweepReport(expired=await look_at_expired(self.settings), cleaned=0, purged=0)
        parts = compose(self.settings, self._hooks, self._given_stores)
        await _open(parts.stores)
        try:
            return await parts.sweeper.sweep()
        finally:
            await _close(parts.stores)

    async def check(self) -> None:
        """Ask the database, and write, sync, read back and delete a probe in the storage.

        Raises:
            TryLater: one of them does not do its work. FolderInUse, OSError, sqlite3.Error: it cannot be opened.
        """
        if self._parts is not None:
            await _check(self._parts.stores)
            return
        stores = compose(self.settings, self._hooks, self._given_stores, blocking=self._blocking).stores
        await _open(stores)
        try:
            await _check(stores)
        finally:
            await _close(stores)

    async def render_metrics(self) -> bytes:
        """Prometheus text."""
        parts = await self._started()
        counts = await parts.stores.uploads.count_by_status()
        return parts.metrics.render(counts, parts.stores.pool.used_bytes, len(parts.streams.realtime))


async def _open(stores: Stores) -> None:
    if stores.lock is not None:
        stores.lock.acquire()
    try:
        await stores.uploads.open()
        for service in stores.services:
            await service.open()
        await stores.blobs.open()
    except BaseException:
        for service in reversed(stores.services):
            await service.close()
        await stores.uploads.close()
        if stores.lock is not None:
            stores.lock.release()
        raise


async def _close(stores: Stores) -> None:
    await stores.blobs.close()
    for service in reversed(stores.services):
        await service.close()
    await stores.uploads.close()
    if stores.lock is not None:
        stores.lock.release()


async def _check(stores: Stores) -> None:
    await stores.uploads.count_by_status()
    await stores.blobs.check()

"""`TusServer`: the public face, an ASGI app with a life of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from pathlib import Path

import structlog
from starlette.types import Receive, Scope, Send

from tuspy_server.compose import Parts, Stores, compose
from tuspy_server.events.registration import Registration
from tuspy_server.model import Upload, UploadStatus
from tuspy_server.operations import look_at_expired
from tuspy_server.protocol.errors import Draining, NotFinished, NotFound, StoreUnavailable, TusError
from tuspy_server.settings import Settings
from tuspy_server.uploads.sweeper import SweepReport
from tuspy_server.web.answers import refuse
from tuspy_server.web.api.endpoint import PREFIXES
from tuspy_server.web.api.problems import problem
from tuspy_server.web.metrics import MOST_COUNTED
from tuspy_server.web.site import Site
from tuspy_server.web.streams import PREFIXES as STREAM_PREFIXES
from tuspy_server.web.streams import refuse_stream

log = structlog.get_logger("tuspy_server")


class TusServer(Registration):
    """The tus server as an ASGI app of the uploads alone; mount it anywhere. `app` is the whole site.

        tus = TusServer(Settings(data="uploads"))
        app = Starlette(routes=[Mount("/files", tus)], lifespan=tus.lifespan)

    Where the host does not run `lifespan`, the server starts with its first request.
    """

    def __init__(self, settings: Settings | None = None, *, stores: Stores | None = None) -> None:
        """Costs nothing: files are touched by `start`. `stores` replaces those that the settings name."""
        self.settings = settings or Settings()
        super().__init__(self.settings.hook_seconds)
        self._given_stores = stores
        self._parts: Parts | None = None
        self._background: list[asyncio.Task[None]] = []
        self._starting = asyncio.Lock()
        self._stopped = False

    # --- lookups for the application -----------------------------------------------------------------------------

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
        backlog = await parts.stores.outbox.backlog(MOST_COUNTED)
        return parts.metrics.render(counts, backlog, parts.stores.pool.used_bytes, len(parts.streams.realtime))


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
    await stores.uploads.has_any()
    await stores.blobs.check()

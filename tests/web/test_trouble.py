"""When the server is in trouble: HEAD is 423, never 5xx, all else 5xx with Retry-After, and browsers see each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.web.served import Served, listen, settings
from tests.web.wire import BODY, TUS
from tuspy_server import TusServer, Upload
from tuspy_server.clock import SystemClock
from tuspy_server.compose import Stores
from tuspy_server.model import UploadStatus
from tuspy_server.pages import PagePool
from tuspy_server.ports import Claimed
from tuspy_server.protocol.errors import Overloaded, StorageFault, StorageFull, StoreUnavailable
from tuspy_server.stores.memory.blobs import MemoryBlobStore
from tuspy_server.stores.memory.uploads import MemoryUploadStore

ORIGIN = {"Origin": "https://app.example.org"}


class FailingStore(MemoryUploadStore):
    """Raises whatever it is told to, at the first statement of each request."""

    trouble: Exception | None = None

    def _fail(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    async def get(self, upload_id: str) -> Upload | None:
        self._fail()
        return await super().get(upload_id)

    async def claim(self, claim: Any) -> Claimed | None:
        self._fail()
        return await super().claim(claim)

    async def create(self, new: Any, event: Any) -> Upload:
        self._fail()
        return await super().create(new, event)

    async def count_by_status(self) -> Mapping[UploadStatus, int]:
        self._fail()
        return await super().count_by_status()

    async def has_any(self) -> bool:
        self._fail()
        return await super().has_any()

    @contextmanager
    def failing(self, trouble: Exception) -> Iterator[None]:
        self.trouble = trouble
        yield
        self.trouble = None


@pytest.fixture
def store() -> FailingStore:
    return FailingStore(SystemClock())


@pytest.fixture
async def troubled(tmp_path: Path, store: FailingStore) -> AsyncIterator[Served]:
    stores = Stores(uploads=store, outbox=store, blobs=MemoryBlobStore(), pool=PagePool(1 << 20))
    tus = TusServer(settings(tmp_path), stores=stores)
    async with listen(tus.app) as port:
        yield Served(port, tus)


TROUBLES = [
    (StoreUnavailable(), 503, "5"),
    (StorageFault(), 503, "5"),
    (Overloaded(), 503, "5"),
    (StorageFull(), 507, "30"),
    (RuntimeError("secret: password=hunter2"), 500, None),
    (OSError(28, "No space left on device: /var/lib/secret"), 500, None),
]


@pytest.mark.parametrize(("trouble", "status", "retry"), TROUBLES, ids=lambda item: type(item).__name__)
async def test_head_is_423_whatever_the_trouble(
    troubled: Served, store: FailingStore, trouble: Exception, status: int, retry: str | None
) -> None:
    """CORE-HEAD-10: tus-js-client starts from zero after any other failed HEAD."""
    target = await troubled.create(10, b"hello")
    for asked in (TUS, {}):
        with store.failing(trouble):
            reply = await troubled.request("HEAD", target, {**asked, **ORIGIN})
        assert (reply.status, reply["Retry-After"]) == (423, retry or "1")
        assert reply["Access-Control-Allow-Origin"] == "*"
        assert "Upload-Offset" not in reply
    assert await troubled.offset(target) == 5


@pytest.mark.parametrize(("trouble", "status", "retry"), TROUBLES, ids=lambda item: type(item).__name__)
async def test_everything_else_is_5xx_that_a_client_retries_and_a_browser_sees(
    troubled: Served, store: FailingStore, trouble: Exception, status: int, retry: str | None
) -> None:
    """CORE-PATCH-32, CORE-CORS-04: with fixed text, for the cause is not the client's to know."""
    target = await troubled.create(10, b"hello")
    asks: list[Callable[[], Awaitable[Any]]] = [
        lambda: troubled.post({"Upload-Length": "5", **ORIGIN}),
        lambda: troubled.patch(target, 5, b"world", ORIGIN),
        lambda: troubled.request("DELETE", target, {**TUS, **ORIGIN}),
        lambda: troubled.request("GET", target, ORIGIN),
    ]
    for ask in asks:
        with store.failing(trouble):
            reply = await ask()
        assert reply.status == status
        assert reply.all("Retry-After") == ([retry] if retry else [])
        assert reply["Access-Control-Allow-Origin"] == "*"
        assert reply["Tus-Resumable"] == "1.0.0"
        assert "secret" not in reply.text
    assert await troubled.offset(target) == 5


async def test_a_post_overridden_to_head_is_423_too(troubled: Served, store: FailingStore) -> None:
    """CORE-HEAD-10, CORE-OVR-02."""
    target = await troubled.create()
    with store.failing(StoreUnavailable()):
        reply = await troubled.request("POST", target, {**TUS, "X-HTTP-Method-Override": "HEAD"})
    assert reply.status == 423


async def test_options_needs_no_store(troubled: Served, store: FailingStore) -> None:
    """CORE-OPT-06."""
    with store.failing(StoreUnavailable()):
        assert (await troubled.request("OPTIONS", "/files/")).status == 204


async def test_the_site_says_that_it_is_not_ready_and_still_alive(troubled: Served, store: FailingStore) -> None:
    with store.failing(RuntimeError("secret")):
        not_ready = await troubled.request("GET", "/readyz")
        alive = await troubled.request("GET", "/livez")
    assert (not_ready.status, not_ready.body) == (503, b"not ready: RuntimeError\n")
    assert (alive.status, alive.body) == (200, b"ok\n")
    async with asyncio.timeout(10):
        while (await troubled.request("GET", "/readyz")).status != 200:  # noqa: ASYNC110 - an outcome is told for a second
            await asyncio.sleep(0.05)


async def test_a_draining_server_takes_no_more_bodies(troubled: Served) -> None:
    """CORE-HEAD-10: 503 for POST and PATCH, whose clients come back; HEAD goes on as long as it can."""
    target = await troubled.create(10, b"hello")
    troubled.tus.drain()
    for reply in (await troubled.post({"Upload-Length": "5"}), await troubled.patch(target, 5, b"world")):
        assert (reply.status, reply["Retry-After"], reply["Connection"]) == (503, "5", "close")
    assert (await troubled.look(target))["Upload-Offset"] == "5"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 423), ("GET", 503), ("POST", 503), ("OPTIONS", 503)])
async def test_a_server_that_its_host_has_stopped_answers_all_the_same(
    troubled: Served, method: str, status: int
) -> None:
    """CORE-HEAD-10."""
    target = await troubled.create(10, b"hello")
    await troubled.tus.stop()
    reply = await troubled.request(method, target, {**BODY, "Upload-Offset": "5"})
    assert (reply.status, reply["Retry-After"]) == (status, "5")


async def test_a_mounted_server_that_cannot_start_answers_all_the_same(tmp_path: Path) -> None:
    """CORE-HEAD-10: and starts with a later request, when it can."""
    data = tmp_path / "data"
    data.write_text("in the way")
    tus = TusServer(settings(data))
    async with listen(tus, lifespan=False) as port:
        server = Served(port, tus, "/")
        assert (await server.request("HEAD", f"/{'0' * 32}", TUS)).status == 423
        assert (await server.post({"Upload-Length": "5"})).status == 503
        data.unlink()
        assert (await server.post({"Upload-Length": "5"})).status == 201
        await tus.stop()
